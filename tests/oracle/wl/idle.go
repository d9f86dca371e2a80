package wl

import (
	"bytes"
	"fmt"
	"math/rand"
	"sort"
)

// MinIdle is the least number of versions a database with idle stores can have.
const MinIdle = 16

// idleStores are the stores of Config.Idle, whose roots are older than the latest version, or
// odd in another way. h is the ordinal of the latest version of the database (Config.Idle), so
// the script of a store says what it looks like there, and what the live versions after it do.
// No name is a prefix of another: store/v2 knows no separator.
var idleStores = []struct {
	name string
	ops  func(x *idle, n, h int) []Op
}{
	// A root of H-1, H-2, H-3, H-7.
	{"idleh1", untouchedSince(1, 3)},
	{"idleh2", untouchedSince(2, 1)},
	{"idleh3", untouchedSince(3, 2)},
	{"idleh7", untouchedSince(7, 0)},
	// Written at the first version and not again before H+4.
	{"idleonce", func(x *idle, n, h int) []Op {
		switch n {
		case 1:
			return x.insert(x.size)
		case h + 4:
			return x.change(3)
		}
		return nil
	}},
	// One leaf: of H (it gets a neighbour at H+1 and loses it at H+3), of H-5, and of the first version.
	{"leafnow", func(x *idle, n, h int) []Op {
		switch {
		case n == h, n < h && n%4 == 1:
			return x.set("only")
		case n == h+1:
			return x.set("second")
		case n == h+3:
			return x.del("second")
		}
		return nil
	}},
	{"leafold", func(x *idle, n, h int) []Op {
		switch n {
		case 1, h - 5, h + 2:
			return x.set("only")
		}
		return nil
	}},
	{"leafonce", func(x *idle, n, h int) []Op {
		if n == 1 {
			return x.set("only")
		}
		return nil
	}},
	// All keys deleted: at H-4, refilled at H+3; exactly at H, refilled at H+1.
	{"emptied", func(x *idle, n, h int) []Op {
		switch {
		case n == 1, n == h+3:
			return x.insert(x.size)
		case n < h-4 && n%3 == 0:
			return x.change(4)
		case n == h-4:
			return x.wipe()
		}
		return nil
	}},
	{"wiped", func(x *idle, n, h int) []Op {
		switch {
		case n == 1, n == h+1:
			return x.insert(x.size)
		case n < h:
			return x.change(2)
		case n == h:
			return x.wipe()
		}
		return nil
	}},
	// A deletion makes a child that exists already the root: a reference to a nonce other than
	// 1. An inner node at H-3, a leaf at H-2, an inner node exactly at H.
	{"shrunkinner", func(x *idle, n, h int) []Op {
		switch n {
		case 1:
			return x.set("a", "b", "c")
		case h - 6:
			return x.set("c")
		case h - 3:
			return x.del("a")
		case h + 2:
			return x.set("d")
		}
		return nil
	}},
	{"shrunkleaf", func(x *idle, n, h int) []Op {
		switch n {
		case 1:
			return x.set("a", "b")
		case h - 6:
			return x.set("b")
		case h - 2:
			return x.del("a")
		}
		return nil
	}},
	{"shrunknow", func(x *idle, n, h int) []Op {
		switch n {
		case 1:
			return x.set("a", "b", "c")
		case h:
			return x.del("a")
		case h + 1:
			return x.set("a")
		}
		return nil
	}},
	// The root of version 2, a leaf, becomes a child at 4 and the root again at H-3: a
	// reference to nonce 1 of a version that was never idle.
	{"shrunkback", func(x *idle, n, h int) []Op {
		switch n {
		case 2:
			return x.set("a")
		case 4:
			return x.set("b")
		case h - 3:
			return x.del("b")
		}
		return nil
	}},
	// A lone leaf of version 3 stays the root up to 12 and is a child from 13 on. Where versions are
	// pruned meanwhile it is rewritten to nonce 0, and the pointer of its parent still says 1.
	{"adopted", func(x *idle, n, h int) []Op {
		switch {
		case n == 3:
			return x.set("m")
		case n == 13:
			return x.set("p", "q")
		case n == 14:
			return x.set("a", "b", "r", "s")
		case n == h+2:
			return x.set("q")
		}
		return nil
	}},
	// The same between H-8 and H-5: the pointer is written first and the leaf renamed later.
	{"fostered", func(x *idle, n, h int) []Op {
		switch n {
		case h - 8:
			return x.set("m")
		case h - 5:
			return x.set("p", "q")
		case h - 4:
			return x.set("a", "b")
		case h + 3:
			return x.set("b")
		}
		return nil
	}},
	// A lone leaf, root of version 12, becomes a child at 13 and is replaced at 15: pruning leaves
	// it behind as the root of a version that does not exist.
	{"haunted", func(x *idle, n, h int) []Op {
		switch {
		case n == 12:
			return x.set("a")
		case n == 13:
			return x.set("b")
		case n == 15:
			return x.set("a")
		case n == h+1:
			return x.set("c")
		}
		return nil
	}},
}

