// leveldb makes goleveldb databases in many shapes, and dumps what goleveldb reads in one.
//
//	leveldb make DIR KIND SEED   kinds: small, l0, plain, snap, closed, default
//	leveldb dump DIR             u32le klen | u32le vlen | key | value of every live pair, to standard output
//
// dump opens read-only. make leaves without closing (all kinds but closed), so that logs stay.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"log"
	"math/rand"
	"os"
	"strconv"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"
)

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) == 5 && os.Args[1] == "make":
		seed, err := strconv.ParseInt(os.Args[4], 10, 64)
		must(err)
		write(os.Args[2], os.Args[3], seed)
	case len(os.Args) == 3 && os.Args[1] == "dump":
		dump(os.Args[2])
	default:
		log.Fatal("make DIR KIND SEED, or dump DIR?")
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
	case "plain": // no filter, no compression
		o.Filter = nil
		o.Compression = opt.NoCompression
		o.WriteBuffer = 64 << 10
		o.CompactionTableSize = 32 << 10
	case "snap", "closed", "default":
	default:
		log.Fatalf("no kind %q", kind)
	}
	return o
}

func write(dir, kind string, seed int64) {
	r := rand.New(rand.NewSource(seed))
	db, err := leveldb.OpenFile(dir, options(kind))
	must(err)
	for i := 0; i < 300; i++ {
		b := new(leveldb.Batch)
		base := r.Intn(4000)
		for j := 0; j < 100; j++ {
			k := key(base + r.Intn(300))
			if r.Intn(4) == 0 {
				b.Delete(k)
				continue
			}
			v := make([]byte, r.Intn(200))
			if r.Intn(2) == 0 {
				r.Read(v)
			} else {
				copy(v, fmt.Sprintf("%d-%d", i, j))
			}
			b.Put(k, v)
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
	if kind == "snap" { // many versions of one key, each kept by a snapshot, through compaction
		for i := 0; i < 3000; i++ {
			must(db.Put([]byte("hot"), []byte(fmt.Sprintf("%d %s", i, make([]byte, 50))), nil))
			_, err := db.GetSnapshot()
			must(err)
		}
		must(db.CompactRange(util.Range{}))
	}
	if kind == "closed" {
		must(db.Close())
	}
}

func key(n int) []byte {
	switch n % 3 {
	case 0:
		return []byte(fmt.Sprintf("s/k:bank/s%012d", n))
	case 1:
		k := binary.BigEndian.AppendUint64([]byte("s/k:acc/s"), uint64(n))
		return binary.BigEndian.AppendUint32(k, uint32(n%7))
	default:
		return []byte(fmt.Sprintf("x%d", n*n))
	}
}

func dump(dir string) {
	db, err := leveldb.OpenFile(dir, &opt.Options{Filter: filter.NewBloomFilter(10), ReadOnly: true})
	must(err)
	w := bufio.NewWriter(os.Stdout)
	it := db.NewIterator(nil, nil)
	for it.Next() {
		h := binary.LittleEndian.AppendUint32(nil, uint32(len(it.Key())))
		h = binary.LittleEndian.AppendUint32(h, uint32(len(it.Value())))
		for _, x := range [][]byte{h, it.Key(), it.Value()} {
			_, err := w.Write(x)
			must(err)
		}
	}
	must(it.Error())
	must(w.Flush())
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
