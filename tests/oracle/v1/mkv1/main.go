// mkv1 writes a store/v1 database (rootmulti on IAVL v1) with its expected.json and changesets.bin.
// It owns how a workload of wl becomes commits: upgrades, pruning, live versions on a copy, and the
// state in which the database directory is left.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"

	sdklog "cosmossdk.io/log"
	pt "cosmossdk.io/store/pruning/types"
	"cosmossdk.io/store/types"
	"cosmossdk.io/store/wrapper"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/iavl"

	"oracle/v1/internal/records"
	"oracle/v1/internal/v1"
	"oracle/wl"
)

func main() {
	log.SetFlags(0)
	var c wl.Config
	backend := flag.String("backend", "goleveldb", "goleveldb or pebbledb")
	flag.IntVar(&c.Stores, "stores", 10, "stores with keys")
	versions := flag.Int("versions", 20, "versions to commit")
	flag.IntVar(&c.Keys, "keys", 1000, "initial keys per store")
	flag.IntVar(&c.Updates, "updates", 1000, "changes per version over all stores (60% updates, 25% inserts, 15% deletes)")
	flag.IntVar(&c.ValMin, "val-min", 50, "least value size")
	flag.IntVar(&c.ValMax, "val-max", 500, "greatest value size")
	flag.IntVar(&c.Large, "large", 4, "large values (100 to 800 kB) in the first store")
	flag.IntVar(&c.Genesis, "genesis", 1, "versions over which the initial keys are spread")
	flag.Int64Var(&c.Seed, "seed", 1, "seed")
	flag.Int64Var(&c.Upgrade, "upgrade-at", 0, "make a store upgrade (add, delete, rename) before this n-th version")
	pruning := flag.String("pruning", "nothing", "nothing, everything, or a number of recent versions to keep")
	out := flag.String("out", "", "directory to write")
	lastM := flag.Int("changesets", 10, "write the changesets of the last M versions of the database")
	extra := flag.Int("extra", 5, "also make M live versions after the database, in changesets.bin and expected.json only")
	every := flag.Int("every", 10, "digests of every n-th version")
	noFast := flag.Bool("no-fast", false, "without the IAVL fast index")
	noEmpty := flag.Bool("no-empty", false, "without the empty store")
	cache := flag.Int("cache", 781250, "IAVL node cache size")
	initial := flag.Int64("initial-version", 1, "first version")
	cont := flag.Bool("continue", false, "go on with the database in -out, as its expected.json says, for -versions more versions; mkv0 may have made it")
	idle := flag.Bool("idle", false, "also stores that are idle, of one leaf, emptied or collapsed at the latest version, see wl/idle.go")
	buffer := flag.Int("write-buffer", 0, "goleveldb write buffer in KiB; a small one spreads a small set over several tables and levels (0: as cosmos-db has it)")
	unclosed := flag.Bool("unclosed", false, "leave the database as a kill would: nothing is closed, the last versions are in the write-ahead log only")
	flag.Parse()
	if *out == "" {
		log.Fatal("-out is needed")
	}
	if *idle {
		if c.Idle = *versions; c.Idle < wl.MinIdle {
			log.Fatalf("-idle needs at least %d versions", wl.MinIdle)
		}
	}

	po := pt.NewPruningOptions(pt.PruningNothing)
	if *pruning == "everything" {
		po = pt.NewPruningOptions(pt.PruningEverything)
	} else if n, err := strconv.ParseUint(*pruning, 10, 64); err == nil {
		po = pt.NewCustomPruningOptions(n, 10)
	}

	exp := &wl.Expected{Tool: "cosmossdk.io/store v1.1.1", Backend: *backend, Pruning: *pruning, FirstVer: *initial, Config: c}
	if *cont {
		e, err := wl.LoadExpected(filepath.Join(*out, "expected.json"))
		check(err)
		exp, c = e, e.Config
		exp.Tool += " + " + "cosmossdk.io/store v1.1.1"
		*backend = e.Backend
		var keep []wl.VersionState
		for _, v := range e.Versions {
			if !v.Live {
				keep = append(keep, v)
			}
		}
		exp.Versions = keep
	}
	check(os.MkdirAll(*out, 0o755))
	gen := wl.New(c)
	base := append(c.StoreNames(), wl.EmptyStore)
	if *noEmpty {
		base = c.StoreNames()
	}
	base = append(base, c.IdleNames()...)
	names := append([]string{}, base...)
	var up *types.StoreUpgrades
	upgraded := func() { // tells the generator
		gen.RemoveStore(wl.UpgradeDeleted)
		gen.RenameStore(wl.UpgradeRenamed, wl.UpgradeRenamedTo)
		gen.AddStore(wl.UpgradeAdded)
	}
	if c.Upgrade > 0 {
		names = append(names, wl.UpgradeDeleted, wl.UpgradeRenamed)
		gen.AddStore(wl.UpgradeDeleted)
		gen.AddStore(wl.UpgradeRenamed)
		up = &types.StoreUpgrades{Added: []string{wl.UpgradeAdded}, Deleted: []string{wl.UpgradeDeleted},
			Renamed: []types.StoreRename{{OldKey: wl.UpgradeRenamed, NewKey: wl.UpgradeRenamedTo}}}
	}

	db, err := v1.OpenBuffered(*backend, *out, *buffer)
	check(err)
	start := 0
	if *cont {
		names, _, err = v1.LastStores(db)
		check(err)
		start = int(exp.LatestVer - exp.FirstVer + 1)
		for n := 1; n <= start; n++ {
			if up != nil && int64(n) == c.Upgrade {
				upgraded()
				up = nil
			}
			gen.Version(n)
		}
	}
	opt := v1.Options{Pruning: po, NoFast: *noFast, Cache: *cache, Initial: exp.FirstVer}
	d, err := v1.Open(db, names, opt)
	check(err)

	cf, err := changesets(filepath.Join(*out, "changesets.bin"), *cont, exp.LatestVer)
	check(err)
	t0 := time.Now()
	last := start + *versions
	step := func(n int, live bool) {
		if up != nil && int64(n) == c.Upgrade {
			uo := opt
			uo.Upgrades = up
			names = append(append([]string{}, base...), wl.UpgradeDeleted, wl.UpgradeAdded, wl.UpgradeRenamedTo)
			d, err = v1.Open(db, names, uo)
			check(err)
			upgraded()
			cid := exp.FirstVer + int64(n) - 1
			log.Printf("upgrade before version %d", cid)
			names = append(append([]string{}, base...), wl.UpgradeAdded, wl.UpgradeRenamedTo)
		}
		cs := gen.Version(n)
		id, err := d.Apply(cs)
		check(err)
		if live || n > last-*lastM {
			check(wl.WriteChangeset(cf, id.Version, cs))
		}
		dig := live || n > last-3 || n%*every == 0
		vs, err := d.State(id.Version, dig)
		check(err)
		if vs.AppHash != fmt.Sprintf("%x", id.Hash) {
			log.Fatalf("version %d: %s is not %x", id.Version, vs.AppHash, id.Hash)
		}
		vs.Live = live
		exp.Versions = append(exp.Versions, vs)
		if !live {
			exp.LatestVer = id.Version
		}
		log.Printf("version %d %X live=%v %.1fs", id.Version, id.Hash, live, time.Since(t0).Seconds())
	}
	for n := start + 1; n <= last; n++ {
		step(n, false)
	}
	if !*unclosed {
		check(db.Close())
	}
	if *extra > 0 { // on a copy, so that the database stays at its version
		live := filepath.Join(*out, "live.tmp")
		check(copyDir(filepath.Join(*out, "application.db"), filepath.Join(live, "application.db")))
		db, err = v1.OpenDB(*backend, live)
		check(err)
		d, err = v1.Open(db, names, opt)
		check(err)
		for n := last + 1; n <= last+*extra; n++ {
			step(n, true)
		}
		check(db.Close())
		check(os.RemoveAll(live))
	}
	check(cf.Close())
	if *cont {
		check(mark(*backend, *out, exp))
	}
	check(exp.Save(filepath.Join(*out, "expected.json")))
	for _, n := range []string{"LOG", "LOG.old", "LOCK", "CURRENT.bak"} { // goleveldb makes them anew
		if err := os.Remove(filepath.Join(*out, "application.db", n)); err != nil && !os.IsNotExist(err) {
			check(err)
		}
	}
}

