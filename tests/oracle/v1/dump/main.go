// dump reads a store/v1 database (goleveldb, never changed) with the IAVL code of store v1.1.1 and
// says what is in it. It owns the judgement whether a version can be read: every pair of every
// store is read and the root hash is computed anew from the exported tree, by the IAVL code; then the
// raw records are walked once more without it, for IAVL trusts stored hashes, sizes and inner keys.
//
//	dump -from application.db [-version V | -all] [-store NAME]   states as in expected.json, and problems
//	dump -from application.db -expected expected.json             whether every version is as it says, those marked pruned but for
//	dump -from application.db -records [-version V]               what the root records and pointers of each store look like
//	dump -from application.db -nodes                              how many nodes of each version there are: version, tab, nodes
//	dump -from application.db -raw > pairs                        u32le(len(key)) key u32le(len(value)) value, in key order
//
// It exits with 1 if the version asked for has problems; with -all, only if no version can be read.
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"sort"
	"strconv"

	sdklog "cosmossdk.io/log"
	"cosmossdk.io/store/metrics"
	"cosmossdk.io/store/rootmulti"
	"cosmossdk.io/store/types"
	"cosmossdk.io/store/wrapper"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb/util"

	"oracle/v1/internal/records"
	"oracle/v1/internal/v1"
	"oracle/wl"
)

type problem struct {
	Version int64  `json:"version"`
	Store   string `json:"store,omitempty"`
	Problem string `json:"problem"`
}

type report struct {
	Latest   int64             `json:"latest_version"` // s/latest
	Versions []wl.VersionState `json:"versions"`       // those that can be read completely
	Problems []problem         `json:"problems"`
}

func main() {
	log.SetFlags(0)
	from := flag.String("from", "", "store/v1 database, a goleveldb directory NAME.db")
	version := flag.Int64("version", 0, "version; 0 is s/latest")
	all := flag.Bool("all", false, "every version that has a commit info")
	only := flag.String("store", "", "this store only")
	raw := flag.Bool("raw", false, "write all raw pairs to standard output")
	nodes := flag.Bool("nodes", false, "count the nodes of each version")
	expected := flag.String("expected", "", "compare every version with this file")
	recs := flag.Bool("records", false, "describe root records and node pointers")
	flag.Parse()

	db, err := v1.OpenReadOnly(*from)
	check(err)
	defer db.Close()
	if *raw {
		check(writeRaw(db))
		return
	}
	if *nodes {
		check(countNodes(db))
		return
	}
	rep := report{Latest: rootmulti.GetLatestVersion(db), Versions: []wl.VersionState{}, Problems: []problem{}}
	if *version == 0 {
		*version = rep.Latest
	}
	if *recs {
		describe(db, *version, *only)
		return
	}
	if *expected != "" {
		check(compare(db, *expected))
		return
	}
	vs := []int64{*version}
	if *all {
		vs, err = committed(db)
		check(err)
	}
	r := reader{db: db, trees: map[string]*iavl.MutableTree{}}
	for _, v := range vs {
		st, ps := r.state(v, *only)
		if len(ps) == 0 {
			rep.Versions = append(rep.Versions, st)
		}
		rep.Problems = append(rep.Problems, ps...)
	}
	b, err := json.MarshalIndent(rep, "", " ")
	check(err)
	fmt.Println(string(b))
	if len(rep.Versions) == 0 {
		os.Exit(1)
	}
}

