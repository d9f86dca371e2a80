// goverify reads a state commitment (and a state storage) with the Go code of
// cosmossdk.io/store/v2, compares it with expected.json and goes on committing.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"

	corestore "cosmossdk.io/core/store"

	"oracle/v2/internal/v2"
	"oracle/wl"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("sc", "", "state commitment, a directory NAME.db")
	backend := flag.String("backend", "goleveldb", "goleveldb or pebbledb")
	version := flag.Uint64("version", 0, "version to read; 0 is the latest")
	ssDir := flag.String("ss", "", "pebbledb state storage to read too")
	exp := flag.String("expected", "", "expected.json to compare with")
	replay := flag.String("replay", "", "changesets.bin to commit on a copy of the state commitment")
	fix := flag.Bool("fix-pebble", false, "mend the PebbleDB of store/v2 (empty values, use after close)")
	raw := flag.Bool("raw", false, "print counts and digests of the raw pairs per store prefix")
	layout := flag.Bool("layout", false, "only print how many pairs each key prefix of the database has (v1 or v2)")
	jsonOut := flag.Bool("json", false, "print the state as JSON")
	flag.Parse()

	var e *wl.Expected
	if *exp != "" {
		var err error
		e, err = wl.LoadExpected(*exp)
		check(err)
	}
	path := *dir
	if *replay != "" {
		tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(*dir)), "verify")
		check(err)
		defer os.RemoveAll(tmp)
		path = filepath.Join(tmp, filepath.Base(filepath.Clean(*dir)))
		check(os.CopyFS(path, os.DirFS(*dir)))
	}
	if *layout {
		kv, err := v2.OpenSource(*backend, path)
		check(err)
		printLayout(kv)
		check(kv.Close())
		return
	}
	kv, err := v2.OpenKV(*backend, path, *fix)
	check(err)
	ci, names, err := v2.Stores(kv, *version)
	check(err)
	if *raw {
		rawDigests(kv, names)
	}
	sc, _, err := v2.OpenSC(kv, names)
	check(err)
	check(sc.LoadVersion(ci.Version))
	st, err := v2.State(sc, ci)
	check(err)
	bad := 0
	if *jsonOut {
		b, err := json.MarshalIndent(st, "", " ")
		check(err)
		fmt.Println(string(b))
	} else {
		fmt.Printf("version %d commit hash %s\n", st.Version, st.AppHash)
		for _, n := range names {
			s := st.Stores[n]
			fmt.Printf("  %-18s root %s keys %d sha256 %s\n", n, s.Root, s.Keys, s.SHA256)
		}
	}
	if e != nil {
		bad += compare(e, st, true)
	}
	if *ssDir != "" {
		ss, err := v2.OpenSS(*ssDir, true)
		check(err)
		lv, err := ss.Latest()
		check(err)
		got, err := ss.State(ci.Version)
		check(err)
		n := 0
		for name, want := range st.Stores {
			g := got[name]
			if g.Keys != want.Keys || (want.Keys > 0 && g.SHA256 != want.SHA256) {
				fmt.Printf("SS DIFFERS in %s: %d keys %s, SC has %d keys %s\n", name, g.Keys, g.SHA256, want.Keys, want.SHA256)
				n++
			}
		}
		fmt.Printf("SS latest version %d, %d stores with keys, %d differ from SC at version %d\n", lv, len(got), n, ci.Version)
		bad += n
		check(ss.Close())
	}
	if *replay != "" {
		f, err := os.Open(*replay)
		check(err)
		r := bufio.NewReader(f)
		for {
			v, cs, err := wl.ReadChangeset(r)
			if err == io.EOF {
				break
			}
			check(err)
			if uint64(v) <= ci.Version {
				continue
			}
			c := corestore.NewChangeset(uint64(v))
			for _, s := range cs {
				x := corestore.StateChanges{Actor: []byte(s.Store)}
				for _, o := range s.Ops {
					x.StateChanges = append(x.StateChanges, corestore.KVPair{Key: o.Key, Value: o.Value, Remove: o.Del})
				}
				c.Changes = append(c.Changes, x)
			}
			check(sc.WriteChangeset(c))
			nci, err := sc.Commit(uint64(v))
			check(err)
			fmt.Printf("replayed version %d commit hash %s\n", v, hex.EncodeToString(nci.Hash()))
			if e != nil {
				st, err := v2.State(sc, nci)
				check(err)
				bad += compare(e, st, true)
			}
		}
	}
	check(sc.Close())
	check(kv.Close())
	if bad > 0 {
		fmt.Printf("FAIL: %d differences\n", bad)
		os.Exit(1)
	}
}

