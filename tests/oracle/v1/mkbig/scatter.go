package main

import (
	"bytes"
	"slices"

	dbm "github.com/cosmos/cosmos-db"

	"oracle/v1/internal/records"
	"oracle/wl"
)

// scatterer makes a store whose pairs were last written in any of many versions and whose earlier versions are pruned: only
// the last one can be read. An inner node is as new as the newest of its children, for a change makes the whole path anew.
// All records of a store are in memory at once: a version's lie together on disk, and they are all over the tree.
type scatterer struct {
	of       *store
	prefix   string
	versions int64
	nonces   []uint32 // the last one given, by version
	records  []record
}

// leafVersion is the version in which a pair was last written. The last pair is of the last version, and so the root is.
func (x *scatterer) leafVersion(i int) int64 {
	if i == x.of.size()-1 {
		return x.versions
	}
	return 1 + int64(newStream(x.of.seed, x.of.number, uint64(i), 4).upTo(int(x.versions)))
}

// nonce gives the next one of a version. Nodes of one version that hang together were numbered without a gap; what was between
// them and others of that version has been pruned. Nonce 1 is for the root of a version that is there.
func (x *scatterer) nonce(version, parent int64) uint32 {
	if parent == 0 {
		x.nonces[version] = 1
		return 1
	}
	n := max(x.nonces[version], 1) + 1
	if parent != version {
		n += uint32(newStream(x.of.seed, uint64(version), uint64(n), 5).upTo(8))
	}
	x.nonces[version] = n
	return n
}

// made is what a parent needs to know of its child.
type made struct {
	records.Ref
	hash []byte
	key  []byte // the smallest below it
}

// newest gives the version of each node of a tree in pre-order.
func (x *scatterer) newest(s span, out []int64) int64 {
	version := int64(0)
	if s.leaves == 1 {
		version = x.leafVersion(s.first)
	} else {
		left, right := s.children()
		version = max(x.newest(left, out), x.newest(right, out))
	}
	out[s.nonce-1] = version
	return version
}

// node makes the records of a tree. The nonces of a span are its places in pre-order; parent is the version of what it hangs on.
func (x *scatterer) node(s span, newest []int64, parent int64) made {
	version := newest[s.nonce-1]
	m := made{Ref: records.Ref{Version: version, Nonce: x.nonce(version, parent)}}
	var value []byte
	if s.leaves == 1 {
		leaf := records.Node{Size: 1, Key: x.of.key(s.first), Value: x.of.value(s.first)}
		m.key, m.hash, value = leaf.Key, leaf.LeafHash(version), leaf.Encode()
	} else {
		l, r := s.children()
		left := x.node(l, newest, version)
		right := x.node(r, newest, version)
		m.key, m.hash = left.key, innerHash(s, version, left.hash, right.hash)
		value = records.Node{Height: height(s.leaves), Size: int64(s.leaves), Key: right.key, Hash: m.hash, Left: left.Ref, Right: right.Ref}.Encode()
	}
	x.records = append(x.records, record{append([]byte(x.prefix), m.Key()...), value})
	return m
}

// writeScattered is writeStore for a store whose pairs were last written in that many versions.
func writeScattered(db dbm.DB, s *store, fast bool, versions int64) wl.StoreState {
	if s.size() == 0 {
		return writeEmpty(db, s, versions)
	}
	x := &scatterer{of: s, prefix: "s/k:" + s.name + "/", versions: versions, nonces: make([]uint32, versions+1)}
	w := &writer{db: db}
	digest := wl.NewDigest()
	for i := range s.size() { // the fast index comes before the nodes
		key, value := s.key(i), s.value(i)
		digest.Add(key, value)
		if fast {
			w.put(fastRecord(x.prefix, key, value, x.leafVersion(i)))
		}
	}
	if fast {
		w.put(storageVersion(x.prefix, versions))
	}
	root := span{0, s.size(), 1}
	newest := make([]int64, 2*root.leaves-1)
	x.newest(root, newest)
	hash := x.node(root, newest, 0).hash
	slices.SortFunc(x.records, func(a, b record) int { return bytes.Compare(a.key, b.key) })
	for _, r := range x.records {
		w.put(r)
	}
	w.flush()
	return state(hash, digest)
}
