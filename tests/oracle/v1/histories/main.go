// Command histories writes seeded histories of IAVL trees, made by the real Go code, as test vectors:
//
//	go run ./histories > ../../vectors/iavl_histories.json
//
// Per version: the operations in order ("k=v" a set, "k" a removal, in hex), the root hash, the node records that
// appeared on disk (in full for small histories, else their digest only) and the state changes Go extracts.
// A history with a base begins from a pruned database that is loaded anew.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math/rand"
	"os"
	"sort"
	"strings"

	"github.com/cosmos/iavl"
	dbm "github.com/cosmos/iavl/db"
)

type op struct {
	key, value []byte // a nil value is a removal
}

type base struct {
	Version int64    `json:"version"`
	Records []string `json:"records"`
}

type version struct {
	Version int64    `json:"version"`
	Ops     []string `json:"ops"`
	Root    string   `json:"root"`
	Records []string `json:"records,omitempty"`
	Digest  string   `json:"digest"`
	Changes string   `json:"changes,omitempty"`
}

type history struct {
	Name     string    `json:"name"`
	Base     *base     `json:"base,omitempty"`
	Versions []version `json:"versions"`
}

// plan says what a history does; ops gives the operations of its i-th version.
type plan struct {
	name     string
	initial  uint64
	versions int
	prune    int // prune up to this version and reload after as many versions + 3
	full     bool
	ops      func(r *rand.Rand, i int) []op
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func show(o op) string {
	if o.value == nil {
		return hex.EncodeToString(o.key)
	}
	return hex.EncodeToString(o.key) + "=" + hex.EncodeToString(o.value)
}

func put(h hash.Hash, parts ...[]byte) {
	for _, part := range parts {
		var length [4]byte
		binary.LittleEndian.PutUint32(length[:], uint32(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
}

func records(db dbm.DB) map[string][]byte {
	it, err := db.Iterator([]byte("s"), []byte("t"))
	check(err)
	defer it.Close()
	found := map[string][]byte{}
	for ; it.Valid(); it.Next() {
		if len(it.Key()) == 13 {
			found[string(it.Key())] = append([]byte{}, it.Value()...)
		}
	}
	return found
}

func sorted(m map[string][]byte) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func dump(m map[string][]byte) []string {
	var lines []string
	for _, key := range sorted(m) {
		lines = append(lines, hex.EncodeToString([]byte(key[1:]))+"="+hex.EncodeToString(m[key]))
	}
	return lines
}

func open(db dbm.DB, initial uint64) *iavl.MutableTree {
	var options []iavl.Option
	if initial > 0 {
		options = append(options, iavl.InitialVersionOption(initial))
	}
	tree := iavl.NewMutableTree(db, 1000, true, iavl.NewNopLogger(), options...)
	_, err := tree.Load()
	check(err)
	return tree
}

func run(p plan, seed int64) history {
	r := rand.New(rand.NewSource(seed))
	db := dbm.NewMemDB()
	tree := open(db, p.initial)
	out := history{Name: p.name}
	before := map[string][]byte{}
	for i := 0; i < p.versions; i++ {
		if p.prune > 0 && i == p.prune+3 {
			check(tree.DeleteVersionsTo(int64(p.prune)))
			tree = open(db, 0)
			before = records(db)
			out.Versions = nil
			out.Base = &base{Version: tree.Version(), Records: dump(before)}
		}
		v := version{}
		for _, o := range p.ops(r, i) {
			if o.value == nil {
				_, _, err := tree.Remove(o.key)
				check(err)
			} else {
				_, err := tree.Set(o.key, o.value)
				check(err)
			}
			v.Ops = append(v.Ops, show(o))
		}
		root, number, err := tree.SaveVersion()
		check(err)
		v.Version, v.Root = number, hex.EncodeToString(root)
		after := records(db)
		fresh := map[string][]byte{}
		for key, value := range after {
			if old, ok := before[key]; !ok {
				fresh[key] = value
			} else if !bytes.Equal(old, value) {
				panic("a record changed")
			}
		}
		if len(after) != len(before)+len(fresh) {
			panic("a record vanished")
		}
		before = after
		h := sha256.New()
		for _, key := range sorted(fresh) {
			put(h, []byte(key), fresh[key])
		}
		v.Digest = hex.EncodeToString(h.Sum(nil))
		if p.full {
			v.Records = dump(fresh)
		}
		changes := sha256.New()
		check(tree.TraverseStateChanges(number, number, func(_ int64, set *iavl.ChangeSet) error {
			for _, pair := range set.Pairs {
				if pair.Delete {
					put(changes, []byte{0}, pair.Key)
				} else {
					put(changes, []byte{1}, pair.Key, pair.Value)
				}
			}
			return nil
		}))
		v.Changes = hex.EncodeToString(changes.Sum(nil))
		out.Versions = append(out.Versions, v)
	}
	return out
}

func key(i int) []byte { return []byte(fmt.Sprintf("k%03x", i)) }

func value(r *rand.Rand) []byte {
	v := make([]byte, r.Intn(5)) // often empty, often the same again
	for i := range v {
		v[i] = byte('a' + r.Intn(3))
	}
	return v
}

// mixed gives n operations over a universe of keys, a part of them removals; ascending as a chain does it, or not.
func mixed(universe, n int, removals float64, ascending bool) func(*rand.Rand, int) []op {
	return func(r *rand.Rand, _ int) []op {
		var ops []op
		for _, k := range r.Perm(universe)[:min(n, universe)] {
			o := op{key: key(k)}
			if r.Float64() >= removals {
				o.value = value(r)
			}
			ops = append(ops, o)
			if !ascending && r.Intn(8) == 0 { // the same key again in one version
				ops = append(ops, op{key: o.key, value: value(r)}, op{key: o.key})
			}
		}
		if ascending {
			sort.Slice(ops, func(i, j int) bool { return bytes.Compare(ops[i].key, ops[j].key) < 0 })
		} else {
			r.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
		}
		return ops
	}
}

// script spells versions out: "a b=1 -c" in one string per version; "a" alone sets an empty value.
func script(lines ...string) func(*rand.Rand, int) []op {
	return func(_ *rand.Rand, i int) []op {
		var ops []op
		for _, word := range strings.Fields(lines[i%len(lines)]) {
			if word[0] == '-' {
				ops = append(ops, op{key: []byte(word[1:])})
				continue
			}
			k, v, _ := strings.Cut(word, "=")
			ops = append(ops, op{key: []byte(k), value: []byte(v)})
		}
		return ops
	}
}

func fill(n int, removeDown bool) func(*rand.Rand, int) []op {
	return func(_ *rand.Rand, i int) []op {
		var ops []op
		for j := 0; j < n; j++ {
			switch i % 4 {
			case 0:
				ops = append(ops, op{key: key(j), value: []byte{1}})
			case 1:
				if j%3 != 0 {
					ops = append(ops, op{key: key(j)})
				}
			case 2:
				ops = append(ops, op{key: key(n - j), value: []byte{2}})
			case 3:
				k := j
				if removeDown {
					k = n - j
				}
				ops = append(ops, op{key: key(k)})
			}
		}
		return ops
	}
}

func sometimes(idle int, f func(*rand.Rand, int) []op) func(*rand.Rand, int) []op {
	return func(r *rand.Rand, i int) []op {
		if i%idle == idle-1 {
			return nil
		}
		return f(r, i)
	}
}

func main() {
	plans := []plan{
		{name: "single leaf", versions: 9, full: true, ops: script("", "a=1", "a=1", "-b", "", "-a", "-a", "", "b=2")},
		{name: "collapse to an existing node", versions: 10, full: true,
			ops: script("a=1 b=2 c=3 d=4", "-a -b", "", "-c", "", "-x", "c=5", "-d", "-c", "z")},
		{name: "leftmost leaves of right subtrees", versions: 9, full: true,
			ops: script("a b c d e f g h i", "-e", "-f", "-b", "-c -g", "e f", "-a", "-d -e", "-i -h -f")},
		{name: "emptied and refilled", versions: 8, full: true, ops: fill(12, false)},
		{name: "filled and emptied from above", versions: 8, full: true, ops: fill(13, true)},
		{name: "any order", versions: 12, full: true, ops: mixed(24, 8, 0.4, false)},
		{name: "ascending with idle versions", versions: 12, full: true, ops: sometimes(4, mixed(40, 10, 0.3, true))},
		{name: "initial version", initial: 100, versions: 4, full: true, ops: mixed(10, 4, 0.2, true)},
		{name: "pruned", prune: 6, versions: 16, full: true, ops: sometimes(3, mixed(16, 4, 0.3, true))},
		{name: "pruned to an idle version", prune: 5, versions: 14, full: true,
			ops: script("a b c d e", "b=1", "-a -d", "e=2", "f", "", "", "", "", "g", "", "-b -c -e -f", "", "h")},
		{name: "pruned while growing", prune: 8, versions: 16, full: true, ops: script("a", "b", "c", "d", "e", "f", "g", "h", "i")},
		{name: "larger, ascending", versions: 24, ops: sometimes(7, mixed(700, 90, 0.3, true))},
		{name: "larger, any order", versions: 16, ops: mixed(400, 70, 0.45, false)},
		{name: "larger, mostly removals", versions: 12, ops: func(r *rand.Rand, i int) []op {
			if i == 0 {
				return mixed(500, 500, 0, true)(r, i)
			}
			return mixed(500, 80, 0.9, true)(r, i)
		}},
	}
	for i := 0; i < 8; i++ {
		universe := []int{3, 5, 9, 30}[i%4]
		plans = append(plans, plan{name: fmt.Sprintf("random %d", i), versions: 20, full: i == 0,
			ops: sometimes(5, mixed(universe, 1+universe/2, 0.5, i%2 == 0))})
	}
	var out []history
	for i, p := range plans {
		out = append(out, run(p, int64(i)+1))
	}
	encoder := json.NewEncoder(os.Stdout)
	os.Stdout.WriteString("[\n")
	for i, h := range out {
		if i > 0 {
			os.Stdout.WriteString(",\n")
		}
		check(encoder.Encode(h))
	}
	os.Stdout.WriteString("]\n")
}
