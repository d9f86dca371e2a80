// ssverify judges a state storage by the digests in expected.json, at every version of a range. It
// reads the whole storage, as an independent reader dumped it, from standard input, in any order:
//
//	u8 kind (0 put, 1 delete) | u32le length, key | u64le timestamp | for a put: u32le length, value
//
// The key is "s/k:<store>/" and the key in the store. At version V a key has the value of its newest
// record of a timestamp up to V; none, or a delete, means that it is not there.
//
//	ssverify -expected expected.json [-from V] [-to V] [-dropped ignore] [-quiet] < records
//
// It exits with 1 on any difference. Versions and stores without a digest in expected.json are counted
// as not compared. Keys of a store that the version does not have are a difference, or with
// -dropped ignore are only reported: a storage that leaves deleted stores readable has them.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strings"

	"oracle/wl"
)

type entry struct {
	ts    uint64
	del   bool
	value []byte
}

type key struct {
	name    string // within the store
	entries []entry
}

func main() {
	log.SetFlags(0)
	exp := flag.String("expected", "", "expected.json")
	from := flag.Int64("from", 0, "first version (default: latest_version of expected.json)")
	to := flag.Int64("to", 0, "last version (default: the last of expected.json)")
	dropped := flag.String("dropped", "fail", "keys of a store that a version does not have: fail or ignore")
	quiet := flag.Bool("quiet", false, "print differences and the summary only")
	flag.Parse()
	if *dropped != "fail" && *dropped != "ignore" {
		log.Fatal("-dropped is fail or ignore")
	}

	e, err := wl.LoadExpected(*exp)
	check(err)
	if len(e.Versions) == 0 {
		log.Fatal("expected.json has no versions")
	}
	if *from == 0 {
		*from = e.LatestVer
	}
	if *to == 0 {
		*to = e.Versions[len(e.Versions)-1].Version
	}
	names := map[string]bool{}
	states := map[int64]wl.VersionState{}
	for _, v := range e.Versions {
		states[v.Version] = v
		for n := range v.Stores {
			names[n] = true
		}
	}

	r := reader{names: names, keys: map[string]map[string]*key{}}
	check(r.read(bufio.NewReaderSize(os.Stdin, 1<<20)))
	bad := r.sort()
	fmt.Printf("%d records (%d deletes), %d keys, %d stores, timestamps %d..%d\n", r.records, r.deletes, r.count, len(r.keys), r.first, r.last)

	diff := func(f string, a ...any) { bad++; fmt.Printf("DIFFERS "+f+"\n", a...) }
	var compared, without int
	for v := *from; v <= *to; v++ {
		want, ok := states[v]
		if !ok {
			diff("version %d is not in expected.json", v)
			continue
		}
		before := bad
		var done, none int
		for _, n := range sorted(want.Stores) {
			w := want.Stores[n]
			g := r.state(n, uint64(v))
			switch {
			case w.SHA256 == "" && w.Keys == 0 && w.Bytes == 0:
				none++
				continue
			case w.Keys != g.Keys || w.Bytes != g.Bytes:
				diff("version %d store %s: %d keys %d bytes, expected %d keys %d bytes", v, n, g.Keys, g.Bytes, w.Keys, w.Bytes)
			case w.SHA256 != "" && w.SHA256 != g.SHA256:
				diff("version %d store %s: sha256 %s, expected %s", v, n, g.SHA256, w.SHA256)
			case !*quiet:
				fmt.Printf("version %d store %-14s %d keys %d bytes as expected\n", v, n, g.Keys, g.Bytes)
			}
			done++
		}
		for _, n := range sorted(r.keys) {
			if _, ok := want.Stores[n]; ok {
				continue
			}
			if g := r.state(n, uint64(v)); g.Keys > 0 {
				if *dropped == "fail" {
					diff("version %d has no store %q: %d keys", v, n, g.Keys)
				} else if !*quiet {
					fmt.Printf("version %d has no store %q: %d keys, ignored\n", v, n, g.Keys)
				}
			}
		}
		compared, without = compared+done, without+none
		if !*quiet {
			fmt.Printf("version %d: %d stores compared, %d without digest, %d differences\n", v, done, none, bad-before)
		}
	}
	fmt.Printf("versions %d..%d: %d states compared, %d without digest, %d differences\n", *from, *to, compared, without, bad)
	if compared == 0 {
		fmt.Println("nothing was compared")
		bad++
	}
	if bad > 0 {
		os.Exit(1)
	}
}

