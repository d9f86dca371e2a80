// make DIR KIND SEED: makes a database. dump DIR: writes klen vlen key value (LE4) of all live pairs to stdout, opened on the directory as it is (read only).
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"strconv"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func options(kind string) *opt.Options {
	o := &opt.Options{Filter: filter.NewBloomFilter(10)}
	switch kind {
	case "small": // many levels, tiny tables
		o.WriteBuffer = 32 << 10
		o.CompactionTableSize = 8 << 10
		o.CompactionTotalSize = 32 << 10
		o.CompactionTotalSizeMultiplier = 3
		o.BlockSize = 512
	case "l0": // many overlapping level-0 tables
		o.WriteBuffer = 16 << 10
		o.CompactionL0Trigger = 1000
		o.WriteL0SlowdownTrigger = 2000
		o.WriteL0PauseTrigger = 3000
	case "plain":
		o.Filter = nil
		o.Compression = opt.NoCompression
		o.WriteBuffer = 64 << 10
		o.CompactionTableSize = 32 << 10
	}
	return o
}

func main() {
	switch os.Args[1] {
	case "make":
		kind := os.Args[3]
		seed, _ := strconv.ParseInt(os.Args[4], 10, 64)
		r := rand.New(rand.NewSource(seed))
		db, err := leveldb.OpenFile(os.Args[2], options(kind))
		must(err)
		rounds := 300
		for i := 0; i < rounds; i++ {
			b := new(leveldb.Batch)
			base := r.Intn(4000)
			for j := 0; j < 100; j++ {
				n := base + r.Intn(300)
				key := make([]byte, 0, 32)
				switch n % 3 {
				case 0:
					key = append(key, fmt.Sprintf("s/k:bank/s%012d", n)...)
				case 1:
					key = append(key, "s/k:acc/s"...)
					key = binary.BigEndian.AppendUint64(key, uint64(n))
					key = binary.BigEndian.AppendUint32(key, uint32(n%7))
				default:
					key = append(key, fmt.Sprintf("x%d", n*n)...)
				}
				if r.Intn(4) == 0 {
					b.Delete(key)
				} else {
					v := make([]byte, r.Intn(200))
					if r.Intn(2) == 0 {
						r.Read(v)
					} else {
						copy(v, fmt.Sprintf("%d-%d", i, j))
					}
					b.Put(key, v)
				}
			}
			if i%97 == 5 {
				v := make([]byte, 300<<10+r.Intn(1<<20))
				if i%2 == 0 {
					r.Read(v)
				}
				b.Put([]byte(fmt.Sprintf("big%d", i)), v)
			}
			if i == 3 {
				b.Put([]byte{}, []byte("empty key"))
				b.Put([]byte{0xff, 0xff}, nil)
			}
			must(db.Write(b, nil))
		}
		if kind == "snap" {
			// many versions of one key, kept by a snapshot each, through compaction
			snaps := []*leveldb.Snapshot{}
			for i := 0; i < 3000; i++ {
				must(db.Put([]byte("hot"), []byte(fmt.Sprintf("%d %s", i, make([]byte, 50))), nil))
				s, _ := db.GetSnapshot()
				snaps = append(snaps, s)
			}
			must(db.CompactRange(rangeAll()))
			_ = snaps
		}
		// exits without Close: logs stay
		if kind == "closed" {
			must(db.Close())
		}
		os.Exit(0)
	case "dump":
		db, err := leveldb.OpenFile(os.Args[2], &opt.Options{Filter: filter.NewBloomFilter(10), ReadOnly: true})
		must(err)
		w := bufio.NewWriter(os.Stdout)
		it := db.NewIterator(nil, nil)
		for it.Next() {
			var h [8]byte
			binary.LittleEndian.PutUint32(h[:], uint32(len(it.Key())))
			binary.LittleEndian.PutUint32(h[4:], uint32(len(it.Value())))
			w.Write(h[:])
			w.Write(it.Key())
			w.Write(it.Value())
		}
		must(it.Error())
		must(w.Flush())
	}
}
