// mkbig writes a large store/v1 database fast and in little memory: the first version as records, straight from sorted pairs,
// and later versions through the real rootmulti store, which also judges the result. It owns the shape of the first version:
// balanced IAVL trees in the numbering of a commit, with fast index, commit info and s/latest.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sort"
	"time"

	pt "cosmossdk.io/store/pruning/types"
	"cosmossdk.io/store/types"

	"oracle/v1/internal/v1"
	"oracle/wl"
)

func main() {
	log.SetFlags(0)
	var c wl.Config
	out := flag.String("out", "", "directory to write")
	keys := flag.Int("keys", 1_000_000, "keys of all stores at version 1")
	flag.IntVar(&c.Stores, "stores", 10, "stores with keys")
	skew := flag.Float64("skew", 0, "fraction of all keys that the first store gets; 0: as much as each other")
	flag.IntVar(&c.ValMin, "val-min", 8, "least value size")
	flag.IntVar(&c.ValMax, "val-max", 300, "greatest value size")
	byScale := flag.Bool("val-log", false, "as many values of each order of magnitude, instead of each size")
	flag.IntVar(&c.Large, "large", 0, "values of 4 MiB in the first store, besides -keys")
	versions := flag.Int("versions", 3, "versions in all; the first is written as records")
	flag.IntVar(&c.Updates, "updates", 20_000, "changes per later version over all stores (60% updates, 25% inserts, 15% deletes)")
	flag.Int64Var(&c.Seed, "seed", 1, "seed")
	scatter := flag.Int64("scatter", 1, "pairs last written in any of so many versions, the earlier ones pruned; the first version is then that number")
	noFast := flag.Bool("no-fast", false, "without the IAVL fast index")
	digest := flag.Bool("digest", true, "read the last version whole and write its digests; version 1 always has them")
	flag.Parse()
	switch {
	case *out == "":
		log.Fatal("-out is needed")
	case c.Stores < 1 || *keys < 0 || c.Large < 0 || c.Large > 1<<16 || *versions < 1 || *scatter < 1 || c.ValMin < 0 || c.ValMax < c.ValMin:
		log.Fatal("a number is out of range")
	case *skew < 0 || *skew > 1:
		log.Fatal("-skew is from 0 to 1")
	}
	c.Keys, c.Genesis = *keys/c.Stores, 1
	if _, err := os.Stat(filepath.Join(*out, "application.db")); err == nil {
		log.Fatalf("%s has a database", *out)
	}
	check(os.MkdirAll(*out, 0o755))
	began := time.Now()
	since := func() float64 { return time.Since(began).Seconds() }

	stores := makeStores(c, *keys, *skew, *byScale)
	db, err := v1.OpenDB("goleveldb", *out)
	check(err)
	initial := *scatter
	first := wl.VersionState{Version: initial, Stores: map[string]wl.StoreState{}}
	info := &types.CommitInfo{Version: initial, Timestamp: time.Unix(1_700_000_000, 0).UTC()}
	names := []string{}
	for _, s := range stores {
		st := wl.StoreState{}
		if initial == 1 {
			st = writeStore(db, s, !*noFast)
		} else {
			st = writeScattered(db, s, !*noFast, initial)
		}
		root, err := hex.DecodeString(st.Root)
		check(err)
		first.Stores[s.name] = st
		names = append(names, s.name)
		info.StoreInfos = append(info.StoreInfos, types.StoreInfo{Name: s.name, CommitId: types.CommitID{Version: initial, Hash: root}})
		log.Printf("store %s: %d keys, %.1f s", s.name, s.size(), since())
	}
	first.AppHash = hex.EncodeToString(info.Hash())
	encoded, err := info.Marshal()
	check(err)
	check(db.Set(fmt.Appendf(nil, "s/%d", initial), encoded))
	check(db.SetSync([]byte("s/latest"), binary.AppendUvarint([]byte{0x08}, uint64(initial)))) // a protobuf Int64Value
	log.Printf("version %d %s as records, %.1f s", initial, first.AppHash, since())

	latest := initial + int64(*versions) - 1
	exp := &wl.Expected{Tool: fmt.Sprintf("cosmossdk.io/store v1.1.1; version %d by mkbig", initial), Backend: "goleveldb", Pruning: "nothing",
		FirstVer: initial, LatestVer: latest, Config: c, Versions: []wl.VersionState{first}}
	o := v1.Options{Pruning: pt.NewPruningOptions(pt.PruningNothing), NoFast: *noFast, Cache: 100_000}
	d, err := v1.Open(db, names, o)
	check(err)
	if got := fmt.Sprintf("%x", d.RS.LastCommitID().Hash); got != first.AppHash {
		log.Fatalf("version %d: rootmulti says %s, not %s", initial, got, first.AppHash)
	}
	file, err := os.Create(filepath.Join(*out, "changesets.bin"))
	check(err)
	ch := newChanges(stores, c.Seed)
	for v := initial + 1; v <= latest; v++ {
		cs := ch.version(c.Updates)
		id, err := d.Apply(cs)
		check(err)
		check(wl.WriteChangeset(file, v, cs))
		st, err := d.State(v, false)
		check(err)
		if st.AppHash != fmt.Sprintf("%x", id.Hash) || id.Version != v {
			log.Fatalf("version %d: %s is not %x", v, st.AppHash, id.Hash)
		}
		exp.Versions = append(exp.Versions, st)
		log.Printf("version %d %X, %.1f s", v, id.Hash, since())
	}
	check(file.Close())
	check(db.Close())

	// The judge: the real store on what lies on disk.
	db, err = v1.OpenDB("goleveldb", *out)
	check(err)
	d, err = v1.Open(db, names, o)
	check(err)
	last := &exp.Versions[len(exp.Versions)-1]
	id := d.RS.LastCommitID()
	if id.Version != latest || fmt.Sprintf("%x", id.Hash) != last.AppHash {
		log.Fatalf("rootmulti loads version %d %x, not %d %s", id.Version, id.Hash, latest, last.AppHash)
	}
	read := spotCheck(d, ch)
	if *digest && *versions > 1 {
		st, err := d.State(id.Version, true)
		check(err)
		*last = st
	}
	check(db.Close())
	check(exp.Save(filepath.Join(*out, "expected.json")))
	for _, n := range []string{"LOG", "LOG.old", "LOCK", "CURRENT.bak"} { // goleveldb makes them anew
		if err := os.Remove(filepath.Join(*out, "application.db", n)); err != nil && !os.IsNotExist(err) {
			check(err)
		}
	}
	log.Printf("version %d %s: %d reads as expected, %.1f s", id.Version, last.AppHash, read, since())
}

