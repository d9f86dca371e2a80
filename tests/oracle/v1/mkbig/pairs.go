package main

import (
	"encoding/binary"
	"fmt"
	"math"

	"oracle/wl"
)

// largeBytes is the size of a large value.
const largeBytes = 4 << 20

// stream is a splitmix64 generator: cheap to begin anywhere, so that any pair can be made on its own.
type stream uint64

func (s *stream) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	x := uint64(*s)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (s *stream) fill(b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, s.next())
		b = b[8:]
	}
	if len(b) > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], s.next())
		copy(b, last[:])
	}
}

// upTo gives a number from 0 to n-1.
func (s *stream) upTo(n int) int { return int(s.next() % uint64(n)) }

func newStream(parts ...uint64) *stream {
	s := stream(0)
	for _, p := range parts {
		s ^= stream(p)
		s = stream(s.next())
	}
	return &s
}

var denoms = []string{"uatom", "uosmo", "ustake", "ibc/27394FB092D2ECCD56123C74F36E4C1F926001CEADA9CA97EA622B25F41E5EB2"}

const hexdig = "0123456789abcdef"

// store gives the pairs of one store at version 1 by their position in key order. Kinds of keys, in this order: prefix and
// address; prefix, address and denomination; contract address and name; counter; keys of large values. Addresses are spread
// evenly over their range with a random part, so that they ascend and look as random ones do.
type store struct {
	name    string
	number  uint64
	seed    uint64
	kinds   [4]int // pairs of each kind but the last
	large   int
	valMin  int
	valMax  int
	byScale bool
}

func newStore(name string, number, keys, large int, c wl.Config, byScale bool) *store {
	s := &store{name: name, number: uint64(number), seed: uint64(c.Seed), large: large, valMin: c.ValMin, valMax: c.ValMax, byScale: byScale}
	for i := range s.kinds {
		s.kinds[i] = keys / len(s.kinds)
		if i < keys%len(s.kinds) {
			s.kinds[i]++
		}
	}
	return s
}

func (s *store) size() int {
	n := s.large
	for _, k := range s.kinds {
		n += k
	}
	return n
}

func (s *store) key(i int) []byte {
	r := newStream(s.seed, s.number, uint64(i), 1)
	for kind, n := range s.kinds {
		if i < n {
			step := math.MaxUint64 / uint64(n)
			return makeKey(kind, uint64(i), uint64(i)*step+r.next()%step, r)
		}
		i -= n
	}
	return []byte{0xf0, byte(i >> 8), byte(i)}
}

// freshKey gives a key that version 1 does not have: count is the number of those given before.
func (s *store) freshKey(count int, r *stream) []byte {
	kind := r.upTo(len(s.kinds))
	return makeKey(kind, uint64(s.kinds[3]+count), r.next(), r)
}

// makeKey gives a key of a kind; high is what it is ordered by where it is not the counter.
func makeKey(kind int, counter, high uint64, r *stream) []byte {
	address := func(prefix []byte, n int) []byte {
		b := append(prefix, make([]byte, n)...)
		binary.BigEndian.PutUint64(b[len(prefix):], high)
		r.fill(b[len(prefix)+8:])
		return b
	}
	switch kind {
	case 0:
		return address([]byte{1, 20}, 20)
	case 1:
		return append(address([]byte{2, 20}, 20), denoms[r.upTo(len(denoms))]...)
	case 2:
		return fmt.Appendf(address([]byte{3}, 32), "state_%d", r.upTo(1<<20))
	default:
		return binary.BigEndian.AppendUint64([]byte{0x11}, counter)
	}
}

// value gives the value of a pair of version 1.
func (s *store) value(i int) []byte {
	r := newStream(s.seed, s.number, uint64(i), 2)
	if i >= s.size()-s.large {
		return fillValue(make([]byte, largeBytes), r)
	}
	return s.freshValue(r)
}

// freshValue gives a value of any size that was asked for.
func (s *store) freshValue(r *stream) []byte {
	n := s.valMin
	switch {
	case s.byScale: // as many from 8 to 80 bytes as from 80 to 800
		low, high := math.Log(float64(s.valMin+1)), math.Log(float64(s.valMax+1))
		n = int(math.Exp(low+float64(r.next()>>11)/(1<<53)*(high-low))) - 1
		n = min(max(n, s.valMin), s.valMax)
	case s.valMax > s.valMin:
		n += r.upTo(s.valMax - s.valMin + 1)
	}
	return fillValue(make([]byte, n), r)
}

// fillValue: half incompressible bytes and half hex text, as those of wl.
func fillValue(b []byte, r *stream) []byte {
	r.fill(b)
	for i := len(b) / 2; i < len(b); i++ {
		b[i] = hexdig[b[i]&15]
	}
	return b
}

// changes gives the changes of later versions: 60 % updates, 25 % inserts, 15 % deletions, as wl has them.
type changes struct {
	stores []*store
	r      *stream
	gone   []map[int]bool // positions that were deleted
	fresh  []int          // keys inserted
	// last is what each changed key holds now; nil where it was deleted.
	last map[string]map[string][]byte
}

func newChanges(stores []*store, seed int64) *changes {
	c := &changes{r: newStream(uint64(seed), 3), fresh: make([]int, len(stores)), last: map[string]map[string][]byte{}}
	for _, s := range stores {
		if s.name == wl.EmptyStore {
			continue
		}
		c.stores = append(c.stores, s)
		c.gone = append(c.gone, map[int]bool{})
		c.last[s.name] = map[string][]byte{}
	}
	return c
}

// version gives the next version's changes; each store gets as many as its share of the keys says, and at least one.
func (c *changes) version(updates int) (out []wl.StoreOps) {
	total := 0
	for _, s := range c.stores {
		total += s.size()
	}
	for n, s := range c.stores {
		ops := map[string]wl.Op{}
		for i := 0; i < max(1, updates*s.size()/max(1, total)); i++ {
			o := wl.Op{}
			what, at := c.r.upTo(100), -1
			if plain := s.size() - s.large; what >= 25 && plain > 0 {
				if at = c.r.upTo(plain); c.gone[n][at] {
					at = -1
				}
			}
			switch {
			case at < 0:
				o.Key, o.Value = s.freshKey(c.fresh[n], c.r), s.freshValue(c.r)
				c.fresh[n]++
			case what < 40:
				o.Key, o.Del = s.key(at), true
				c.gone[n][at] = true
			default:
				o.Key, o.Value = s.key(at), s.freshValue(c.r)
			}
			ops[string(o.Key)] = o
			c.last[s.name][string(o.Key)] = o.Value
		}
		out = append(out, sorted(s.name, ops))
	}
	return out
}
