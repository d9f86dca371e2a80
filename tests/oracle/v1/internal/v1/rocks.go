//go:build rocksdb

package v1

import (
	"path/filepath"
	"runtime"

	dbm "github.com/cosmos/cosmos-db"
	"github.com/linxGnu/grocksdb"
)

// Rocks is how a RocksDB database is to differ from what cosmos-db makes; zero values do not.
type Rocks struct {
	Budget      int // KiB of write buffers; sizes of files and levels follow from it
	Format      int // format_version of the tables
	Compression string
	Level0      bool // no compaction: everything stays in level 0
}

var compressions = map[string]grocksdb.CompressionType{
	"none": grocksdb.NoCompression, "snappy": grocksdb.SnappyCompression, "zlib": grocksdb.ZLibCompression,
	"lz4": grocksdb.LZ4Compression, "zstd": grocksdb.ZSTDCompression,
}

// OpenRocks opens DIR/application.db. The options are those of cosmos-db's rocksdb.go, but for those that r names.
func OpenRocks(dir string, r Rocks) (dbm.DB, error) {
	if r == (Rocks{}) {
		return OpenDB("rocksdb", dir)
	}
	table := grocksdb.NewDefaultBlockBasedTableOptions()
	table.SetBlockCache(grocksdb.NewLRUCache(64 << 20))
	table.SetFilterPolicy(grocksdb.NewBloomFilter(10))
	if r.Format != 0 {
		table.SetFormatVersion(r.Format)
	}
	o := grocksdb.NewDefaultOptions()
	o.SetBlockBasedTableFactory(table)
	o.SetMaxOpenFiles(4096)
	o.SetCreateIfMissing(true)
	o.IncreaseParallelism(runtime.NumCPU())
	if r.Budget == 0 {
		r.Budget = 512 << 10
	}
	o.OptimizeLevelStyleCompaction(uint64(r.Budget) << 10)
	if r.Compression != "" {
		o.SetCompressionPerLevel(nil)
		o.SetCompression(compressions[r.Compression])
	}
	if r.Level0 {
		o.SetDisableAutoCompactions(true)
		o.SetLevel0SlowdownWritesTrigger(1 << 20)
		o.SetLevel0StopWritesTrigger(1 << 20)
	}
	db, err := grocksdb.OpenDb(o, filepath.Join(dir, "application.db"))
	if err != nil {
		return nil, err
	}
	sync := grocksdb.NewDefaultWriteOptions()
	sync.SetSync(true)
	return dbm.NewRocksDBWithRawDB(db, grocksdb.NewDefaultReadOptions(), grocksdb.NewDefaultWriteOptions(), sync), nil
}

func openRocksBuffered(dir string, kib int) (dbm.DB, error) {
	return OpenRocks(dir, Rocks{Budget: kib})
}