func writeRaw(db dbm.DB) error {
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	it, err := db.Iterator(nil, nil)
	if err != nil {
		return err
	}
	defer it.Close()
	var n [4]byte
	for ; it.Valid(); it.Next() {
		for _, b := range [][]byte{it.Key(), it.Value()} {
			binary.LittleEndian.PutUint32(n[:], uint32(len(b)))
			w.Write(n[:])
			w.Write(b)
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	return w.Flush()
}

// countNodes prints how many node records each version has, over all stores; a version made those, where nothing was pruned. A
// root record that only refers to another node, or says that the tree is empty, is none.
func countNodes(db *dbm.GoLevelDB) error {
	counts := map[int64]int{}
	it := db.DB().NewIterator(util.BytesPrefix([]byte("s/k:")), nil)
	defer it.Release()
	for it.Next() {
		_, key, _ := bytes.Cut(it.Key()[len("s/k:"):], []byte("/"))
		if r, ok := records.ParseKey(key); ok && len(it.Value()) > 0 && it.Value()[0] != 's' {
			counts[r.Version]++
		}
	}
	var versions []int64
	for v := range counts {
		versions = append(versions, v)
	}
	sort.Slice(versions, func(i, j int) bool { return versions[i] < versions[j] })
	for _, v := range versions {
		fmt.Printf("%d\t%d\n", v, counts[v])
	}
	return it.Error()
}

// compare reads the versions of an expected.json. A version is pruned if a store lacks it: then it must not be readable.
func compare(db dbm.DB, path string) error {
	want, err := wl.LoadExpected(path)
	if err != nil {
		return err
	}
	r := reader{db: db, trees: map[string]*iavl.MutableTree{}}
	var read, pruned, wrong int
	for _, w := range want.Versions {
		if w.Live {
			continue
		}
		st, ps := r.state(w.Version, "")
		if w.Pruned {
			if len(ps) == 0 {
				return fmt.Errorf("version %d is said to be pruned and can be read", w.Version)
			}
			pruned++
			continue
		}
		var bad []string
		for _, p := range ps {
			if bad = append(bad, p.Store); !slices.Contains(w.Wrong, p.Store) {
				return fmt.Errorf("version %d: %v", w.Version, ps)
			}
		}
		if sort.Strings(bad); !slices.Equal(bad, w.Wrong) {
			return fmt.Errorf("version %d: not wrong as said in %v, but %v", w.Version, w.Wrong, ps)
		}
		if st.AppHash != w.AppHash || len(st.Stores) != len(w.Stores) {
			return fmt.Errorf("version %d is %v, expected is %v", w.Version, st, w)
		}
		for n, a := range st.Stores {
			if b := w.Stores[n]; a != b && (b.SHA256 != "" || a.Root != b.Root) && !slices.Contains(w.Wrong, n) {
				return fmt.Errorf("version %d: store %s is %v, expected is %v", w.Version, n, a, b)
			}
		}
		read++
		wrong += len(bad)
	}
	fmt.Printf("%d versions are as expected, %d are pruned; %d wrong trees are as expected\n", read, pruned, wrong)
	return nil
}

// committed gives the versions of the records s/<version>, ascending.
func committed(db dbm.DB) (out []int64, err error) {
	it, err := db.Iterator([]byte("s/0"), []byte("s/:"))
	if err != nil {
		return nil, err
	}
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if v, err := strconv.ParseInt(string(it.Key()[2:]), 10, 64); err == nil {
			out = append(out, v)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out, it.Error()
}

func commitInfo(db dbm.DB, v int64) (*types.CommitInfo, error) {
	rs := rootmulti.NewStore(db, sdklog.NewNopLogger(), metrics.NewNoOpMetrics())
	return rs.GetCommitInfo(v)
}

type reader struct {
	db    dbm.DB
	trees map[string]*iavl.MutableTree
}

func (r *reader) state(v int64, only string) (st wl.VersionState, ps []problem) {
	bad := func(store, f string, a ...any) {
		ps = append(ps, problem{v, store, fmt.Sprintf(f, a...)})
	}
	ci, err := commitInfo(r.db, v)
	if err != nil {
		bad("", "%v", err)
		return st, ps
	}
	st = wl.VersionState{Version: v, AppHash: appHash(ci), Stores: map[string]wl.StoreState{}}
	seen := map[string]bool{}
	for _, s := range ci.StoreInfos {
		if s.CommitId.Version == 0 || (only != "" && s.Name != only) { // cosmos-sdk v0.46 names memory stores too
			continue
		}
		if seen[s.Name] {
			bad(s.Name, "named twice in the commit info")
		}
		seen[s.Name] = true
		x, err := r.store(s.Name, v)
		if err == nil {
			err = r.walk(s.Name, v, x)
		}
		if err != nil {
			bad(s.Name, "%v", err)
		} else if want := hex.EncodeToString(s.CommitId.Hash); x.Root != want {
			bad(s.Name, "root of all nodes is %s, the commit info says %s", x.Root, want)
		}
		st.Stores[s.Name] = x
	}
	if only != "" && !seen[only] {
		bad(only, "not in the commit info")
	}
	return st, ps
}

// walk compares a store as IAVL reads it with its raw records.
func (r *reader) walk(name string, v int64, want wl.StoreState) error {
	p := []byte("s/k:" + name + "/")
	all, root, err := records.Walk(func(k []byte) ([]byte, bool) {
		b, err := r.db.Get(append(bytes.Clone(p), k...))
		return b, err == nil && b != nil
	}, v)
	if err == nil && root.Kind == "missing" {
		err = errors.New("no root record")
	}
	if err != nil {
		return err
	}
	h, err := records.Verify(all)
	if err == nil && hex.EncodeToString(h) != want.Root {
		err = fmt.Errorf("root by the records is %x, by IAVL %s", h, want.Root)
	}
	return err
}

func appHash(ci *types.CommitInfo) (h string) {
	defer func() {
		if e := recover(); e != nil { // an empty store name
			h = fmt.Sprint(e)
		}
	}()
	return hex.EncodeToString(ci.Hash())
}

func (r *reader) store(name string, v int64) (st wl.StoreState, err error) {
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("panic: %v", e)
		}
	}()
	t := r.trees[name]
	if t == nil {
		t = iavl.NewMutableTree(wrapper.NewDBWrapper(dbm.NewPrefixDB(r.db, []byte("s/k:"+name+"/"))), 10_000, true, sdklog.NewNopLogger())
		r.trees[name] = t
	}
	im, err := t.GetImmutable(v)
	if err != nil {
		return st, err
	}
	d := wl.NewDigest()
	it, err := im.Iterator(nil, nil, true)
	if err != nil {
		return st, err
	}
	var last []byte
	for ; it.Valid(); it.Next() {
		if d.Keys > 0 && bytes.Compare(last, it.Key()) >= 0 {
			return st, fmt.Errorf("key %x follows %x", it.Key(), last)
		}
		last = bytes.Clone(it.Key())
		d.Add(it.Key(), it.Value())
	}
	if err := it.Error(); err != nil {
		return st, err
	}
	if err := it.Close(); err != nil {
		return st, err
	}
	h, n, err := rebuild(im)
	if err != nil {
		return st, err
	}
	if n != d.Keys || n != uint64(im.Size()) {
		return st, fmt.Errorf("%d leaves exported, %d pairs read, the root says %d", n, d.Keys, im.Size())
	}
	if got := im.Hash(); !bytes.Equal(got, h) {
		return st, fmt.Errorf("root of all nodes is %x, the root node says %x", h, got)
	}
	return wl.StoreState{Root: hex.EncodeToString(h), Keys: d.Keys, Bytes: d.Bytes, SHA256: d.Hex()}, nil
}

// rebuild computes the root hash from the exported nodes alone, for IAVL trusts the hash that a node carries.
func rebuild(im *iavl.ImmutableTree) (hash []byte, leaves uint64, err error) {
	ex, err := im.Export()
	if errors.Is(err, iavl.ErrNotInitalizedTree) || im.Size() == 0 {
		h := sha256.Sum256(nil)
		return h[:], 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	defer ex.Close()
	type sub struct {
		hash []byte
		size int64
	}
	var stack []sub
	for {
		n, err := ex.Next()
		if errors.Is(err, iavl.ErrorExportDone) {
			break
		} else if err != nil {
			return nil, 0, err
		}
		if n.Height == 0 {
			leaf := records.Node{Key: n.Key, Value: n.Value}
			stack = append(stack, sub{leaf.LeafHash(n.Version), 1})
			leaves++
			continue
		}
		if len(stack) < 2 {
			return nil, 0, errors.New("the export is not a tree")
		}
		l, r := stack[len(stack)-2], stack[len(stack)-1]
		s := sub{size: l.size + r.size}
		b := binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(nil, int64(n.Height)), s.size), n.Version)
		for _, c := range [][]byte{l.hash, r.hash} {
			b = append(binary.AppendUvarint(b, uint64(len(c))), c...)
		}
		h := sha256.Sum256(b)
		s.hash = h[:]
		stack = append(stack[:len(stack)-2], s)
	}
	if len(stack) != 1 {
		return nil, 0, errors.New("the export is not one tree")
	}
	return stack[0].hash, leaves, nil
}