func compare(e *wl.Expected, st wl.VersionState, verbose bool) (bad int) {
	for _, x := range e.Versions {
		if x.Version != st.Version {
			continue
		}
		want := x.AppHash
		if x.IAVLHash != "" {
			want = x.IAVLHash
		}
		if want != st.AppHash {
			bad++
			fmt.Printf("DIFFERENT commit hash: expected %s\n", want)
		}
		digests := 0
		for n, w := range x.Stores {
			g, ok := st.Stores[n]
			if !ok {
				bad++
				fmt.Printf("store %s is missing\n", n)
				continue
			}
			if g.Root != w.Root || (w.SHA256 != "" && (g.SHA256 != w.SHA256 || g.Keys != w.Keys)) {
				bad++
				fmt.Printf("store %s differs: expected root %s keys %d sha256 %s\n", n, w.Root, w.Keys, w.SHA256)
			}
			if w.SHA256 != "" {
				digests++
			}
		}
		for n := range st.Stores {
			if _, ok := x.Stores[n]; !ok {
				bad++
				fmt.Printf("store %s is not expected\n", n)
			}
		}
		if bad == 0 && verbose {
			fmt.Printf("version %d is as expected (%d stores, %d with digests)\n", st.Version, len(x.Stores), digests)
		}
		return bad
	}
	fmt.Printf("version %d is not in expected.json\n", st.Version)
	return 1
}

// rawDigests describes the raw pairs, to compare two writers byte by byte. "c/<version>"
// is left out, for Go writes its stores in random order.
func rawDigests(kv corestore.KVStoreWithBatch, names []string) {
	type part struct{ name, prefix string }
	var ps []part
	for _, n := range names {
		ps = append(ps, part{n, n})
	}
	sort.Slice(ps, func(i, j int) bool { return len(ps[i].prefix) > len(ps[j].prefix) })
	d := map[string]*wl.Digest{}
	it, err := kv.Iterator(nil, nil)
	check(err)
	all := sha256.New()
	for ; it.Valid(); it.Next() {
		k := string(it.Key())
		name := "(other)"
		if strings.HasPrefix(k, "c/") {
			name = "c/"
		} else {
			for _, p := range ps {
				if strings.HasPrefix(k, p.prefix) && len(k) > len(p.prefix) {
					name = p.name + " " + k[len(p.prefix):len(p.prefix)+1]
					break
				}
			}
		}
		if d[name] == nil {
			d[name] = wl.NewDigest()
		}
		d[name].Add(it.Key(), it.Value())
		if name != "c/" {
			all.Write(it.Key())
			all.Write(it.Value())
		}
	}
	check(it.Close())
	var ns []string
	for n := range d {
		ns = append(ns, n)
	}
	sort.Strings(ns)
	for _, n := range ns {
		fmt.Printf("raw %-20q pairs %d bytes %d sha256 %s\n", n, d[n].Keys, d[n].Bytes, d[n].Hex())
	}
	fmt.Printf("raw all but c/ sha256 %s\n", hex.EncodeToString(all.Sum(nil)))
}

// printLayout counts pairs by "s/k:<store>/<letter>", by the metadata prefix, or by the letter of an SC key.
func printLayout(kv corestore.KVStoreWithBatch) {
	it, err := kv.Iterator(nil, nil)
	check(err)
	type c struct{ n, kb, vb, empty int }
	m := map[string]*c{}
	for ; it.Valid(); it.Next() {
		k := string(it.Key())
		name := k[:2]
		if strings.HasPrefix(k, "s/k:") {
			i := 4 + strings.IndexByte(k[4:], '/') + 2
			name = k[:i]
			if k[i-1] == 'm' {
				name = k
			} else {
				name += fmt.Sprintf(" (key %d bytes)", len(k)-i+1)
				if k[i-1] == 'f' {
					name = k[:i]
				}
			}
		} else if len(k) > 13 && k[len(k)-13] == 's' {
			name = k[:len(k)-12]
		}
		x := m[name]
		if x == nil {
			x = &c{}
			m[name] = x
		}
		x.n++
		x.kb += len(k)
		x.vb += len(it.Value())
		if len(it.Value()) == 0 {
			x.empty++
		}
	}
	check(it.Close())
	var ns []string
	for n := range m {
		ns = append(ns, n)
	}
	sort.Strings(ns)
	for _, n := range ns {
		fmt.Printf("%-44q pairs %8d key bytes %10d value bytes %10d empty values %d\n", n, m[n].n, m[n].kb, m[n].vb, m[n].empty)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
