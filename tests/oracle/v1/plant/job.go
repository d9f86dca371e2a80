package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strconv"

	sdklog "cosmossdk.io/log"
	"cosmossdk.io/store/metrics"
	"cosmossdk.io/store/rootmulti"
	"cosmossdk.io/store/types"
	"cosmossdk.io/store/wrapper"
	dbm "github.com/cosmos/cosmos-db"
	gogotypes "github.com/cosmos/gogoproto/types"
	"github.com/cosmos/iavl"

	"oracle/v1/internal/changes"
	"oracle/v1/internal/records"
)

// What the faults have in common: reading and writing records, and finding nodes and the versions that have them.

func (j *job) latest() (int64, error) {
	b, err := j.db.Get([]byte("s/latest"))
	if err != nil {
		return 0, err
	}
	var v int64
	return v, gogotypes.StdInt64Unmarshal(&v, b)
}

func (j *job) commitInfo(v int64) (*types.CommitInfo, error) {
	return rootmulti.NewStore(j.db, sdklog.NewNopLogger(), metrics.NewNoOpMetrics()).GetCommitInfo(v)
}

func (j *job) putCommitInfo(ci *types.CommitInfo) error {
	b, err := ci.Marshal()
	if err != nil {
		return err
	}
	return j.put(infoKey(ci.Version), b)
}

func infoKey(v int64) []byte { return []byte(fmt.Sprintf("s/%d", v)) }

// stores of the commit info of a version, without the memory stores of cosmos-sdk v0.46.
func (j *job) stores(v int64) (out []string, err error) {
	ci, err := j.commitInfo(v)
	if err != nil {
		return nil, err
	}
	for _, s := range ci.StoreInfos {
		if s.CommitId.Version > 0 {
			out = append(out, s.Name)
		}
	}
	sort.Strings(out)
	return out, nil
}

