// pebble makes PebbleDB databases in many shapes and of every format major version, dumps what cosmos-db reads in one, and
// holds one open.
//
//	pebble make DIR KIND SEED [FORMAT]   kinds: log, l0, small, default, compacted, zstd, snapshots, ingested, recycled, table-xxhash,
//	                                     and those a reader has to refuse: merge, merge-log, range-del, range-del-log
//	pebble dump DIR                      u32le klen | u32le vlen | key | value of every pair, to standard output; DIR is NAME.db
//	pebble hold DIR                      opens DIR, says "open", and keeps it until standard input ends
//
// dump and hold open for writing, as cosmos-db does: give a copy. make leaves without closing, so that logs stay (all kinds but compacted).
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/cockroachdb/pebble/vfs"
	dbm "github.com/cosmos/cosmos-db"
)

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) >= 5 && os.Args[1] == "make":
		seed, err := strconv.ParseInt(os.Args[4], 10, 64)
		must(err)
		format := uint64(1)
		if len(os.Args) > 5 {
			format, err = strconv.ParseUint(os.Args[5], 10, 64)
			must(err)
		}
		write(os.Args[2], os.Args[3], seed, pebble.FormatMajorVersion(format))
	case len(os.Args) == 3 && os.Args[1] == "dump":
		dump(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "hold":
		db := open(os.Args[2])
		fmt.Println("open")
		_, err := io.Copy(io.Discard, os.Stdin)
		must(err)
		must(db.Close())
	default:
		log.Fatal("make DIR KIND SEED [FORMAT], dump DIR, or hold DIR?")
	}
}

func options(kind string, format pebble.FormatMajorVersion) *pebble.Options {
	o := &pebble.Options{FormatMajorVersion: format, Logger: quiet{}, L0StopWritesThreshold: 1000}
	// Elsewhere they are asked for, so that the shape is the one that is wanted.
	o.DisableAutomaticCompactions = kind != "small" && kind != "default"
	switch kind {
	case "small": // many levels, tiny tables, index of two levels
		o.LBaseMaxBytes = 64 << 10
		o.L0CompactionThreshold = 1
		for i := 0; i < 7; i++ {
			o.Levels = append(o.Levels, pebble.LevelOptions{TargetFileSize: 24 << 10, BlockSize: 256, IndexBlockSize: 256, BlockRestartInterval: 3 + i})
		}
	case "zstd": // never compacted: without cgo, Pebble 1.1.2 cannot read all that it writes
		for i := 0; i < 7; i++ {
			o.Levels = append(o.Levels, pebble.LevelOptions{Compression: pebble.ZstdCompression})
		}
	case "plain": // no compression
		for i := 0; i < 7; i++ {
			o.Levels = append(o.Levels, pebble.LevelOptions{Compression: pebble.NoCompression})
		}
	case "l0", "compacted", "snapshots", "recycled", "ingested", "table-xxhash", "log", "default", "merge", "merge-log", "range-del", "range-del-log":
	default:
		log.Fatalf("no kind %q", kind)
	}
	return o
}

