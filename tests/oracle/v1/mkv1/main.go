// mkv1 writes a store/v1 database (rootmulti on IAVL v1) with its expected.json and changesets.bin.
// It owns how a workload of wl becomes commits: upgrades, pruning, live versions on a copy, and the
// state in which the database directory is left.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	pt "cosmossdk.io/store/pruning/types"
	"cosmossdk.io/store/types"

	"oracle/v1/internal/v1"
	"oracle/wl"
)

func main() {
	log.SetFlags(0)
	var c wl.Config
	backend := flag.String("backend", "goleveldb", "goleveldb, pebbledb, or (built with -tags rocksdb) rocksdb")
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
	cont := flag.Bool("continue", false, "go on with the database in -out, as its expected.json says, for -versions more versions")
	idle := flag.Bool("idle", false, "also stores that are idle, of one leaf, emptied or collapsed at the latest version, see wl/idle.go")
	buffer := flag.Int("write-buffer", 0, "write buffer of goleveldb or RocksDB in KiB; a small one spreads a small set over several tables and levels (0: as cosmos-db has it)")
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
			gen.Version(n)
		}
		up = nil
	}
	opt := v1.Options{Pruning: po, NoFast: *noFast, Cache: *cache, Initial: exp.FirstVer}
	d, err := v1.Open(db, names, opt)
	check(err)

	cf, err := os.Create(filepath.Join(*out, "changesets.bin"))
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
			gen.RemoveStore(wl.UpgradeDeleted)
			gen.RenameStore(wl.UpgradeRenamed, wl.UpgradeRenamedTo)
			gen.AddStore(wl.UpgradeAdded)
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
	check(exp.Save(filepath.Join(*out, "expected.json")))
	for _, n := range []string{"LOG", "LOG.old*", "LOCK", "CURRENT.bak"} { // the engines make them anew
		found, err := filepath.Glob(filepath.Join(*out, "application.db", n))
		check(err)
		for _, path := range found {
			check(os.Remove(path))
		}
	}
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
