package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	dbm "github.com/cosmos/cosmos-db"

	"oracle/v1/internal/records"
	"oracle/wl"
)

const (
	// blockLeaves: a subtree of at most so many leaves is made in one piece, by one worker.
	blockLeaves = 1024
	// keepBytes: values of a block beyond this are made a second time instead of being kept.
	keepBytes = 8 << 20
	// batchBytes: a batch is written when it has grown to this.
	batchBytes = 1 << 20
	workers    = 2
)

// span is a subtree: its first leaf and how many it has. The left child has the greater half, so heights differ by at
// most one; all nodes are of version 1, and a subtree of n leaves takes 2n-1 nonces, in pre-order.
type span struct {
	first, leaves int
	nonce         uint32
}

func (s span) children() (left, right span) {
	n := (s.leaves + 1) / 2
	left = span{s.first, n, s.nonce + 1}
	return left, span{s.first + n, s.leaves - n, s.nonce + uint32(2*n)}
}

// height of a tree of so many leaves cut into halves.
func height(leaves int) (h int64) {
	for ; leaves > 1; leaves = (leaves + 1) / 2 {
		h++
	}
	return h
}

func innerHash(s span, version int64, left, right []byte) []byte {
	var room [96]byte
	b := binary.AppendVarint(room[:0], height(s.leaves))
	b = binary.AppendVarint(binary.AppendVarint(b, int64(s.leaves)), version)
	b = append(append(b, 32), left...)
	b = append(append(b, 32), right...)
	h := sha256.Sum256(b)
	return h[:]
}

// record is one pair to be written.
type record struct{ key, value []byte }

// block makes what lies under one span.
type block struct {
	span
	of     *store
	keys   [][]byte
	values [][]byte // nil where it is to be made again
	hashes map[uint32][]byte
}

func newBlock(of *store, s span) *block {
	b := &block{span: s, of: of, hashes: map[uint32][]byte{}}
	kept := 0
	for i := s.first; i < s.first+s.leaves; i++ {
		b.keys = append(b.keys, of.key(i))
		v := of.value(i)
		if kept += len(v); kept > keepBytes {
			v = nil
		}
		b.values = append(b.values, v)
	}
	return b
}

func (b *block) key(i int) []byte { return b.keys[i-b.first] }

func (b *block) value(i int) []byte {
	if v := b.values[i-b.first]; v != nil {
		return v
	}
	return b.of.value(i)
}

func (b *block) hash(s span) []byte {
	h, ok := b.hashes[s.nonce]
	if !ok {
		if s.leaves == 1 {
			h = records.Node{Key: b.key(s.first), Value: b.value(s.first)}.LeafHash(1)
		} else {
			left, right := s.children()
			h = innerHash(s, 1, b.hash(left), b.hash(right))
		}
		b.hashes[s.nonce] = h
	}
	return h
}

// nodes hands out the records under a span in key order, which is pre-order.
func (b *block) nodes(s span, prefix string, put func(record)) {
	key := append([]byte(prefix), records.Key(1, s.nonce)...)
	if s.leaves == 1 {
		put(record{key, records.Node{Size: 1, Key: b.key(s.first), Value: b.value(s.first)}.Encode()})
		return
	}
	left, right := s.children()
	put(record{key, inner(s, b.key(right.first), b.hash(s))})
	b.nodes(left, prefix, put)
	b.nodes(right, prefix, put)
}

func inner(s span, key, hash []byte) []byte {
	left, right := s.children()
	return records.Node{Height: height(s.leaves), Size: int64(s.leaves), Key: key, Hash: hash,
		Left: records.Ref{Version: 1, Nonce: left.nonce}, Right: records.Ref{Version: 1, Nonce: right.nonce}}.Encode()
}

// inOrder makes pieces with several workers and takes them in order; few are in memory at a time.
func inOrder[T any](n int, produce func(int) T, take func(int, T)) {
	slots := make(chan chan T, 2*workers)
	todo := make(chan func(), 2*workers)
	var wait sync.WaitGroup
	for range workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for f := range todo {
				f()
			}
		}()
	}
	go func() {
		for i := range n {
			slot := make(chan T, 1)
			slots <- slot
			todo <- func() { slot <- produce(i) }
		}
		close(slots)
		close(todo)
	}()
	i := 0
	for slot := range slots {
		take(i, <-slot)
		i++
	}
	wait.Wait()
}

