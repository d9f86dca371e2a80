// livev1 is a node as seen from its database: it commits version after version through rootmulti and prints each one with
// its app hash and the microseconds it took, until its standard input is closed or it gets SIGTERM. With small buffers it
// compacts all the time. It owns the pace and how the engines are opened; the changes are wl's.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	pt "cosmossdk.io/store/pruning/types"
	"cosmossdk.io/store/types"
	"github.com/cockroachdb/pebble"
	dbm "github.com/cosmos/cosmos-db"

	"oracle/v1/internal/v1"
	"oracle/wl"
)

func main() {
	log.SetFlags(0)
	var c wl.Config
	backend := flag.String("backend", "goleveldb", "goleveldb or pebbledb")
	out := flag.String("out", "", "directory with application.db")
	flag.IntVar(&c.Stores, "stores", 3, "stores with keys")
	flag.IntVar(&c.Keys, "keys", 300, "initial keys per store")
	flag.IntVar(&c.Updates, "updates", 60, "changes per version over all stores")
	flag.IntVar(&c.ValMin, "val-min", 50, "least value size")
	flag.IntVar(&c.ValMax, "val-max", 400, "greatest value size")
	flag.Int64Var(&c.Seed, "seed", 1, "seed")
	versions := flag.Int("versions", 0, "stop after so many versions (0: when told to)")
	halt := flag.Int("halt", 0, "stop at this version, as a node with halt-height does (0: never)")
	flag.Int64Var(&c.Upgrade, "upgrade-at", 0, "make a store upgrade (add, delete, rename) before this version")
	pace := flag.Duration("pace", 0, "time from one commit to the next, at least")
	buffer := flag.Int("write-buffer", 64, "write buffer and table size in KiB (0: as cosmos-db has it)")
	keep := flag.Uint64("keep", 5, "versions kept; pruned every 10 versions")
	format := flag.Uint64("format", 1, "PebbleDB: format major version")
	reopen := flag.Bool("reopen", false, "open what is there, read all of its latest version, print version and app hash")
	flag.Parse()
	if *out == "" {
		log.Fatal("-out is needed")
	}
	c.Genesis = 1
	check(os.MkdirAll(*out, 0o755))
	db, err := open(*backend, *out, *buffer, *format)
	check(err)
	opt := v1.Options{Pruning: pt.NewCustomPruningOptions(*keep, 10), Cache: 10000}
	base := append(c.StoreNames(), wl.EmptyStore)
	names := base
	if c.Upgrade > 0 {
		names = append(append([]string{}, base...), wl.UpgradeDeleted, wl.UpgradeRenamed)
	}
	if last, latest, err := v1.LastStores(db); err == nil && latest > 0 {
		names = last // those there are by now
	}
	d, err := v1.Open(db, names, opt)
	check(err)
	if *reopen {
		s, err := d.State(d.RS.LastCommitID().Version, true)
		check(err)
		fmt.Println(s.Version, s.AppHash)
		check(db.Close())
		return
	}
	stop := make(chan struct{})
	go func() { // whoever started this is gone, or wants an end
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM, os.Interrupt)

	gen := wl.New(c)
	if c.Upgrade > 0 {
		gen.AddStore(wl.UpgradeDeleted)
		gen.AddStore(wl.UpgradeRenamed)
	}
	upgraded := func(n int) bool { // tells the generator
		if c.Upgrade == 0 || int64(n) != c.Upgrade {
			return false
		}
		gen.RemoveStore(wl.UpgradeDeleted)
		gen.RenameStore(wl.UpgradeRenamed, wl.UpgradeRenamedTo)
		gen.AddStore(wl.UpgradeAdded)
		return true
	}
	start := int(d.RS.LastCommitID().Version)
	for n := 1; n <= start; n++ { // go on where an earlier run ended
		upgraded(n)
		gen.Version(n)
	}
	said := bufio.NewWriter(os.Stdout)
	for n := start + 1; (*versions == 0 || n <= start+*versions) && (*halt == 0 || n <= *halt); n++ {
		began := time.Now()
		if upgraded(n) {
			uo := opt
			uo.Upgrades = &types.StoreUpgrades{Added: []string{wl.UpgradeAdded}, Deleted: []string{wl.UpgradeDeleted},
				Renamed: []types.StoreRename{{OldKey: wl.UpgradeRenamed, NewKey: wl.UpgradeRenamedTo}}}
			names = append(append([]string{}, base...), wl.UpgradeDeleted, wl.UpgradeAdded, wl.UpgradeRenamedTo)
			d, err = v1.Open(db, names, uo)
			check(err)
		}
		id, err := d.Apply(gen.Version(n))
		check(err)
		fmt.Fprintf(said, "%d %x %d\n", id.Version, id.Hash, time.Since(began).Microseconds())
		check(said.Flush())
		select {
		case <-stop:
			*versions = n - start
		case <-term:
			*versions = n - start
		case <-time.After(*pace - time.Since(began)):
		}
	}
	check(db.Close())
}

// open opens the engine with small buffers, which cosmos-db offers for goleveldb only.
func open(backend, dir string, kib int, format uint64) (dbm.DB, error) {
	if backend != "pebbledb" {
		return v1.OpenBuffered(backend, dir, kib)
	}
	o := &pebble.Options{FormatMajorVersion: pebble.FormatMajorVersion(format), MaxConcurrentCompactions: func() int { return 3 }}
	if kib > 0 {
		o.MemTableSize = uint64(kib) << 10
		o.LBaseMaxBytes = int64(kib) << 12
		o.Levels = []pebble.LevelOptions{{TargetFileSize: int64(kib) << 10}}
		o.L0CompactionThreshold = 2
	}
	o.EnsureDefaults()
	db, err := pebble.Open(filepath.Join(dir, "application"+dbm.DBFileSuffix), o)
	if err != nil {
		return nil, err
	}
	// PebbleDB of cosmos-db is a struct of this one pointer and takes no options: its code is what the SDK runs.
	return (*dbm.PebbleDB)(unsafe.Pointer(&struct{ db *pebble.DB }{db})), nil
}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		panic(err)
	}
}
