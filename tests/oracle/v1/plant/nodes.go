package main

import (
	"bytes"
	"encoding/binary"

	"oracle/v1/internal/records"
)

// Faults in one node record of IAVL 1.x, or in a root record.

var nodeKinds = []kind{
	{name: "missing-leaf", finding: "missing-node", help: "a leaf's record is deleted", tree: missing(isLeaf)},
	{name: "missing-inner", finding: "missing-node", help: "the record of an inner node, not the root, is deleted", tree: missing(isInner)},
	{name: "missing-root", finding: "missing-root", help: "the root record of the version is deleted", tree: missingRoot},
	{name: "missing-old-root", finding: "missing-root", help: "the root record of an older version, which no other version has, is deleted", sound: sound, tree: missingOldRoot},
	{name: "dangling-reference", finding: "dangling-reference", help: "the root of the version refers to a record that is not there", tree: danglingReference},
	{name: "leaf-value-bit", finding: "wrong-hash", help: "a bit of a leaf's value is flipped; no leaf has its hash in the record", tree: flipLeafValue},
	{name: "leaf-key-bit", finding: "wrong-hash", help: "a bit of a leaf's key is flipped", tree: flipLeafKey},
	{name: "inner-key-bit", finding: "wrong-inner-key", help: "a bit of an inner node's key is flipped: no hash covers it", tree: flipInnerKey},
	{name: "wrong-inner-hash", finding: "wrong-hash", help: "a bit of the hash in an inner node's record is flipped", tree: wrongInnerHash},
	{name: "wrong-size", finding: "wrong-size", help: "the size of an inner node is one more than it has leaves", tree: wrongSize},
	{name: "wrong-height", finding: "wrong-height", help: "the height of an inner node is one more", tree: wrongHeight},
	{name: "swapped-children", finding: "wrong-order", help: "the pointers of an inner node are exchanged", tree: swappedChildren},
	{name: "foreign-child", finding: "wrong-child", help: "a child pointer leads to a node of another subtree", tree: foreignChild},
	{name: "newer-child", finding: "wrong-child", help: "a child pointer leads to a node newer than its parent", tree: newerChild},
	{name: "cycle", finding: "cycle", help: "a child pointer leads to an ancestor: whoever follows it never ends", tree: cycle},
	{name: "truncated-record", finding: "bad-record", help: "the last bytes of a node record are gone", tree: truncated},
	{name: "trailing-bytes", finding: "bad-record", sound: either, help: "bytes follow a node in its record; IAVL does not look at them", tree: trailing},
	{name: "overlong-varint", finding: "bad-record", sound: either, help: "the size of a node is written with more bytes than it takes; the number is right", tree: overlong},
	{name: "huge-length", finding: "bad-record", help: "the key of a node says it is 2^62 bytes long", tree: hugeLength},
	{name: "negative-child", finding: "bad-record", help: "a child pointer has a negative version", tree: negativeChild},
	{name: "empty-record", finding: "bad-record", help: "the record of a node is there and empty", tree: emptyRecord},
}

type filter = func(all []records.Found, i int) bool

func isLeaf(all []records.Found, i int) bool {
	return all[i].Node.Height == 0 && i > 0 && all[i].Legacy == nil
}
func isInner(all []records.Found, i int) bool {
	return all[i].Node.Height > 0 && i > 0 && all[i].Legacy == nil
}
func isCurrent(all []records.Found, i int) bool { return i > 0 && all[i].Legacy == nil }

func missing(fits filter) func(j *job) error {
	return func(j *job) error {
		all, i, err := j.choose(fits)
		if err != nil {
			return err
		}
		j.out.Go = "the exporter drops the error: export and import succeed with a smaller tree, or the importer fails on the stack"
		j.out.Note = "the parent points to a record that is not there"
		return j.set(all[i].Key(), nil)
	}
}

func missingRoot(j *job) error {
	all, err := j.walk(j.version)
	if err != nil {
		return err
	}
	if len(all) < 3 || all[0].Legacy != nil || all[0].Version != j.version || all[0].Nonce != 1 {
		return unfit("store %s has no root of version %d", j.store, j.version)
	}
	if err := j.noteNode(all, 0); err != nil {
		return err
	}
	j.out.Go = "loading fails: version does not exist"
	j.out.Note = "the other nodes of the version are there, as after a crash within the commit of the store, but the commit info names it"
	return j.set(all[0].Key(), nil)
}

func missingOldRoot(j *job) error {
	vs, err := j.versions()
	if err != nil {
		return err
	}
	j.r.Shuffle(len(vs), func(a, b int) { vs[a], vs[b] = vs[b], vs[a] })
	for _, v := range vs {
		if v >= j.out.Latest || v == 0 {
			continue
		}
		all, err := j.walk(v)
		if err != nil {
			return err
		}
		if len(all) < 3 || all[0].Legacy != nil || all[0].Version != v || all[0].Nonce != 1 {
			continue
		}
		j.version = v
		if err := j.noteNode(all, 0); err != nil {
			return err
		}
		if len(j.out.Expect.Versions) > 1 { // others have it as root or child
			continue
		}
		j.out.Go = "the version cannot be loaded; later ones can. IAVL looks for the first version by bisection and may take it for this one's successor"
		j.out.Note = "versions after it are whole"
		return j.set(all[0].Key(), nil)
	}
	return unfit("store %s has no such version", j.store)
}