// changesets makes the file, with the records up to the version that it has already if one goes on with a database.
func changesets(path string, cont bool, upTo int64) (*os.File, error) {
	var old []byte
	if cont {
		var err error
		if old, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	cf, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	for r := bufio.NewReader(bytes.NewReader(old)); ; {
		v, cs, err := wl.ReadChangeset(r)
		if errors.Is(err, io.EOF) {
			return cf, nil
		} else if err != nil {
			return nil, err
		}
		if v <= upTo {
			if err := wl.WriteChangeset(cf, v, cs); err != nil {
				return nil, err
			}
		}
	}
}

// mark marks the versions that a store does not have any more, and the trees that are not what was committed.
func mark(backend, out string, exp *wl.Expected) error {
	var db dbm.DB
	var err error
	if backend == "goleveldb" {
		db, err = v1.OpenReadOnly(filepath.Join(out, "application.db"))
	} else {
		db, err = v1.OpenDB(backend, out)
	}
	if err != nil {
		return err
	}
	defer db.Close()
	trees := map[string]*iavl.MutableTree{}
	for i := range exp.Versions {
		v := &exp.Versions[i]
		v.Pruned, v.Wrong = false, nil
		keys := uint64(0)
		for _, st := range v.Stores {
			keys += st.Keys
		}
		for name, st := range v.Stores {
			p := []byte("s/k:" + name + "/")
			if trees[name] == nil {
				trees[name] = iavl.NewMutableTree(wrapper.NewDBWrapper(dbm.NewPrefixDB(db, p)), 100, true, sdklog.NewNopLogger())
			}
			switch {
			case v.Live:
			case !trees[name].VersionExists(v.Version):
				v.Pruned = true
			case st.SHA256 != "" && keys < 100_000: // others take minutes
				all, _, err := records.Walk(func(k []byte) ([]byte, bool) {
					b, err := db.Get(append(bytes.Clone(p), k...))
					return b, err == nil && b != nil
				}, v.Version)
				var h []byte
				if err == nil {
					h, err = records.Verify(all)
				}
				if err != nil || hex.EncodeToString(h) != st.Root {
					log.Printf("store %s at version %d: root %x, committed was %s (%v)", name, v.Version, h, st.Root, err)
					v.Wrong = append(v.Wrong, name)
				}
			}
		}
		if sort.Strings(v.Wrong); v.Pruned {
			v.Wrong = nil
		}
	}
	return nil
}

func copyDir(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	es, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range es {
		if e.IsDir() {
			if err := copyDir(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				return err
			}
			continue
		}
		r, err := os.Open(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		w, err := os.Create(filepath.Join(to, e.Name()))
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		r.Close()
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		panic(err)
	}
}
