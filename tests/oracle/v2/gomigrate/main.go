// gomigrate runs migration.Manager of cosmossdk.io/store/v2 v2.0.0-beta.1 on a store/v1 database.
package main

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"time"

	corestore "cosmossdk.io/core/store"
	"cosmossdk.io/store/v2/migration"
	"cosmossdk.io/store/v2/snapshots"

	"oracle/v2/internal/v2"
	"oracle/wl"
)

func main() {
	log.SetFlags(0)
	from := flag.String("from", "", "store/v1 database, a directory NAME.db")
	fromBackend := flag.String("from-backend", "goleveldb", "goleveldb or pebbledb")
	to := flag.String("to", "", "state commitment to write, a directory NAME.db that is not there yet")
	toBackend := flag.String("to-backend", "goleveldb", "goleveldb or pebbledb")
	height := flag.Uint64("height", 0, "height; 0 is the latest")
	ssDir := flag.String("ss", "", "also write a pebbledb state storage to this directory")
	ssSync := flag.Bool("ss-sync", true, "sync each batch of the state storage, as the Go code did")
	live := flag.String("live", "", "changesets.bin to feed as live commits through Manager.Start")
	fix := flag.Bool("fix-pebble", false, "mend the PebbleDB of store/v2 (empty values, use after close) on the written side too")
	reuse := flag.Bool("reuse", false, "write into a directory that is there, as after a crash")
	cpu := flag.String("cpuprofile", "", "file for a CPU profile")
	flag.Parse()

	src, err := v2.OpenSource(*fromBackend, *from)
	check(err)
	v1, err := v2.OpenV1(src, *height)
	check(err)
	_, err = os.Stat(*to)
	if err == nil && !*reuse {
		log.Fatalf("%s exists", *to)
	}
	check(os.MkdirAll(filepath.Dir(*to), 0o755))
	dst, err := v2.OpenKV(*toBackend, *to, *fix)
	check(err)
	sc, _, err := v2.OpenSC(dst, v1.Names)
	check(err)
	tmp, err := os.MkdirTemp(filepath.Dir(*to), "snap")
	check(err)
	defer os.RemoveAll(tmp)
	sst, err := snapshots.NewStore(tmp)
	check(err)
	sm := snapshots.NewManager(sst, snapshots.NewSnapshotOptions(1500, 2), v1, nil, v2.Nop{})
	mgr := migration.NewManager(dst, sm, sc, v2.Nop{})

	if *cpu != "" {
		f, err := os.Create(*cpu)
		check(err)
		check(pprof.StartCPUProfile(f))
	}
	t0 := time.Now()
	var ss *v2.SS
	if *ssDir != "" {
		ss, err = v2.OpenSS(*ssDir, *ssSync)
		check(err)
		check(ss.Start(v1.Version))
		v1.OnLeaf = ss.Send
	}
	var replayed int
	if *live == "" {
		check(mgr.Migrate(v1.Version))
		if ss != nil {
			check(ss.Wait())
		}
	} else {
		ch, done := make(chan *migration.VersionedChangeset), make(chan struct{})
		res := make(chan error, 1)
		go func() { res <- mgr.Start(v1.Version, ch, done) }()
		last := v1.Version
		f, err := os.Open(*live)
		check(err)
		r := bufio.NewReader(f)
		for {
			v, cs, err := wl.ReadChangeset(r)
			if err == io.EOF {
				break
			}
			check(err)
			if uint64(v) <= v1.Version {
				continue
			}
			ch <- &migration.VersionedChangeset{Version: uint64(v), Changeset: changeset(uint64(v), cs)}
			last = uint64(v)
			replayed++
		}
		for mgr.GetMigratedVersion() < last {
			select {
			case err := <-res:
				log.Fatalf("Start returned at version %d: %v", mgr.GetMigratedVersion(), err)
			case <-time.After(20 * time.Millisecond):
			}
		}
		close(done)
		check(<-res)
		close(ch)
		if ss != nil {
			check(ss.Wait())
		}
	}
	wall := time.Since(t0).Seconds()
	if *cpu != "" {
		pprof.StopCPUProfile()
	}
	ci, err := sc.GetCommitInfo(mgr.GetMigratedVersion())
	check(err)
	if ss != nil {
		check(ss.Close())
	}
	check(mgr.Close())
	check(src.Close())
	var ru syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &ru))
	got, want := hex.EncodeToString(ci.Hash()), hex.EncodeToString(v1.AppHash(true))
	verdict := "same as v1"
	if replayed > 0 {
		verdict = fmt.Sprintf("after %d live versions", replayed)
	} else if len(v1.Skipped) > 0 && got == hex.EncodeToString(v1.AppHash(false)) {
		verdict = fmt.Sprintf("same as the IAVL stores of v1 (its own app hash also counts %v)", v1.Skipped)
	} else if got != want {
		verdict = "DIFFERENT from v1 " + want
	}
	fmt.Printf("height %d stores %d keys %d nodes %d bytes %d\n", v1.Version, len(v1.Names), v1.Leaves, v1.Nodes, v1.Bytes)
	fmt.Printf("wall %.2f s  %.0f keys/s  %.1f MB/s (key+value bytes)  user %.1f s  sys %.1f s  peak RSS %d MiB\n", wall,
		float64(v1.Leaves)/wall, float64(v1.Bytes)/wall/1e6, sec(ru.Utime), sec(ru.Stime), ru.Maxrss/1024)
	fmt.Printf("SC %.1f MB", float64(size(*to))/1e6)
	if ss != nil {
		fmt.Printf("  SS %.1f MB", float64(size(*ssDir))/1e6)
	}
	fmt.Printf("  v1 %.1f MB\ncommit hash %s at version %d, %s\n", float64(size(*from))/1e6, got, ci.Version, verdict)
}

func changeset(v uint64, cs []wl.StoreOps) *corestore.Changeset {
	c := corestore.NewChangeset(v)
	for _, s := range cs {
		sc := corestore.StateChanges{Actor: []byte(s.Store)}
		for _, o := range s.Ops {
			sc.StateChanges = append(sc.StateChanges, corestore.KVPair{Key: o.Key, Value: o.Value, Remove: o.Del})
		}
		c.Changes = append(c.Changes, sc)
	}
	return c
}

func sec(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

func size(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if i, err := d.Info(); err == nil {
				n += i.Size()
			}
		}
		return nil
	})
	return n
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