func danglingReference(j *job) error {
	root, err := records.FindRoot(j.get, j.version)
	if err != nil {
		return err
	}
	if root.Kind != "reference" {
		return unfit("the root of store %s at version %d is no reference", j.store, j.version)
	}
	all, err := j.walk(j.version)
	if err != nil {
		return err
	}
	if err := j.noteNode(all, 0); err != nil {
		return err
	}
	// Neither the record nor one at nonce 0, which IAVL takes where it does not find the first.
	to := records.Ref{Version: j.out.Latest + 1, Nonce: root.Ref.Nonce + 7}
	for v := root.Ref.Version - 1; v > 0; v-- {
		_, one := j.get(records.Key(v, to.Nonce))
		if _, zero := j.get(records.Key(v, 0)); !one && !zero {
			to.Version = v
			break
		}
	}
	j.out.Expect.Versions = []int64{j.version}
	j.out.Expect.Nodes = []string{id(to), id(records.Ref{Version: j.version, Nonce: 1})}
	j.out.Go = "loading fails: version does not exist"
	j.out.Note = "the node that the root was is there, the reference leads elsewhere"
	return j.set(records.Key(j.version, 1), to.Key())
}

// changed writes a node that was changed.
func (j *job) changed(f records.Found, n records.Node) error { return j.set(f.Key(), n.Encode()) }

// flip flips one bit of a copy.
func (j *job) flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[j.r.Intn(len(b))] ^= 1 << j.r.Intn(8)
	return b
}

// sibling adds the other child of the parent, which hashes cannot tell from this one, and the parent.
func (j *job) sibling(all []records.Found, i int) {
	j.parent(all, i)
	for k, f := range all {
		if k != i && f.Parent == all[i].Parent {
			j.tellsToo(f.Ref)
		}
	}
}

func flipLeafValue(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool { return isLeaf(all, i) && len(all[i].Node.Value) > 0 })
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Value = j.flip(n.Value)
	j.sibling(all, i)
	j.out.Go = "the importer computes another root and says nothing"
	j.out.Note = "the hash in the parent's record is not that of its children"
	return j.changed(all[i], n)
}

func flipLeafKey(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool { return isLeaf(all, i) && len(all[i].Node.Key) > 0 })
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Key = j.flip(n.Key)
	j.sibling(all, i)
	for p := all[i].Parent; p >= 0; p = all[p].Parent { // an ancestor that has the leaf's key as its own
		if bytes.Equal(all[p].Node.Key, all[i].Node.Key) {
			j.tellsToo(all[p].Ref)
		}
	}
	j.out.Go = "the importer computes another root and says nothing"
	j.out.Note = "hash of the parent; where the leaf is the first on the right of a node, that node's key; perhaps the order of the leaves"
	return j.changed(all[i], n)
}

func flipInnerKey(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool {
		return all[i].Legacy == nil && all[i].Node.Height > 0 && len(all[i].Node.Key) > 0
	})
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Key = j.flip(n.Key)
	j.out.Go = "every hash is right and the export is copied as it is: keys are then not found where they are"
	j.out.Note = "the key is not the smallest on the right"
	return j.changed(all[i], n)
}

func wrongInnerHash(j *job) error {
	all, i, err := j.choose(isInner)
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Hash = j.flip(n.Hash)
	j.parent(all, i)
	j.out.Go = "nothing: export gives no hashes and the importer computes them anew; proofs from this database are wrong"
	j.out.Note = "all keys and values are right and give the right root: only the record of this node is wrong"
	return j.changed(all[i], n)
}

func wrongSize(j *job) error {
	all, i, err := j.choose(isInner)
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Size++
	j.parent(all, i)
	j.out.Go = "nothing: the importer computes sizes anew"
	j.out.Note = "the size is in the hash: with this one it is not what the record says"
	return j.changed(all[i], n)
}

func wrongHeight(j *job) error {
	all, i, err := j.choose(isInner)
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Height++
	j.parent(all, i)
	j.out.Go = "the importer takes the height, and so another root, or fails on the stack"
	j.out.Note = "the height is in the hash too"
	return j.changed(all[i], n)
}

func swappedChildren(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool {
		return all[i].Legacy == nil && all[i].Node.Height > 0 && (all[i].Node.Mode == 0 || all[i].Node.Mode == 3)
	})
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Left, n.Right = n.Right, n.Left
	j.sibling(all, i+1) // its children
	j.out.Go = "the importer computes another root and says nothing; keys do not ascend"
	j.out.Note = "hash of the node, its key, the order of the leaves"
	return j.changed(all[i], n)
}

// currentLeft: an inner node whose left child is not a legacy node.
func currentLeft(all []records.Found, i int) bool {
	return all[i].Legacy == nil && all[i].Node.Height > 0 && all[i].Node.Mode&1 == 0
}

