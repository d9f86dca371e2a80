//go:build rocksdb

// torocks copies any goleveldb database into RocksDB, as cosmos-db configures it, or otherwise where flags say so.
//
//	../rocks.sh
//	torocks -from NAME/application.db -to DIR      writes DIR/application.db
package main

import (
	"flag"
	"log"
	"os"
	"strings"

	"oracle/v1/internal/v1"
)

func main() {
	log.SetFlags(0)
	var r v1.Rocks
	from := flag.String("from", "", "goleveldb directory, NAME.db")
	to := flag.String("to", "", "directory to write application.db in")
	flag.IntVar(&r.Budget, "write-buffer", 0, "KiB of all write buffers (0: as cosmos-db has it, 512 MiB)")
	flag.IntVar(&r.Format, "format", 0, "format_version of the tables, 2 to 5 (0: the library's own)")
	flag.StringVar(&r.Compression, "compression", "", "none, snappy, zlib, lz4 or zstd for all levels (empty: as cosmos-db has it)")
	flag.BoolVar(&r.Level0, "level0", false, "do not compact")
	churn := flag.Bool("churn", false, "write every third pair twice, and one more that is deleted again")
	flag.Parse()
	src, err := v1.OpenReadOnly(*from)
	check(err)
	check(os.MkdirAll(*to, 0o755))
	dst, err := v1.OpenRocks(*to, r)
	check(err)
	if *churn {
		it, err := src.Iterator(nil, nil)
		check(err)
		for n := 0; it.Valid(); it.Next() {
			if n++; n%3 == 0 {
				check(dst.Set(it.Key(), []byte("an older value")))
			}
			check(dst.Set(append(it.Key(), 0), it.Value()))
		}
		check(it.Close())
	}
	it, err := src.Iterator(nil, nil)
	check(err)
	batch, pairs, pending := dst.NewBatch(), 0, 0
	for ; it.Valid(); it.Next() {
		key := it.Key()
		check(batch.Set(key, it.Value()))
		if *churn {
			check(batch.Delete(append(key, 0)))
		}
		pairs++
		if pending += len(key) + len(it.Value()); pending > 1<<18 {
			check(batch.Write())
			check(batch.Close())
			batch, pending = dst.NewBatch(), 0
		}
	}
	check(it.Close())
	check(batch.WriteSync())
	check(dst.Close())
	log.Printf("%d pairs", pairs)
	entries, err := os.ReadDir(*to + "/application.db")
	check(err)
	for _, e := range entries { // RocksDB makes them anew
		if e.Name() == "LOCK" || strings.HasPrefix(e.Name(), "LOG") {
			check(os.Remove(*to + "/application.db/" + e.Name()))
		}
	}
}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		panic(err)
	}
}
