// Package v1 opens a rootmulti store of cosmossdk.io/store v1 and describes its state.
package v1

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cosmossdk.io/log"
	"cosmossdk.io/store/iavl"
	"cosmossdk.io/store/metrics"
	pt "cosmossdk.io/store/pruning/types"
	"cosmossdk.io/store/rootmulti"
	"cosmossdk.io/store/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"oracle/wl"
)

// DB is an open database with the rootmulti store on it.
type DB struct {
	dbm.DB
	RS   *rootmulti.Store
	Keys map[string]types.StoreKey
}

// OpenDB opens DIR/application.db.
func OpenDB(backend, dir string) (dbm.DB, error) {
	return dbm.NewDB("application", dbm.BackendType(backend), dir)
}

// OpenBuffered is OpenDB with another write buffer of goleveldb or RocksDB, in KiB; 0 leaves it as it is.
func OpenBuffered(backend, dir string, kib int) (dbm.DB, error) {
	if kib != 0 && backend == "rocksdb" {
		return openRocksBuffered(dir, kib)
	}
	if kib == 0 || backend != "goleveldb" {
		return OpenDB(backend, dir)
	}
	return dbm.NewGoLevelDBWithOpts("application", dir, &opt.Options{Filter: filter.NewBloomFilter(10), WriteBuffer: kib << 10,
		CompactionTableSize: kib << 10, CompactionTotalSize: 5 * kib << 10})
}

// OpenReadOnly opens DIR, a goleveldb directory NAME.db, without changing it (but for an empty LOCK).
func OpenReadOnly(path string) (*dbm.GoLevelDB, error) {
	path = filepath.Clean(path)
	name, ok := strings.CutSuffix(filepath.Base(path), ".db")
	if !ok {
		return nil, fmt.Errorf("%s: the name must end in .db", path)
	}
	if _, err := os.Stat(filepath.Join(path, "CURRENT")); err != nil {
		return nil, err
	}
	return dbm.NewGoLevelDBWithOpts(name, filepath.Dir(path), &opt.Options{Filter: filter.NewBloomFilter(10), ReadOnly: true})
}

// Options of Open.
type Options struct {
	Pruning  pt.PruningOptions
	NoFast   bool
	Cache    int
	Initial  int64
	Version  int64 // 0 is the latest
	Upgrades *types.StoreUpgrades
}

// Open mounts the named stores, one transient and one memory store, and loads the latest version.
func Open(db dbm.DB, names []string, o Options) (*DB, error) {
	d := &DB{DB: db, RS: rootmulti.NewStore(db, log.NewNopLogger(), metrics.NewNoOpMetrics()), Keys: map[string]types.StoreKey{}}
	d.RS.SetPruning(o.Pruning)
	d.RS.SetIAVLDisableFastNode(o.NoFast)
	if o.Cache > 0 {
		d.RS.SetIAVLCacheSize(o.Cache)
	}
	for _, n := range names {
		k := types.NewKVStoreKey(n)
		d.Keys[n] = k
		d.RS.MountStoreWithDB(k, types.StoreTypeIAVL, nil)
	}
	d.RS.MountStoreWithDB(types.NewTransientStoreKey(wl.TransientStore), types.StoreTypeTransient, nil)
	d.RS.MountStoreWithDB(types.NewMemoryStoreKey(wl.MemoryStore), types.StoreTypeMemory, nil)
	if o.Upgrades != nil {
		return d, d.RS.LoadLatestVersionAndUpgrade(o.Upgrades)
	}
	if o.Version > 0 {
		return d, d.RS.LoadVersion(o.Version)
	}
	if err := d.RS.LoadLatestVersion(); err != nil {
		return nil, err
	}
	if o.Initial > 1 && d.RS.LastCommitID().Version == 0 { // as InitChain does, after loading
		return d, d.RS.SetInitialVersion(o.Initial)
	}
	return d, nil
}

// LastStores gives the store names of the commit info of the latest version.
func LastStores(db dbm.DB) ([]string, int64, error) {
	rs := rootmulti.NewStore(db, log.NewNopLogger(), metrics.NewNoOpMetrics())
	v := rootmulti.GetLatestVersion(db)
	ci, err := rs.GetCommitInfo(v)
	if err != nil {
		return nil, 0, err
	}
	var names []string
	for _, s := range ci.StoreInfos {
		if s.CommitId.Version > 0 { // cosmos-sdk v0.46 names memory stores too
			names = append(names, s.Name)
		}
	}
	return names, v, nil
}

// Apply applies the changes and commits.
func (d *DB) Apply(cs []wl.StoreOps) (types.CommitID, error) {
	for _, s := range cs {
		k, ok := d.Keys[s.Store]
		if !ok {
			return types.CommitID{}, fmt.Errorf("store %s is not mounted", s.Store)
		}
		kv := d.RS.GetCommitKVStore(k)
		for _, o := range s.Ops {
			if o.Del {
				kv.Delete(o.Key)
			} else {
				kv.Set(o.Key, o.Value)
			}
		}
	}
	return d.RS.Commit(), nil
}

// State describes a version; digests makes it read every pair.
func (d *DB) State(version int64, digests bool) (wl.VersionState, error) {
	ci, err := d.RS.GetCommitInfo(version)
	if err != nil {
		return wl.VersionState{}, err
	}
	vs := wl.VersionState{Version: version, AppHash: hex.EncodeToString(ci.Hash()), Stores: map[string]wl.StoreState{}}
	for _, s := range ci.StoreInfos {
		st := wl.StoreState{Root: hex.EncodeToString(s.CommitId.Hash)}
		if digests {
			im, err := d.RS.GetCommitKVStore(d.Keys[s.Name]).(*iavl.Store).GetImmutable(version)
			if err != nil {
				return vs, fmt.Errorf("store %s at %d: %w", s.Name, version, err)
			}
			dg := wl.NewDigest()
			it := im.Iterator(nil, nil)
			for ; it.Valid(); it.Next() {
				dg.Add(it.Key(), it.Value())
			}
			it.Close()
			st.Keys, st.Bytes, st.SHA256 = dg.Keys, dg.Bytes, dg.Hex()
		}
		vs.Stores[s.Name] = st
	}
	return vs, nil
}
