// snapv1 does what an operator does without a migration tool: a state sync
// snapshot of a store/v1 database and its restoration into a fresh store/v1
// database. It can also describe a store/v1 database.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"syscall"
	"time"

	sdklog "cosmossdk.io/log"
	"cosmossdk.io/store/snapshots"
	snaptypes "cosmossdk.io/store/snapshots/types"
	dbm "github.com/cosmos/cosmos-db"

	"oracle/v1/internal/v1"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "", "directory that has application.db")
	backend := flag.String("backend", "goleveldb", "goleveldb or pebbledb")
	version := flag.Int64("version", 0, "version to describe; 0 is the latest")
	out := flag.String("out", "", "take a snapshot and restore it into this new directory")
	outBackend := flag.String("out-backend", "goleveldb", "backend of the restored database")
	flag.Parse()

	var db dbm.DB
	var err error
	if *out != "" { // a snapshot notes its height in the database
		source := filepath.Join(*out, "source")
		check(os.CopyFS(filepath.Join(source, "application.db"), os.DirFS(filepath.Join(*dir, "application.db"))))
		defer os.RemoveAll(source)
		*dir = source
	}
	if *backend == "goleveldb" && *out == "" {
		db, err = v1.OpenReadOnly(filepath.Join(*dir, "application.db"))
	} else {
		db, err = v1.OpenDB(*backend, *dir)
	}
	check(err)
	names, latest, err := v1.LastStores(db)
	check(err)
	d, err := v1.Open(db, names, v1.Options{NoFast: true})
	check(err)
	if *out == "" {
		if *version == 0 {
			*version = latest
		}
		st, err := d.State(*version, true)
		check(err)
		b, err := json.MarshalIndent(st, "", " ")
		check(err)
		fmt.Println(string(b))
		return
	}

	sm := func(rs snaptypes.Snapshotter) *snapshots.Manager {
		st, err := snapshots.NewStore(dbm.NewMemDB(), filepath.Join(*out, "snapshots"))
		check(err)
		return snapshots.NewManager(st, snaptypes.NewSnapshotOptions(1, 1), rs, nil, sdklog.NewNopLogger())
	}
	t0 := time.Now()
	m := sm(d.RS)
	snap, err := m.Create(uint64(latest))
	check(err)
	t1 := time.Now()
	var zip int64
	for i := uint32(0); i < snap.Chunks; i++ {
		fi, err := os.Stat(filepath.Join(*out, "snapshots", fmt.Sprint(snap.Height), fmt.Sprint(snap.Format), fmt.Sprint(i)))
		check(err)
		zip += fi.Size()
	}

	db2, err := v1.OpenDB(*outBackend, *out)
	check(err)
	d2, err := v1.Open(db2, names, v1.Options{NoFast: true})
	check(err)
	check(sm2(d2, *out, m, snap))
	t2 := time.Now()
	fmt.Printf("snapshot at %d: %d chunks %.1f MB in %.1f s; restore %.1f s\n", latest, snap.Chunks, float64(zip)/1e6, t1.Sub(t0).Seconds(), t2.Sub(t1).Seconds())
	a, err := d.State(latest, false)
	check(err)
	b, err := d2.State(latest, false)
	check(err)
	var ru syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &ru))
	fmt.Printf("commit hash %s, same %v, peak RSS %d MiB\n", b.AppHash, a.AppHash == b.AppHash, ru.Maxrss/1024)
	check(db2.Close())
	check(db.Close())
}

// sm2 restores as a state sync does: chunk by chunk, with the chunks of m.
func sm2(d *v1.DB, out string, m *snapshots.Manager, snap *snaptypes.Snapshot) error {
	st, err := snapshots.NewStore(dbm.NewMemDB(), filepath.Join(out, "restored"))
	if err != nil {
		return err
	}
	r := snapshots.NewManager(st, snaptypes.NewSnapshotOptions(1, 1), d.RS, nil, sdklog.NewNopLogger())
	if err := r.Restore(*snap); err != nil {
		return err
	}
	for i := uint32(0); i < snap.Chunks; i++ {
		c, err := m.LoadChunk(snap.Height, snap.Format, i)
		if err != nil {
			return err
		}
		done, err := r.RestoreChunk(c)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("the snapshot did not end")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
