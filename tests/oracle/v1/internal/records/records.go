// Package records decodes and encodes the raw records of an IAVL v1 tree, without the IAVL code:
// what is broken on purpose, and what is shown of a database, must not depend on its repairs.
package records

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Ref names a node: by version and nonce, or by hash where it is a legacy node.
type Ref struct {
	Version int64
	Nonce   uint32
	Legacy  []byte
}

// Key is the record key of a node, under the prefix of its store.
func Key(version int64, nonce uint32) []byte {
	b := append(make([]byte, 0, 13), 's')
	b = binary.BigEndian.AppendUint64(b, uint64(version))
	return binary.BigEndian.AppendUint32(b, nonce)
}

// Key is the record key of the node.
func (r Ref) Key() []byte {
	if r.Legacy != nil {
		return append([]byte{'n'}, r.Legacy...)
	}
	return Key(r.Version, r.Nonce)
}

// ParseKey reverses Key.
func ParseKey(k []byte) (Ref, bool) {
	if len(k) != 13 || k[0] != 's' {
		return Ref{}, false
	}
	return Ref{Version: int64(binary.BigEndian.Uint64(k[1:])), Nonce: binary.BigEndian.Uint32(k[9:])}, true
}

// Node is a decoded node record. Version is known for legacy nodes only; else the key has it.
type Node struct {
	Height      int64
	Size        int64
	Version     int64
	Key, Value  []byte
	Hash        []byte
	Mode        int64
	Left, Right Ref
}

type reader struct {
	p   []byte
	bad bool
}

func (r *reader) zz() int64 {
	x, n := binary.Varint(r.p)
	if n <= 0 {
		r.bad, r.p = true, nil
		return 0
	}
	r.p = r.p[n:]
	return x
}

func (r *reader) bytes() []byte {
	x, n := binary.Uvarint(r.p)
	if n <= 0 || x > uint64(len(r.p)-n) {
		r.bad, r.p = true, nil
		return nil
	}
	b := r.p[n : n+int(x)]
	r.p = r.p[n+int(x):]
	return bytes.Clone(b)
}

var errBad = errors.New("not a node")

// Decode reads the value of an 's' record that is a node, or of an 'n' record if legacy.
func Decode(v []byte, legacy bool) (Node, error) {
	r := reader{p: v}
	n := Node{Height: r.zz(), Size: r.zz()}
	if legacy {
		n.Version = r.zz()
	}
	n.Key = r.bytes()
	if n.Height == 0 {
		n.Value = r.bytes()
	} else if legacy {
		n.Left.Legacy, n.Right.Legacy = r.bytes(), r.bytes()
	} else {
		n.Hash, n.Mode = r.bytes(), r.zz()
		for i, c := range []*Ref{&n.Left, &n.Right} {
			if n.Mode&(1<<i) != 0 {
				c.Legacy = r.bytes()
			} else {
				c.Version, c.Nonce = r.zz(), uint32(r.zz())
			}
		}
	}
	if r.bad || len(r.p) > 0 {
		return n, errBad
	}
	return n, nil
}

func appendBytes(b, p []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(p))), p...) }

// Encode is the value of an 's' record.
func (n Node) Encode() []byte {
	b := appendBytes(binary.AppendVarint(binary.AppendVarint(nil, n.Height), n.Size), n.Key)
	if n.Height == 0 {
		return appendBytes(b, n.Value)
	}
	b = binary.AppendVarint(appendBytes(b, n.Hash), n.Mode)
	for i, c := range []Ref{n.Left, n.Right} {
		if n.Mode&(1<<i) != 0 {
			b = appendBytes(b, c.Legacy)
		} else {
			b = binary.AppendVarint(binary.AppendVarint(b, c.Version), int64(c.Nonce))
		}
	}
	return b
}

// EncodeLegacyLeaf is the value of the 'n' record of a leaf.
func (n Node) EncodeLegacyLeaf(version int64) []byte {
	b := binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(nil, 0), 1), version)
	return appendBytes(appendBytes(b, n.Key), n.Value)
}

// LeafHash is the hash of a leaf of the given version.
func (n Node) LeafHash(version int64) []byte {
	v := sha256.Sum256(n.Value)
	b := binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(nil, 0), 1), version)
	h := sha256.Sum256(appendBytes(appendBytes(b, n.Key), v[:]))
	return h[:]
}

// Get reads a record of one store; false if there is none.
type Get func(key []byte) ([]byte, bool)

// Found is a node as found in a tree.
type Found struct {
	Ref       // of the record; its nonce is 0 where the pointer says 1 and the record was renamed
	Node Node // decoded
	Raw  []byte
	// Renamed: the pointer or reference to it says nonce 1, the record has nonce 0.
	Renamed bool
	Depth   int
	Parent  int // index in the walk, -1 for the root
}

// Root is what (version, 1) says.
type Root struct {
	Kind string // missing, empty, node, reference, legacy
	Ref  Ref    // of the root node, as written
}

// LegacyRootKey is the record key of a root that IAVL v0 wrote.
func LegacyRootKey(version int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{'r'}, uint64(version))
}