// committed are the versions that have a commit info.
func (j *job) committed() (out []int64, err error) {
	it, err := j.db.Iterator([]byte("s/0"), []byte("s/:"))
	if err != nil {
		return nil, err
	}
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if v, err := strconv.ParseInt(string(it.Key()[2:]), 10, 64); err == nil {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out, it.Error()
}

// tiny tells whether a store has few keys at the version, 1 if so: others are damaged first.
func (j *job) tiny(store string) int {
	o := job{db: j.db, store: store}
	root, err := records.FindRoot(o.get, j.version)
	if err != nil || root.Kind == "missing" || root.Kind == "empty" {
		return 1
	}
	r, v, _ := o.resolve(root.Ref)
	if n, err := records.Decode(v, r.Legacy != nil); err != nil || n.Size < 12 {
		return 1
	}
	return 0
}

func (j *job) prefix() []byte { return []byte("s/k:" + j.store + "/") }

func (j *job) get(key []byte) ([]byte, bool) {
	b, err := j.db.Get(append(j.prefix(), key...))
	return b, err == nil && b != nil
}

// put writes (nil deletes) a whole database key and notes it.
func (j *job) put(key, value []byte) error {
	was, err := j.db.Get(key)
	if err != nil {
		return err
	}
	j.out.Changes = append(j.out.Changes, changes.Of(key, was, value, maxShown))
	if value == nil {
		return j.db.Delete(key)
	}
	return j.db.Set(key, value)
}

// set is put for a key of the store.
func (j *job) set(key, value []byte) error { return j.put(append(j.prefix(), key...), value) }

// raw gives all records of a store, in key order.
func (j *job) raw() (keys, values [][]byte, err error) {
	p := j.prefix()
	end := bytes.Clone(p)
	end[len(end)-1]++
	it, err := j.db.Iterator(p, end)
	if err != nil {
		return nil, nil, err
	}
	defer it.Close()
	for ; it.Valid(); it.Next() {
		keys, values = append(keys, bytes.Clone(it.Key()[len(p):])), append(values, bytes.Clone(it.Value()))
	}
	return keys, values, it.Error()
}

// versions that the store can be read at: committed ones down from the latest as long as there are roots, and below that those
// with a legacy root. A ghost root is not among them.
func (j *job) versions() (out []int64, err error) {
	all, err := j.committed()
	if err != nil {
		return nil, err
	}
	contiguous, last := true, int64(0)
	for i := len(all) - 1; i >= 0; i-- {
		v := all[i]
		if v > j.out.Latest {
			continue
		}
		if _, legacy := j.get(records.LegacyRootKey(v)); legacy {
			out = append(out, v)
			continue
		}
		_, ok := j.get(records.Key(v, 1))
		contiguous = contiguous && ok && (last == 0 || last == v+1)
		if last = v; contiguous {
			out = append(out, v)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// resolve reads the record of a pointer, which may be at nonce 0 where it says 1.
func (j *job) resolve(r records.Ref) (records.Ref, []byte, bool) {
	v, ok := j.get(r.Key())
	if !ok && r.Legacy == nil && r.Nonce == 1 {
		r.Nonce = 0
		v, ok = j.get(r.Key())
	}
	return r, v, ok
}

// holds tells whether a version has a node, by going down to the node's key.
func (j *job) holds(version int64, at records.Ref, key []byte) bool {
	root, err := records.FindRoot(j.get, version)
	if err != nil || root.Kind == "missing" || root.Kind == "empty" {
		return false
	}
	for next := root.Ref; ; {
		r, v, ok := j.resolve(next)
		if !ok {
			return false
		}
		if bytes.Equal(r.Key(), at.Key()) {
			return true
		}
		n, err := records.Decode(v, r.Legacy != nil)
		if err != nil || n.Height == 0 {
			return false
		}
		if next = n.Right; bytes.Compare(key, n.Key) < 0 {
			next = n.Left
		}
	}
}

// affected gives the versions whose tree has the node.
func (j *job) affected(at records.Ref, key []byte) ([]int64, error) {
	vs, err := j.versions()
	out := []int64{}
	for _, v := range vs {
		if j.holds(v, at, key) {
			out = append(out, v)
		}
	}
	return out, err
}

func id(r records.Ref) string {
	if r.Legacy != nil {
		return hex.EncodeToString(r.Legacy)
	}
	return fmt.Sprintf("(%d,%d)", r.Version, r.Nonce)
}

func (j *job) walk(version int64) ([]records.Found, error) {
	all, _, err := records.Walk(j.get, version)
	return all, err
}

// choose picks one of the nodes of the tree that fit, notes it, and which versions have it.
func (j *job) choose(fits func(all []records.Found, i int) bool) ([]records.Found, int, error) {
	all, err := j.walk(j.version)
	if err != nil {
		return nil, 0, err
	}
	var which []int
	for i, f := range all {
		if fits(all, i) && (j.node == "" || id(f.Ref) == j.node || id(f.Ref) == "("+j.node+")") {
			which = append(which, i)
		}
	}
	if len(which) == 0 {
		return nil, 0, unfit("store %s at version %d", j.store, j.version)
	}
	i := which[j.r.Intn(len(which))]
	return all, i, j.noteNode(all, i)
}

// noteNode says where the fault is. Expected is this node, and the versions that have it.
func (j *job) noteNode(all []records.Found, i int) error {
	f := all[i]
	n := &node{ID: id(f.Ref), Version: f.Version, Nonce: f.Nonce, Height: f.Node.Height, Size: f.Node.Size, Key: hex.EncodeToString(f.Node.Key), Depth: f.Depth}
	if f.Legacy != nil {
		n.Legacy, n.Version, n.Nonce = id(f.Ref), f.Node.Version, 0
	}
	if f.Parent >= 0 {
		n.Parent = id(all[f.Parent].Ref)
	}
	j.out.Node = n
	j.noteStore()
	j.out.Expect.Nodes = []string{n.ID}
	var err error
	j.out.Expect.Versions, err = j.affected(f.Ref, f.Node.Key)
	return err
}

func (j *job) noteStore() {
	j.out.Store, j.out.Version = j.store, j.version
	j.out.Expect.Store = j.store
}

// tellsToo adds nodes that an examiner may name as well.
func (j *job) tellsToo(refs ...records.Ref) {
	for _, r := range refs {
		j.out.Expect.Nodes = append(j.out.Expect.Nodes, id(r))
	}
}

// parents adds the parent of a node.
func (j *job) parent(all []records.Found, i int) {
	if p := all[i].Parent; p >= 0 {
		j.tellsToo(all[p].Ref)
	}
}

// tree opens the store with the IAVL code, with the fast index if the store has one.
func (j *job) tree() (*iavl.MutableTree, error) {
	_, fast := j.get([]byte("mstorage_version"))
	t := iavl.NewMutableTree(wrapper.NewDBWrapper(dbm.NewPrefixDB(j.db, j.prefix())), 10_000, !fast, sdklog.NewNopLogger())
	_, err := t.Load()
	return t, err
}

// differences notes what changed in the store since raw was taken.
func (j *job) differences(keys, values [][]byte) error {
	byKey := func(keys, values [][]byte) map[string][]byte {
		m := map[string][]byte{}
		for i, k := range keys {
			m[string(k)] = values[i]
		}
		return m
	}
	was := byKey(keys, values)
	keys, values, err := j.raw()
	if err != nil {
		return err
	}
	j.out.Changes = append(j.out.Changes, changes.Between(j.prefix(), was, byKey(keys, values), maxShown)...)
	return nil
}