func foreignChild(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool { return currentLeft(all, i) && i > 0 })
	if err != nil {
		return err
	}
	// A node outside of this subtree, and no ancestor; of the same height if there is one, so that heights and sizes may fit.
	left, best := all[i+1], -1
	for k, f := range all {
		if f.Legacy != nil || f.Version > all[i].Version || bytes.Equal(f.Node.Key, left.Node.Key) || under(all, k, i) || under(all, i, k) {
			continue
		}
		if best < 0 || (f.Node.Height == left.Node.Height && f.Node.Size == left.Node.Size) {
			best = k
		}
	}
	if best < 0 {
		return unfit("store %s has no other subtree", j.store)
	}
	n := all[i].Node
	n.Left = all[best].Ref
	j.tellsToo(left.Ref, all[best].Ref)
	j.out.Go = "the importer computes another root and says nothing"
	j.out.Note = "pairs of another subtree are there twice, those of " + id(left.Ref) + " not at all"
	return j.changed(all[i], n)
}

// under: node a lies under node b.
func under(all []records.Found, a, b int) bool {
	for ; a >= 0; a = all[a].Parent {
		if a == b {
			return true
		}
	}
	return false
}

func newerChild(j *job) error {
	all, err := j.walk(j.version)
	if err != nil {
		return err
	}
	if len(all) == 0 || all[0].Legacy != nil {
		return unfit("store %s has no newer node", j.store)
	}
	newest := -1
	for k, f := range all {
		if f.Legacy == nil && f.Node.Height == 0 && (newest < 0 || f.Version > all[newest].Version) {
			newest = k
		}
	}
	if newest < 0 {
		return unfit("store %s has no leaf of IAVL 1.x", j.store)
	}
	all, i, err := j.choose(func(all []records.Found, i int) bool {
		return currentLeft(all, i) && all[i].Version < all[newest].Version
	})
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Left = all[newest].Ref
	j.tellsToo(all[i+1].Ref, all[newest].Ref)
	j.out.Go = "the importer computes another root and says nothing"
	j.out.Note = "no commit can have written this: a node is at least as new as all below it"
	return j.changed(all[i], n)
}

func cycle(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool { return currentLeft(all, i) && all[i].Depth >= 2 })
	if err != nil {
		return err
	}
	up := all[i].Parent
	if j.r.Intn(2) == 0 {
		up = all[up].Parent
	}
	n := all[i].Node
	n.Left = all[up].Ref
	j.tellsToo(all[up].Ref, all[i+1].Ref)
	j.out.Go = "export does not end, until the stack overflows"
	j.out.Note = "the left child of the node is its ancestor " + id(all[up].Ref)
	return j.changed(all[i], n)
}

func truncated(j *job) error {
	all, i, err := j.choose(isCurrent)
	if err != nil {
		return err
	}
	raw := all[i].Raw
	j.out.Go = "as a missing node"
	return j.set(all[i].Key(), bytes.Clone(raw[:1+j.r.Intn(len(raw)-1)]))
}

func trailing(j *job) error {
	all, i, err := j.choose(isCurrent)
	if err != nil {
		return err
	}
	j.out.Go = "nothing: it decodes what it needs"
	j.out.Note = "the tree is right if one does not look; no IAVL wrote this"
	return j.set(all[i].Key(), append(bytes.Clone(all[i].Raw), 0, byte(1+j.r.Intn(255))))
}

// body is the record after height and size.
func body(raw []byte) []byte {
	_, a := binary.Varint(raw)
	_, b := binary.Varint(raw[a:])
	return raw[a+b:]
}

func overlong(j *job) error {
	all, i, err := j.choose(isCurrent)
	if err != nil {
		return err
	}
	f := all[i]
	b := binary.AppendVarint(binary.AppendVarint(nil, f.Node.Height), f.Node.Size)
	b[len(b)-1] |= 0x80
	b = append(b, 0x80, 0x00)
	j.out.Go = "nothing: it accepts it"
	j.out.Note = "the tree is right if one does not look; no IAVL wrote this"
	return j.set(f.Key(), append(b, body(f.Raw)...))
}

func hugeLength(j *job) error {
	all, i, err := j.choose(isCurrent)
	if err != nil {
		return err
	}
	f := all[i]
	b := binary.AppendVarint(binary.AppendVarint(nil, f.Node.Height), f.Node.Size)
	b = binary.AppendUvarint(b, 1<<62)
	_, n := binary.Uvarint(body(f.Raw))
	j.out.Go = "as a missing node"
	return j.set(f.Key(), append(b, body(f.Raw)[n:]...))
}

func negativeChild(j *job) error {
	all, i, err := j.choose(currentLeft)
	if err != nil {
		return err
	}
	n := all[i].Node
	n.Left.Version = -n.Left.Version
	j.tellsToo(n.Left)
	j.out.Go = "as a missing node"
	return j.changed(all[i], n)
}

func emptyRecord(j *job) error {
	all, i, err := j.choose(isCurrent)
	if err != nil {
		return err
	}
	j.out.Go = "as a missing node"
	j.out.Note = "an empty record says \"empty tree\" where it is a root, and nothing where it is a node"
	return j.set(all[i].Key(), []byte{})
}