func write(dir, kind string, seed int64, format pebble.FormatMajorVersion) {
	r := rand.New(rand.NewSource(seed))
	o := options(kind, format)
	db, err := pebble.Open(dir, o)
	must(err)
	rounds := 150
	if kind == "log" {
		rounds = 9
	}
	var snapshots []*pebble.Snapshot
	for i := 0; i < rounds; i++ {
		b := db.NewBatch()
		base := r.Intn(4000)
		for j := 0; j < 100; j++ {
			k := key(base + r.Intn(300))
			switch r.Intn(9) {
			case 0:
				must(b.Delete(k, nil))
				continue
			case 1:
				if format >= pebble.FormatDeleteSizedAndObsolete {
					must(b.DeleteSized(k, uint32(r.Intn(300)), nil))
				} else {
					must(b.Delete(k, nil))
				}
				continue
			}
			v := make([]byte, r.Intn(200))
			if r.Intn(2) == 0 {
				r.Read(v)
			} else {
				copy(v, fmt.Sprintf("%d-%d", i, j))
			}
			must(b.Set(k, v, nil))
		}
		// Keys that are set once may be removed by a single deletion.
		must(b.Set([]byte(fmt.Sprintf("once%d", i)), []byte("x"), nil))
		if i >= 7 && i%2 == 1 {
			must(b.SingleDelete([]byte(fmt.Sprintf("once%d", i-7)), nil))
		}
		must(b.LogData([]byte("a comment"), nil))
		if i%97 == 5 && kind != "log" {
			v := make([]byte, 300<<10+r.Intn(1<<20))
			if i%2 == 0 {
				r.Read(v)
			}
			must(b.Set([]byte(fmt.Sprintf("big%d", i)), v, nil))
		}
		if i == 3 {
			must(b.Set([]byte{}, []byte("empty key"), nil))
			must(b.Set([]byte{0xff, 0xff}, nil, nil))
		}
		must(db.Apply(b, pebble.NoSync))
		if kind == "snapshots" && i%3 == 0 { // many versions of a key in one table
			must(db.Set([]byte("hot"), []byte(fmt.Sprintf("%d %s", i, make([]byte, 50))), pebble.NoSync))
			snapshots = append(snapshots, db.NewSnapshot())
		}
		if kind != "log" && kind != "default" && i%20 == 19 { // each time a table, and a log in the file of an older one
			must(db.Flush())
		}
		if o.DisableAutomaticCompactions && kind != "l0" && kind != "log" && kind != "zstd" && i%60 == 59 {
			must(db.Compact([]byte{0}, []byte{0xff, 0xff, 0xff}, false))
		}
		if (kind == "ingested" || kind == "table-xxhash") && i%40 == 30 {
			ingest(db, dir, kind, i, format)
		}
	}
	switch kind {
	case "snapshots":
		must(db.Flush())
		must(db.Compact([]byte{0}, []byte{0xff, 0xff, 0xff}, false))
	case "merge", "merge-log":
		must(db.Merge([]byte("m"), []byte("operand"), pebble.Sync))
	case "range-del", "range-del-log":
		must(db.DeleteRange([]byte("x1"), []byte("x2"), pebble.Sync))
	}
	switch kind {
	case "merge", "range-del":
		must(db.Flush())
	case "compacted":
		must(db.Compact([]byte{0}, []byte{0xff, 0xff, 0xff}, false))
		must(db.Close())
	default:
		// Everything is in the log; what is written there waits in the process, and a kill would lose it.
		must(db.LogData(nil, pebble.Sync))
	}
	_ = snapshots
}

func ingest(db *pebble.DB, dir, kind string, round int, format pebble.FormatMajorVersion) {
	path := filepath.Clean(dir) + ".ingest"
	f, err := vfs.Default.Create(path)
	must(err)
	wo := sstable.WriterOptions{TableFormat: format.MaxTableFormat(), MergerName: pebble.DefaultMerger.Name}
	if kind == "table-xxhash" {
		wo.Checksum = sstable.ChecksumTypeXXHash64
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), wo)
	var last string
	for n := 0; n < 400; n++ {
		k := fmt.Sprintf("x%06d", n*7+round)
		if k <= last {
			continue
		}
		last = k
		must(w.Set([]byte(k), []byte(fmt.Sprintf("ingested %d", round))))
	}
	must(w.Delete([]byte("x999999")))
	must(w.Close())
	must(db.Ingest([]string{path}))
}

func key(n int) []byte {
	switch n % 3 {
	case 0:
		return []byte(fmt.Sprintf("s/k:bank/s%012d", n))
	case 1:
		k := binary.BigEndian.AppendUint64([]byte("s/k:acc/s"), uint64(n))
		return binary.BigEndian.AppendUint32(k, uint32(n%7))
	default:
		return []byte(fmt.Sprintf("x%06d", n))
	}
}

func open(dir string) dbm.DB {
	name, ok := strings.CutSuffix(filepath.Base(filepath.Clean(dir)), ".db")
	if !ok {
		log.Fatalf("%s: the name must end in .db", dir)
	}
	db, err := dbm.NewPebbleDB(name, filepath.Dir(filepath.Clean(dir)), nil)
	must(err)
	return db
}

func dump(dir string) {
	db := open(dir)
	w := bufio.NewWriter(os.Stdout)
	it, err := db.Iterator(nil, nil)
	must(err)
	for ; it.Valid(); it.Next() {
		h := binary.LittleEndian.AppendUint32(nil, uint32(len(it.Key())))
		h = binary.LittleEndian.AppendUint32(h, uint32(len(it.Value())))
		for _, x := range [][]byte{h, it.Key(), it.Value()} {
			_, err := w.Write(x)
			must(err)
		}
	}
	must(it.Error())
	must(w.Flush())
	must(it.Close())
	must(db.Close())
}

// quiet says nothing of what Pebble does.
type quiet struct{}

func (quiet) Infof(string, ...interface{})           {}
func (quiet) Fatalf(format string, a ...interface{}) { log.Fatalf(format, a...) }

func must(err error) {
	if err != nil {
		log.Output(2, err.Error())
		panic(err)
	}
}
