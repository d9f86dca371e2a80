// Package v2 opens store/v2 state commitments as root/factory.go does, and reads
// store/v1 databases with the IAVL version that store/v2 uses.
package v2

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	corestore "cosmossdk.io/core/store"
	"cosmossdk.io/store/v2/commitment"
	"cosmossdk.io/store/v2/commitment/iavl"
	"cosmossdk.io/store/v2/db"
	"cosmossdk.io/store/v2/proof"
	"cosmossdk.io/store/v2/snapshots"
	snapshotstypes "cosmossdk.io/store/v2/snapshots/types"
	protoio "github.com/cosmos/gogoproto/io"
	iavltree "github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"oracle/wl"
)

// OpenKV opens PATH, a directory whose name ends in .db.
//
// fixPebble takes a PebbleDB without the faults of that of store/v2, see fixedPebble.
func OpenKV(backend, path string, fixPebble bool) (corestore.KVStoreWithBatch, error) {
	path = filepath.Clean(path)
	base := filepath.Base(path)
	if !strings.HasSuffix(base, db.DBFileSuffix) {
		return nil, fmt.Errorf("%s: the name must end in %s", path, db.DBFileSuffix)
	}
	name, dir := strings.TrimSuffix(base, db.DBFileSuffix), filepath.Dir(path)
	if fixPebble && db.DBType(backend) == db.DBTypePebbleDB {
		return openFixedPebble(name, dir)
	}
	return db.NewDB(db.DBType(backend), name, dir, nil)
}

// OpenSource opens PATH to read only. A goleveldb directory stays as it is (but for an empty LOCK).
func OpenSource(backend, path string) (corestore.KVStoreWithBatch, error) {
	if db.DBType(backend) != db.DBTypeGoLevelDB {
		return OpenKV(backend, path, true)
	}
	path = filepath.Clean(path)
	name, ok := strings.CutSuffix(filepath.Base(path), db.DBFileSuffix)
	if !ok {
		return nil, fmt.Errorf("%s: the name must end in %s", path, db.DBFileSuffix)
	}
	if _, err := os.Stat(filepath.Join(path, "CURRENT")); err != nil {
		return nil, err
	}
	return db.NewGoLevelDBWithOpts(name, filepath.Dir(path), &opt.Options{Filter: filter.NewBloomFilter(10), ReadOnly: true})
}

// OpenSC makes the commit store over the given stores, as root.CreateRootStore does with the default options.
func OpenSC(kv corestore.KVStoreWithBatch, names []string) (*commitment.CommitStore, map[string]*iavl.IavlTree, error) {
	trees := map[string]commitment.Tree{}
	its := map[string]*iavl.IavlTree{}
	for _, n := range names {
		t := iavl.NewIavlTree(db.NewPrefixDB(kv, []byte(n)), Nop{},
			&iavl.Config{CacheSize: 100_000, SkipFastStorageUpgrade: true})
		trees[n], its[n] = t, t
	}
	sc, err := commitment.NewCommitStore(trees, nil, kv, Nop{})
	return sc, its, err
}

// Stores gives the store names and hashes that the commit info of the latest version names.
func Stores(kv corestore.KVStoreWithBatch, version uint64) (*proof.CommitInfo, []string, error) {
	m := commitment.NewMetadataStore(kv)
	if version == 0 {
		v, err := m.GetLatestVersion()
		if err != nil {
			return nil, nil, err
		}
		version = v
	}
	ci, err := m.GetCommitInfo(version)
	if err != nil {
		return nil, nil, err
	}
	if ci == nil {
		return nil, nil, fmt.Errorf("no commit info of version %d", version)
	}
	var names []string
	for _, s := range ci.StoreInfos {
		names = append(names, string(s.Name))
	}
	sort.Strings(names)
	return ci, names, nil
}

// State describes a loaded version; every pair is read.
func State(sc *commitment.CommitStore, ci *proof.CommitInfo) (wl.VersionState, error) {
	vs := wl.VersionState{Version: int64(ci.Version), AppHash: hex.EncodeToString(ci.Hash()), Stores: map[string]wl.StoreState{}}
	for _, s := range ci.StoreInfos {
		it, err := sc.Iterator(s.Name, ci.Version, nil, nil)
		if err != nil {
			return vs, fmt.Errorf("store %s: %w", s.Name, err)
		}
		d := wl.NewDigest()
		for ; it.Valid(); it.Next() {
			d.Add(it.Key(), it.Value())
		}
		if err := it.Close(); err != nil {
			return vs, err
		}
		vs.Stores[string(s.Name)] = wl.StoreState{Root: hex.EncodeToString(s.CommitID.Hash), Keys: d.Keys, Bytes: d.Bytes, SHA256: d.Hex()}
	}
	return vs, nil
}