// writer writes records in batches.
type writer struct {
	db    dbm.DB
	batch dbm.Batch
	size  int
}

func (w *writer) put(r record) {
	if w.batch == nil {
		w.batch = w.db.NewBatchWithSize(batchBytes + batchBytes/4)
	}
	check(w.batch.Set(r.key, r.value))
	if w.size += len(r.key) + len(r.value); w.size >= batchBytes {
		w.flush()
	}
}

func (w *writer) flush() {
	if w.batch != nil {
		check(w.batch.Write())
		check(w.batch.Close())
		w.batch, w.size = nil, 0
	}
}

// writeStore writes a store's tree at version 1, and the fast index unless it is not wanted; everything in key order, so
// that goleveldb has nothing to merge. It gives the root hash and what expected.json says.
func writeStore(db dbm.DB, s *store, fast bool) wl.StoreState {
	prefix := "s/k:" + s.name + "/"
	w := &writer{db: db}
	digest := wl.NewDigest()
	root := span{0, s.size(), 1}
	if root.leaves == 0 {
		return writeEmpty(db, s, 1)
	}
	var blocks []span
	cut(root, func(s span) { blocks = append(blocks, s) })

	// First the hash of each block, for inner nodes come before what is below them; the fast index on the way.
	hashes := map[uint32][]byte{}
	inOrder(len(blocks), func(i int) *block {
		b := newBlock(s, blocks[i])
		b.hash(b.span)
		return b
	}, func(_ int, b *block) {
		hashes[b.nonce] = b.hash(b.span)
		for i := b.first; i < b.first+b.leaves; i++ {
			value := b.value(i)
			digest.Add(b.key(i), value)
			if fast {
				w.put(fastRecord(prefix, b.key(i), value, 1))
			}
		}
	})
	if fast {
		w.put(storageVersion(prefix, 1))
	}

	// Then the nodes: those above the blocks in between.
	upper := upperHashes(root, hashes)
	next := 0
	var above []record
	var plan [][]record // what precedes each block
	var walk func(span)
	walk = func(x span) {
		if x.leaves <= blockLeaves {
			plan = append(plan, above)
			above = nil
			return
		}
		left, right := x.children()
		above = append(above, record{append([]byte(prefix), records.Key(1, x.nonce)...), inner(x, s.key(right.first), upper[x.nonce])})
		walk(left)
		walk(right)
	}
	walk(root)
	inOrder(len(blocks), func(i int) *block {
		b := newBlock(s, blocks[i])
		b.hash(b.span)
		return b
	}, func(_ int, b *block) {
		for _, r := range plan[next] {
			w.put(r)
		}
		next++
		b.nodes(b.span, prefix, w.put)
	})
	w.flush()
	return state(upper[root.nonce], digest)
}

// writeEmpty writes what a version has of a store without keys.
func writeEmpty(db dbm.DB, s *store, version int64) wl.StoreState {
	w := &writer{db: db}
	w.put(record{append([]byte("s/k:"+s.name+"/"), records.Key(version, 1)...), []byte{}})
	w.flush()
	h := sha256.Sum256(nil)
	return state(h[:], wl.NewDigest())
}

// fastRecord is the fast index's record of a pair; version is that in which the pair was last written.
func fastRecord(prefix string, key, value []byte, version int64) record {
	v := binary.AppendUvarint(binary.AppendVarint(make([]byte, 0, len(value)+16), version), uint64(len(value)))
	return record{append(append([]byte(prefix), 'f'), key...), append(v, value...)}
}

// storageVersion is the record that says up to which version the fast index goes.
func storageVersion(prefix string, version int64) record {
	return record{[]byte(prefix + "mstorage_version"), fmt.Appendf(nil, "1.1.0-%d", version)}
}

// cut gives the blocks of a tree from left to right.
func cut(s span, give func(span)) {
	if s.leaves <= blockLeaves {
		give(s)
		return
	}
	left, right := s.children()
	cut(left, give)
	cut(right, give)
}

// upperHashes adds the hashes of the nodes above the blocks.
func upperHashes(root span, hashes map[uint32][]byte) map[uint32][]byte {
	var walk func(span) []byte
	walk = func(s span) []byte {
		if h, ok := hashes[s.nonce]; ok {
			return h
		}
		left, right := s.children()
		h := innerHash(s, 1, walk(left), walk(right))
		hashes[s.nonce] = h
		return h
	}
	walk(root)
	return hashes
}