type reader struct {
	names   map[string]bool
	keys    map[string]map[string]*key
	ordered map[string][]*key

	records, deletes, count int
	first, last             uint64
}

func (r *reader) read(in *bufio.Reader) error {
	for {
		kind, err := in.ReadByte()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if kind > 1 {
			return fmt.Errorf("record %d: kind %d", r.records, kind)
		}
		k, err := blob(in)
		if err != nil {
			return err
		}
		var ts [8]byte
		if _, err := io.ReadFull(in, ts[:]); err != nil {
			return fmt.Errorf("record %d: %w", r.records, io.ErrUnexpectedEOF)
		}
		x := entry{ts: binary.LittleEndian.Uint64(ts[:]), del: kind == 1}
		if !x.del {
			if x.value, err = blob(in); err != nil {
				return err
			}
		}
		store, name, err := r.split(string(k))
		if err != nil {
			return fmt.Errorf("record %d: %w", r.records, err)
		}
		m := r.keys[store]
		if m == nil {
			m = map[string]*key{}
			r.keys[store] = m
		}
		if m[name] == nil {
			m[name] = &key{name: name}
			r.count++
		}
		m[name].entries = append(m[name].entries, x)
		if r.records == 0 || x.ts < r.first {
			r.first = x.ts
		}
		r.last = max(r.last, x.ts)
		r.records++
		if x.del {
			r.deletes++
		}
	}
}

// split takes the longest store of expected.json, for names and keys may have slashes.
func (r *reader) split(k string) (store, name string, err error) {
	rest, ok := strings.CutPrefix(k, "s/k:")
	if !ok {
		return "", "", fmt.Errorf("key %x is in no store", k)
	}
	found := false
	for n := range r.names {
		if strings.HasPrefix(rest, n+"/") && (!found || len(n) > len(store)) {
			store, found = n, true
		}
	}
	if !found {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return "", "", fmt.Errorf("key %x is in no store", k)
		}
		store = rest[:i]
	}
	return store, rest[len(store)+1:], nil
}

// sort brings keys and their entries in order; two records of one key and timestamp are a difference.
func (r *reader) sort() (bad int) {
	r.ordered = map[string][]*key{}
	for _, s := range sorted(r.keys) {
		var ks []*key
		for _, n := range sorted(r.keys[s]) {
			k := r.keys[s][n]
			sort.Slice(k.entries, func(i, j int) bool { return k.entries[i].ts < k.entries[j].ts })
			for i := 1; i < len(k.entries); i++ {
				if k.entries[i].ts == k.entries[i-1].ts {
					bad++
					fmt.Printf("DIFFERS store %s key %x: two records of version %d\n", s, n, k.entries[i].ts)
				}
			}
			ks = append(ks, k)
		}
		r.ordered[s] = ks
	}
	return bad
}

// state describes a store as of a version.
func (r *reader) state(store string, v uint64) wl.StoreState {
	d := wl.NewDigest()
	for _, k := range r.ordered[store] {
		i := sort.Search(len(k.entries), func(i int) bool { return k.entries[i].ts > v })
		if i > 0 && !k.entries[i-1].del {
			d.Add([]byte(k.name), k.entries[i-1].value)
		}
	}
	return wl.StoreState{Keys: d.Keys, Bytes: d.Bytes, SHA256: d.Hex()}
}

func sorted[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func blob(in io.Reader) ([]byte, error) {
	var n [4]byte
	if _, err := io.ReadFull(in, n[:]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, binary.LittleEndian.Uint32(n[:]))
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return b, nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