// FindRoot reads the root record of a version.
func FindRoot(get Get, version int64) (Root, error) {
	v, ok := get(Key(version, 1))
	switch {
	case !ok:
		h, ok := get(LegacyRootKey(version))
		switch {
		case !ok:
			return Root{Kind: "missing"}, nil
		case len(h) == 0:
			return Root{Kind: "empty"}, nil
		case len(h) != 32:
			return Root{}, fmt.Errorf("version %d: legacy root %x", version, h)
		}
		return Root{"legacy", Ref{Legacy: h}}, nil
	case len(v) == 0:
		return Root{Kind: "empty"}, nil
	case v[0] != 's':
		return Root{"node", Ref{Version: version, Nonce: 1}}, nil
	}
	if len(v) == 9 {
		v = append(bytes.Clone(v), 0, 0, 0, 1)
	}
	r, ok := ParseKey(v)
	if !ok {
		return Root{}, fmt.Errorf("version %d: reference root %x", version, v)
	}
	return Root{"reference", r}, nil
}

// maxDepth is more than a balanced tree has.
const maxDepth = 128

// Walk gives the nodes of a version in pre-order.
func Walk(get Get, version int64) (out []Found, root Root, err error) {
	root, err = FindRoot(get, version)
	if err != nil || root.Kind == "missing" || root.Kind == "empty" {
		return nil, root, err
	}
	var walk func(r Ref, depth, parent int) error
	walk = func(r Ref, depth, parent int) error {
		f := Found{Ref: r, Depth: depth, Parent: parent}
		if depth > maxDepth {
			return fmt.Errorf("node %x is deeper than a tree can be", r.Key())
		}
		v, ok := get(r.Key())
		if !ok && r.Legacy == nil && r.Nonce == 1 {
			f.Ref.Nonce, f.Renamed = 0, true
			v, ok = get(f.Ref.Key())
		}
		if !ok {
			return fmt.Errorf("node %x is missing", r.Key())
		}
		f.Raw = v
		var err error
		if f.Node, err = Decode(v, r.Legacy != nil); err != nil {
			return fmt.Errorf("node %x: %w", r.Key(), err)
		}
		i := len(out)
		out = append(out, f)
		if f.Node.Height == 0 {
			return nil
		}
		if err := walk(f.Node.Left, depth+1, i); err != nil {
			return err
		}
		return walk(f.Node.Right, depth+1, i)
	}
	return out, root, walk(root.Ref, 0, -1)
}

// Verify checks what IAVL trusts: heights, sizes, hashes and keys of the inner nodes of a walk, and that
// the leaves ascend. It gives the first fault, and the root hash as computed from the leaves.
func Verify(all []Found) (hash []byte, err error) {
	type sum struct {
		hash, least  []byte
		height, size int64
	}
	fault := func(f Found, s string, a ...any) error {
		return fmt.Errorf("node (%d,%d): %s", f.Version, f.Nonce, fmt.Sprintf(s, a...))
	}
	sums := make([]sum, len(all))
	right := map[int]int{} // parent to its second child; the first one follows the parent
	for i, f := range all {
		if f.Parent >= 0 && i != f.Parent+1 {
			right[f.Parent] = i
		}
	}
	for i := len(all) - 1; i >= 0; i-- { // children before parents
		f := all[i]
		version := f.Version
		if f.Legacy != nil {
			version = f.Node.Version
		}
		if f.Node.Height == 0 {
			sums[i] = sum{f.Node.LeafHash(version), f.Node.Key, 0, 1}
			if f.Node.Size != 1 {
				return nil, fault(f, "a leaf of size %d", f.Node.Size)
			}
		} else {
			l, r := sums[i+1], sums[right[i]]
			s := sum{least: l.least, height: max(l.height, r.height) + 1, size: l.size + r.size}
			if f.Node.Height != s.height || f.Node.Size != s.size {
				return nil, fault(f, "height %d size %d, its children give %d and %d", f.Node.Height, f.Node.Size, s.height, s.size)
			}
			if !bytes.Equal(f.Node.Key, r.least) {
				return nil, fault(f, "key %x, the smallest on the right is %x", f.Node.Key, r.least)
			}
			b := binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(nil, s.height), s.size), version)
			h := sha256.Sum256(appendBytes(appendBytes(b, l.hash), r.hash))
			s.hash = h[:]
			if f.Legacy == nil && !bytes.Equal(f.Node.Hash, s.hash) {
				return nil, fault(f, "hash %x, its children give %x", f.Node.Hash, s.hash)
			}
			sums[i] = s
		}
		if f.Legacy != nil && !bytes.Equal(f.Legacy, sums[i].hash) {
			return nil, fault(f, "legacy node %x has hash %x", f.Legacy, sums[i].hash)
		}
	}
	var last *Found
	for i := range all {
		if all[i].Node.Height == 0 {
			if last != nil && bytes.Compare(last.Node.Key, all[i].Node.Key) >= 0 {
				return nil, fault(all[i], "key %x follows %x", all[i].Node.Key, last.Node.Key)
			}
			last = &all[i]
		}
	}
	if len(all) == 0 {
		h := sha256.Sum256(nil)
		return h[:], nil
	}
	return sums[0].hash, nil
}