// makeStores shares the keys out and adds the empty store; in the order of their names, in which they are written.
func makeStores(c wl.Config, keys int, skew float64, byScale bool) []*store {
	names, shares := c.StoreNames(), make([]int, c.Stores)
	shares[0] = keys / c.Stores
	if skew > 0 {
		shares[0] = int(float64(keys) * skew)
	}
	if c.Stores == 1 {
		shares[0] = keys
	}
	for i := 1; i < c.Stores; i++ {
		shares[i] = (keys - shares[0]) / (c.Stores - 1)
		if i <= (keys-shares[0])%(c.Stores-1) {
			shares[i]++
		}
	}
	var out []*store
	for i, n := range names {
		large := 0
		if i == 0 {
			large = c.Large
		}
		out = append(out, newStore(n, i, shares[i], large, c, byScale))
	}
	out = append(out, newStore(wl.EmptyStore, len(names), 0, 0, c, byScale))
	sort.Slice(out, func(i, j int) bool { return out[i].name < out[j].name })
	return out
}

// spotCheck reads pairs of every store through rootmulti: those that were changed (the first thousand), those never
// changed (a thousand, evenly spread). It gives how many.
func spotCheck(d *v1.DB, ch *changes) (n int) {
	for _, s := range ch.stores {
		kv := d.RS.GetCommitKVStore(d.Keys[s.name])
		expect := func(key, want []byte) {
			if got := kv.Get(key); !bytes.Equal(got, want) {
				log.Fatalf("store %s key %x: %d bytes, expected %d", s.name, key, len(got), len(want))
			}
			n++
		}
		changed := 0
		for key, want := range ch.last[s.name] {
			if changed++; changed > 1000 {
				break
			}
			expect([]byte(key), want)
		}
		for i := 0; i < s.size(); i += 1 + s.size()/1000 {
			key := s.key(i)
			if _, ok := ch.last[s.name][string(key)]; !ok {
				expect(key, s.value(i))
			}
		}
	}
	return n
}

func state(root []byte, d *wl.Digest) wl.StoreState {
	return wl.StoreState{Root: hex.EncodeToString(root), Keys: d.Keys, Bytes: d.Bytes, SHA256: d.Hex()}
}

// sorted gives a store's changes in key order.
func sorted(name string, ops map[string]wl.Op) wl.StoreOps {
	so := wl.StoreOps{Store: name}
	for _, o := range ops {
		so.Ops = append(so.Ops, o)
	}
	sort.Slice(so.Ops, func(i, j int) bool { return bytes.Compare(so.Ops[i].Key, so.Ops[j].Key) < 0 })
	return so
}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		panic(err)
	}
}