// V1 is a store/v1 database. It is a snapshots.CommitSnapshotter that gives the
// items that rootmulti.Store.Snapshot gives: stores in name order, each post-order.
type V1 struct {
	KV      corestore.KVStoreWithBatch
	Names   []string
	Hashes  map[string][]byte
	Version uint64
	// Skipped are stores of the commit info that have no version: memory stores, which
	// cosmos-sdk up to v0.46 put there. They count in AppHash but cannot be migrated.
	Skipped []string
	// OnLeaf, if set, sees each pair before it is sent on.
	OnLeaf func(store string, key, value []byte)

	Nodes, Leaves, Bytes uint64
}

var _ snapshots.CommitSnapshotter = (*V1)(nil)

// OpenV1 reads s/latest (unless a version is given) and s/<version>.
func OpenV1(kv corestore.KVStoreWithBatch, version uint64) (*V1, error) {
	if version == 0 {
		b, err := kv.Get([]byte("s/latest"))
		if err != nil {
			return nil, err
		}
		for _, f := range fields(b) { // google.protobuf.Int64Value
			if f.num == 1 {
				version = f.v
			}
		}
	}
	b, err := kv.Get([]byte(fmt.Sprintf("s/%d", version)))
	if err != nil || b == nil {
		return nil, fmt.Errorf("no commit info of version %d (%v)", version, err)
	}
	v := &V1{KV: kv, Version: version, Hashes: map[string][]byte{}}
	for _, f := range fields(b) { // CommitInfo{1: version, 2: repeated StoreInfo{1: name, 2: CommitID{1: version, 2: hash}}}
		if f.num != 2 {
			continue
		}
		var name string
		var hash []byte
		var ver uint64
		for _, g := range fields(f.b) {
			switch g.num {
			case 1:
				name = string(g.b)
			case 2:
				for _, h := range fields(g.b) {
					switch h.num {
					case 1:
						ver = h.v
					case 2:
						hash = h.b
					}
				}
			}
		}
		v.Hashes[name] = hash
		if ver == 0 {
			v.Skipped = append(v.Skipped, name)
			continue
		}
		v.Names = append(v.Names, name)
	}
	sort.Strings(v.Names)
	return v, nil
}

// AppHash is the commit hash of the version, with or without the skipped stores.
func (v *V1) AppHash(skipped bool) []byte {
	ci := proof.CommitInfo{Version: v.Version}
	names := v.Names
	if skipped {
		names = append(append([]string{}, names...), v.Skipped...)
	}
	for _, n := range names {
		ci.StoreInfos = append(ci.StoreInfos, proof.StoreInfo{Name: []byte(n), CommitID: proof.CommitID{Version: v.Version, Hash: v.Hashes[n]}})
	}
	return ci.Hash()
}

// Snapshot implements snapshots.CommitSnapshotter.
func (v *V1) Snapshot(version uint64, w protoio.Writer) error {
	for _, n := range v.Names {
		tree := iavltree.NewMutableTree(db.NewPrefixDB(v.KV, []byte("s/k:"+n+"/")), 100_000, true, Nop{})
		im, err := tree.GetImmutable(int64(version))
		if err != nil {
			return fmt.Errorf("store %s: %w", n, err)
		}
		ex, err := im.Export()
		if err != nil {
			return err
		}
		if err := w.WriteMsg(&snapshotstypes.SnapshotItem{Item: &snapshotstypes.SnapshotItem_Store{Store: &snapshotstypes.SnapshotStoreItem{Name: n}}}); err != nil {
			return err
		}
		for {
			x, err := ex.Next()
			if err == iavltree.ErrorExportDone {
				break
			} else if err != nil {
				return err
			}
			v.Nodes++
			if x.Height == 0 {
				v.Leaves++
				v.Bytes += uint64(len(x.Key) + len(x.Value))
				if v.OnLeaf != nil {
					v.OnLeaf(n, x.Key, x.Value)
				}
			}
			if err := w.WriteMsg(&snapshotstypes.SnapshotItem{Item: &snapshotstypes.SnapshotItem_IAVL{IAVL: &snapshotstypes.SnapshotIAVLItem{
				Key: x.Key, Value: x.Value, Height: int32(x.Height), Version: x.Version}}}); err != nil {
				return err
			}
		}
		ex.Close()
		if err := tree.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Restore implements snapshots.CommitSnapshotter.
func (v *V1) Restore(uint64, uint32, protoio.Reader) (snapshotstypes.SnapshotItem, error) {
	return snapshotstypes.SnapshotItem{}, fmt.Errorf("read only")
}

type field struct {
	num int
	v   uint64
	b   []byte
}

// fields splits a protobuf message that has varint and length-delimited fields only.
func fields(p []byte) (out []field) {
	uv := func() (v uint64) {
		for s := uint(0); len(p) > 0; s += 7 {
			c := p[0]
			p = p[1:]
			v |= uint64(c&127) << s
			if c < 128 {
				break
			}
		}
		return v
	}
	for len(p) > 0 {
		t := uv()
		f := field{num: int(t >> 3)}
		switch t & 7 {
		case 0:
			f.v = uv()
		case 2:
			n := uv()
			if n > uint64(len(p)) {
				return out
			}
			f.b, p = p[:n], p[n:]
		default:
			return out
		}
		out = append(out, f)
	}
	return out
}