// IdleNames are the stores that Config.Idle adds.
func (c Config) IdleNames() (out []string) {
	if c.Idle > 0 {
		for _, s := range idleStores {
			out = append(out, s.name)
		}
	}
	return out
}

// untouchedSince gives a busy store with a root of H-back that stays idle after it; if again is not 0
// it is changed once more, at H+again.
func untouchedSince(back, again int) func(x *idle, n, h int) []Op {
	return func(x *idle, n, h int) []Op {
		switch {
		case n == 1:
			return x.insert(x.size)
		case n <= h-back, again > 0 && n == h+again:
			return x.change(4)
		}
		return nil
	}
}

// idle is one scripted store with its own random source, so that the other stores get the same
// changes with and without it.
type idle struct {
	g    *Gen
	s    *store
	size int
	ops  func(x *idle, n, h int) []Op
}

func newIdle(c Config) (out []*idle) {
	for i, d := range idleStores {
		g := &Gen{c: c, r: rand.New(rand.NewSource(c.Seed*1000 + int64(i))), byName: map[string]*store{}}
		out = append(out, &idle{g: g, s: g.addStore(d.name, 1), size: c.Keys/4 + 5, ops: d.ops})
	}
	return out
}

// version gives the changes of the n-th version, sorted by key, one per key.
func (x *idle) version(n int) (StoreOps, bool) {
	m := map[string]Op{}
	for _, o := range x.ops(x, n, x.g.c.Idle) {
		m[string(o.Key)] = o
	}
	so := StoreOps{Store: x.s.name}
	for _, o := range m {
		so.Ops = append(so.Ops, o)
	}
	sort.Slice(so.Ops, func(i, j int) bool { return bytes.Compare(so.Ops[i].Key, so.Ops[j].Key) < 0 })
	return so, len(so.Ops) > 0
}

func (x *idle) insert(count int) (out []Op) {
	for i := 0; i < count; i++ {
		out = append(out, x.g.insert(x.s))
	}
	return out
}

// change updates and inserts count keys each and deletes one.
func (x *idle) change(count int) (out []Op) {
	out = append(out, x.g.remove(x.s, x.g.r.Intn(len(x.s.keys))))
	for i := 0; i < count; i++ {
		out = append(out, Op{Key: x.s.keys[x.g.r.Intn(len(x.s.keys))], Value: x.g.value()})
	}
	return append(out, x.insert(count)...)
}

func (x *idle) wipe() (out []Op) {
	for len(x.s.keys) > 0 {
		out = append(out, x.g.remove(x.s, len(x.s.keys)-1))
	}
	return out
}

func (x *idle) set(keys ...string) (out []Op) {
	for i, k := range keys {
		out = append(out, Op{Key: []byte(k), Value: []byte(fmt.Sprintf("%s%d %x", k, i, x.g.bytes(6)))})
	}
	return out
}

func (x *idle) del(key string) []Op { return []Op{{Key: []byte(key), Del: true}} }