// describe prints a line for each store: its root record, what pointers resolve to, ghosts.
func describe(db *dbm.GoLevelDB, version int64, only string) {
	ci, err := commitInfo(db, version)
	check(err)
	names := map[string]bool{}
	for _, s := range ci.StoreInfos {
		names[s.Name] = true
	}
	var sorted []string
	for n := range names {
		if only == "" || n == only {
			sorted = append(sorted, n)
		}
	}
	sort.Strings(sorted)
	vs, err := committed(db)
	check(err)
	for _, n := range sorted {
		p := []byte("s/k:" + n + "/")
		get := func(k []byte) ([]byte, bool) {
			v, err := db.DB().Get(append(bytes.Clone(p), k...), nil)
			return v, err == nil
		}
		nodes, root, err := records.Walk(get, version)
		line := fmt.Sprintf("%-14s (%d,1) %s", n, version, root.Kind)
		if len(nodes) > 0 {
			f := nodes[0]
			kind := "inner node"
			if f.Node.Height == 0 {
				kind = "leaf"
			}
			if root.Kind == "reference" {
				line += fmt.Sprintf(" to (%d,%d)", root.Ref.Version, root.Ref.Nonce)
				if f.Renamed {
					line += ", found at nonce 0"
				}
			}
			line += fmt.Sprintf("; %s, %d leaves", kind, f.Node.Size)
			var renamed, zero, one, legacy int
			for _, f := range nodes[1:] {
				if f.Renamed {
					renamed++
				} else if f.Legacy != nil {
					legacy++
				} else if f.Nonce == 0 {
					zero++
				} else if f.Nonce == 1 {
					one++
				}
			}
			if one > 0 {
				line += fmt.Sprintf("; %d children with nonce 1", one)
			}
			if zero > 0 {
				line += fmt.Sprintf("; %d pointers to nonce 0", zero)
			}
			if renamed > 0 {
				line += fmt.Sprintf("; %d pointers to nonce 1 found at nonce 0", renamed)
			}
			if legacy > 0 {
				line += fmt.Sprintf("; %d legacy children", legacy)
			}
		}
		if err != nil {
			line += "; " + err.Error()
		}
		// Versions whose root record exists: a contiguous run ends at the version, others are ghosts.
		have := map[int64]bool{}
		for _, v := range vs {
			if _, ok := get(records.Key(v, 1)); ok {
				have[v] = true
			}
		}
		first := version
		for have[first-1] {
			first--
		}
		line += fmt.Sprintf("; versions %d..%d", first, version)
		var ghosts []int64
		for _, v := range vs {
			if have[v] && v < first {
				ghosts = append(ghosts, v)
			}
		}
		if len(ghosts) > 0 {
			line += fmt.Sprintf("; ghost roots %v", ghosts)
		}
		fast := 0
		it := db.DB().NewIterator(util.BytesPrefix(append(bytes.Clone(p), 'f')), nil)
		for it.Next() {
			fast++
		}
		it.Release()
		sv, _ := get([]byte("mstorage_version"))
		fmt.Printf("%s; fast index %q %d\n", line, sv, fast)
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
