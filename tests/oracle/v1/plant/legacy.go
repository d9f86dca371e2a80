package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"oracle/v1/internal/records"
)

// Faults in records of IAVL v0, in databases that have them.

var legacyKinds = []kind{
	{name: "legacy-missing-node", finding: "missing-node", help: "the record of a legacy node, not the root, is deleted", tree: legacyMissing},
	{name: "legacy-wrong-record", finding: "wrong-hash", help: "a legacy node's record is under the hash of another", tree: legacyWrongRecord},
	{name: "legacy-value-bit", finding: "wrong-hash", help: "a bit of the value in a legacy leaf is flipped", tree: legacyValueBit},
	{name: "legacy-inner-key-bit", finding: "wrong-inner-key", help: "a bit of the key of a legacy inner node is flipped: no hash covers it", tree: legacyInnerKey},
	{name: "legacy-newer-version", finding: "wrong-hash", help: "a legacy node says that it is of a newer version", tree: legacyNewer},
	{name: "legacy-truncated-record", finding: "bad-record", help: "the last bytes of a legacy record are gone", tree: legacyTruncated},
	{name: "legacy-dangling-root", finding: "dangling-reference", help: "a legacy root has the hash of a node that is not there", tree: legacyDanglingRoot},
	{name: "legacy-short-root", finding: "bad-record", help: "a legacy root has 20 bytes", tree: legacyShortRoot},
	{name: "legacy-orphans", finding: "orphan-records", help: "orphan records of IAVL v0, and their nodes, in a store that has none", sound: sound, tree: legacyOrphans},
}

func isLegacy(all []records.Found, i int) bool { return all[i].Legacy != nil && i > 0 }

func legacyMissing(j *job) error {
	all, i, err := j.choose(isLegacy)
	if err != nil {
		return err
	}
	j.parent(all, i)
	j.out.Go = "as with missing-leaf and missing-inner"
	return j.set(all[i].Key(), nil)
}

func legacyWrongRecord(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool { return isLegacy(all, i) && all[i].Node.Height == 0 })
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Legacy != nil && f.Node.Height == 0 && !bytes.Equal(f.Legacy, all[i].Legacy) {
			j.parent(all, i)
			j.out.Go = "takes the hash in the key for the node's; the importer computes another root and says nothing"
			j.out.Note = "the record is that of " + id(f.Ref)
			return j.set(all[i].Key(), f.Raw)
		}
	}
	return unfit("store %s has no second legacy leaf", j.store)
}

// valueAt is where the value of a legacy leaf begins, and keyAt where the key of any begins.
func keyAt(raw []byte) (at, size int) {
	for range 3 { // height, size, version
		_, n := binary.Varint(raw[at:])
		at += n
	}
	x, n := binary.Uvarint(raw[at:])
	return at + n, int(x)
}

func (j *job) flipIn(raw []byte, at, size int) []byte {
	raw = bytes.Clone(raw)
	raw[at+j.r.Intn(size)] ^= 1 << j.r.Intn(8)
	return raw
}

func legacyValueBit(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool {
		return isLegacy(all, i) && all[i].Node.Height == 0 && len(all[i].Node.Value) > 0
	})
	if err != nil {
		return err
	}
	n := len(all[i].Node.Value)
	j.parent(all, i)
	j.out.Go = "takes the hash in the key for the node's; the importer computes another root and says nothing"
	return j.set(all[i].Key(), j.flipIn(all[i].Raw, len(all[i].Raw)-n, n))
}

func legacyInnerKey(j *job) error {
	all, i, err := j.choose(func(all []records.Found, i int) bool { return all[i].Legacy != nil && all[i].Node.Height > 0 })
	if err != nil {
		return err
	}
	at, size := keyAt(all[i].Raw)
	j.out.Go = "every hash is right and the export is copied as it is: keys are then not found where they are"
	return j.set(all[i].Key(), j.flipIn(all[i].Raw, at, size))
}

func legacyNewer(j *job) error {
	all, i, err := j.choose(isLegacy)
	if err != nil {
		return err
	}
	f := all[i]
	b := binary.AppendVarint(binary.AppendVarint(nil, f.Node.Height), f.Node.Size)
	b = binary.AppendVarint(b, f.Node.Version+1)
	rest := f.Raw
	for range 3 {
		_, n := binary.Varint(rest)
		rest = rest[n:]
	}
	j.parent(all, i)
	j.out.Go = "the importer computes another root and says nothing"
	j.out.Note = "the version is in the hash"
	return j.set(f.Key(), append(b, rest...))
}

func legacyTruncated(j *job) error {
	all, i, err := j.choose(isLegacy)
	if err != nil {
		return err
	}
	j.parent(all, i)
	j.out.Go = "as a missing node"
	return j.set(all[i].Key(), bytes.Clone(all[i].Raw[:1+j.r.Intn(len(all[i].Raw)-1)]))
}

// legacyRoot chooses a version whose root is a legacy record that is not empty: the given one, or else any older one.
func (j *job) legacyRoot() (records.Root, error) {
	vs, err := j.versions()
	if err != nil {
		return records.Root{}, err
	}
	j.r.Shuffle(len(vs), func(a, b int) { vs[a], vs[b] = vs[b], vs[a] })
	for _, v := range append([]int64{j.version}, vs...) {
		if root, err := records.FindRoot(j.get, v); err == nil && root.Kind == "legacy" {
			j.version = v
			j.noteStore()
			j.out.Expect.Versions = []int64{v}
			if v != j.out.Latest {
				j.out.Expect.Sound = sound.json()
			}
			return root, nil
		}
	}
	return records.Root{}, unfit("store %s has no legacy root", j.store)
}

func legacyDanglingRoot(j *job) error {
	root, err := j.legacyRoot()
	if err != nil {
		return err
	}
	h := sha256.Sum256(root.Ref.Legacy)
	j.out.Expect.Nodes = []string{id(records.Ref{Legacy: h[:]})}
	j.out.Go = "the version cannot be loaded"
	j.out.Note = "the node that the root was is there"
	return j.set(records.LegacyRootKey(j.version), h[:])
}

func legacyShortRoot(j *job) error {
	root, err := j.legacyRoot()
	if err != nil {
		return err
	}
	j.out.Go = "the version cannot be loaded"
	return j.set(records.LegacyRootKey(j.version), bytes.Clone(root.Ref.Legacy[:20]))
}

func legacyOrphans(j *job) error {
	keys, _, err := j.raw()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k[0] == 'o' || k[0] == 'r' {
			return unfit("store %s has some of its own", j.store)
		}
	}
	if j.out.Latest < 4 || len(keys) < 5 {
		return unfit("store %s is too young", j.store)
	}
	for i := byte(0); i < 4; i++ {
		leaf := records.Node{Size: 1, Key: []byte{'o', i}, Value: []byte("orphan")}
		h := leaf.LeafHash(1)
		o := append(records.Key(2, 0)[:9], records.Key(1, 0)[1:9]...)
		o[0] = 'o'
		for _, r := range [][2][]byte{{append([]byte{'n'}, h...), leaf.EncodeLegacyLeaf(1)}, {append(o, h...), h}} {
			if err := j.set(r[0], r[1]); err != nil {
				return err
			}
			if r[0][0] == 'o' {
				j.out.Expect.Count++
				j.out.Expect.Bytes += int64(len(j.prefix()) + len(r[0]) + len(r[1]))
			}
		}
	}
	j.noteStore()
	j.out.Go = "IAVL 1.x deletes them when it prunes past the last legacy version"
	j.out.Note = "count and bytes are of the orphan records; each has a legacy leaf that nothing refers to"
	return nil
}
