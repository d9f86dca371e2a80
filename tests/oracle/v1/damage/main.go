// damage copies a store/v1 database (goleveldb) and plants one fault in the copy. It owns the list of
// faults that a migration must notice, or must not be misled by, and says as JSON on standard
// output exactly what it changed.
//
//	damage -from application.db -to NEW/application.db -what NAME [-kind K] [-store S] [-version V] [-node N] [-pick I] [-name S]
//	damage -list
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"sort"
	"strings"

	sdklog "cosmossdk.io/log"
	"cosmossdk.io/store/metrics"
	"cosmossdk.io/store/rootmulti"
	"cosmossdk.io/store/types"
	"cosmossdk.io/store/wrapper"
	dbm "github.com/cosmos/cosmos-db"
	gogotypes "github.com/cosmos/gogoproto/types"
	"github.com/cosmos/iavl"
	"github.com/syndtr/goleveldb/leveldb/util"

	"oracle/v1/internal/changes"
	"oracle/v1/internal/records"
	"oracle/v1/internal/v1"
)

const maxShown = 2048

// node is the node a fault was planted in.
type node struct {
	Version int64  `json:"version"`
	Nonce   uint32 `json:"nonce"`
	Height  int64  `json:"height"`
	Size    int64  `json:"size"`
	Key     string `json:"key"` // smallest key on the right, or the key of the leaf; hex
	Depth   int    `json:"depth"`
}

type place struct {
	File        string `json:"file"`
	BlockOffset uint64 `json:"block_offset"`
	BlockSize   uint64 `json:"block_size"` // without the trailer of 5 bytes
	Compression byte   `json:"compression"`
	Offset      uint64 `json:"offset"`
	Was         byte   `json:"was"`
	Now         byte   `json:"now"`
	CRCMended   bool   `json:"crc_mended"`
}

type planted struct {
	Damage  string           `json:"damage"`
	Kind    string           `json:"kind,omitempty"`
	Latest  int64            `json:"latest_version"` // s/latest before the damage
	Store   string           `json:"store,omitempty"`
	Version int64            `json:"version,omitempty"` // the version whose tree or record was chosen
	Node    *node            `json:"node,omitempty"`
	Changes []changes.Change `json:"changes"`
	Count   int              `json:"change_count"`
	Place   *place           `json:"place,omitempty"`
	Note    string           `json:"note"`
}

type job struct {
	db                *dbm.GoLevelDB
	dir               string
	store, kind, name string
	node              string
	pick              int
	version           int64
	out               planted
}

var faults = []struct {
	name, help string
	plant      func(j *job) error
}{
	{"missing-node", "delete the record of one node of the tree; -node inner (default), leaf or root", missingNode},
	{"wrong-inner-key", "another key in an inner node: no hash covers it", wrongInnerKey},
	{"wrong-value", "another value in a leaf; -kind length makes it longer", wrongValue},
	{"wrong-hash", "another stored hash in an inner node", wrongHash},
	{"wrong-size", "size of an inner node plus one; its stored hash stays", wrongSize},
	{"swap-children", "the pointers of an inner node over two leaves exchanged", swapChildren},
	{"torn-newest", "new nodes of the version after the latest in one store, their root missing", tornNewest},
	{"ahead", "one store saved completely at the version after the latest", ahead},
	{"ghost-root", "one store pruned, the root record of a pruned version left", ghostRoot},
	{"legacy-node", "-kind child (default): a leaf as legacy record, its parent with mode bit; root: an 'r' record; node: an unreferenced 'n' record; orphan: an 'o' record", legacyNode},
	{"stale-fast", "fast index with a wrong, a missing and a superfluous entry, storage_version one version behind; -kind fresh leaves storage_version right", staleFast},
	{"hostile-names", "a copy of a store under another name in the commit info; -kind prefix (default: name+\"s\"), slash, memory, empty, path, duplicate, or any -name", hostileNames},
	{"rolled-back", "-kind pointer (default): s/latest is -version (default two before), nothing else; real: rootmulti.RollbackToVersion", rolledBack},
	{"missing-commit-info", "delete s/<version>", missingCommitInfo},
	{"wrong-commit-hash", "another root hash for a store in s/<version>", wrongCommitHash},
	{"bad-snappy-byte", "flip one byte of the table block that has the chosen node; with the block's checksum computed anew: -kind mended, the record is silently another, or undecodable, the block cannot be decompressed", badSnappyByte},
	{"torn-log", "the newest write-ahead log cut in the middle of its last record", tornLog},
}

func main() {
	log.SetFlags(0)
	var j job
	from := flag.String("from", "", "database to copy, a goleveldb directory NAME.db")
	to := flag.String("to", "", "copy to make, a directory NAME.db that is not there yet")
	what := flag.String("what", "", "fault, see -list")
	list := flag.Bool("list", false, "list the faults")
	flag.StringVar(&j.store, "store", "", "store to damage (default: the one with most keys)")
	flag.StringVar(&j.kind, "kind", "", "variant of the fault")
	flag.StringVar(&j.name, "name", "", "hostile-names: this name")
	flag.StringVar(&j.node, "node", "", "inner, leaf or root")
	flag.IntVar(&j.pick, "pick", -1, "which of the nodes that fit, in pre-order (default: the middle one)")
	flag.Int64Var(&j.version, "version", 0, "version of the tree or record (default: the latest)")
	flag.Parse()
	if *list {
		for _, f := range faults {
			fmt.Printf("%-20s %s\n", f.name, f.help)
		}
		return
	}
	if _, err := os.Stat(*to); err == nil || *to == "" || *from == "" {
		log.Fatal("-from is needed, and a -to that is not there yet")
	}
	for _, f := range faults {
		if f.name == *what {
			check(os.MkdirAll(filepath.Dir(filepath.Clean(*to)), 0o755))
			check(copyDB(*from, *to))
			check(j.run(*to, f.name, f.plant))
			return
		}
	}
	log.Fatalf("no fault %q, see -list", *what)
}

// droppings are files that goleveldb makes anew.
var droppings = []string{"LOG", "LOG.old", "LOCK", "CURRENT.bak"}

func copyDB(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error { // checked-out files may be read-only
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(p, 0o644)
	})
}

func (j *job) run(dir, name string, plant func(j *job) error) error {
	j.dir = filepath.Clean(dir)
	j.out = planted{Damage: name, Kind: j.kind, Changes: []changes.Change{}}
	if err := j.open(); err != nil {
		return err
	}
	j.out.Latest = rootmulti.GetLatestVersion(j.db)
	if j.version == 0 {
		j.version = j.out.Latest
	}
	if j.store == "" {
		j.store = j.largest()
	}
	if err := plant(j); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if j.db != nil {
		if err := j.db.Close(); err != nil {
			return err
		}
	}
	for _, n := range droppings {
		if err := os.Remove(filepath.Join(j.dir, n)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	j.out.Count = len(j.out.Changes)
	if len(j.out.Changes) > 200 {
		j.out.Changes = j.out.Changes[:200]
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(j.out)
}

func (j *job) open() error {
	name, ok := strings.CutSuffix(filepath.Base(j.dir), ".db")
	if !ok {
		return fmt.Errorf("%s: the name must end in .db", j.dir)
	}
	db, err := dbm.NewGoLevelDB(name, filepath.Dir(j.dir), nil)
	j.db = db
	return err
}

// ---- records

func (j *job) prefix(store string) []byte { return []byte("s/k:" + store + "/") }

func (j *job) get(key []byte) ([]byte, bool) {
	v, err := j.db.DB().Get(append(j.prefix(j.store), key...), nil)
	return v, err == nil
}

// put writes (nil deletes) a whole database key and notes it.
func (j *job) put(key, value []byte) error {
	was, err := j.db.DB().Get(key, nil)
	if err != nil {
		was = nil
	}
	j.out.Changes = append(j.out.Changes, changes.Of(key, was, value, maxShown))
	if value == nil {
		return j.db.DB().Delete(key, nil)
	}
	return j.db.DB().Put(key, value, nil)
}

// set is put for a key of the store.
func (j *job) set(key, value []byte) error { return j.put(append(j.prefix(j.store), key...), value) }

func (j *job) commitInfo(v int64) (*types.CommitInfo, error) {
	return rootmulti.NewStore(j.db, sdklog.NewNopLogger(), metrics.NewNoOpMetrics()).GetCommitInfo(v)
}

func (j *job) putCommitInfo(ci *types.CommitInfo) error {
	b, err := ci.Marshal()
	if err != nil {
		return err
	}
	return j.put([]byte(fmt.Sprintf("s/%d", ci.Version)), b)
}

func (j *job) names(v int64) (out []string) {
	ci, err := j.commitInfo(v)
	check(err)
	for _, s := range ci.StoreInfos {
		if s.CommitId.Version > 0 {
			out = append(out, s.Name)
		}
	}
	sort.Strings(out)
	return out
}

func (j *job) largest() (best string) {
	keep, most := j.store, int64(-1)
	for _, n := range j.names(j.version) {
		j.store = n
		size := int64(0)
		if root, err := records.FindRoot(j.get, j.version); err == nil && root.Kind != "missing" && root.Kind != "empty" {
			v, ok := j.get(root.Ref.Key())
			if !ok && root.Ref.Nonce == 1 {
				v, _ = j.get(records.Key(root.Ref.Version, 0))
			}
			if n, err := records.Decode(v, root.Ref.Legacy != nil); err == nil {
				size = n.Size
			}
		}
		if size > most {
			best, most = n, size
		}
	}
	j.store = keep
	return best
}

// choose picks a node of the tree at the version.
func (j *job) choose(fits func(all []records.Found, i int) bool) (records.Found, error) {
	all, _, err := records.Walk(j.get, j.version)
	if err != nil {
		return records.Found{}, err
	}
	var which []int
	for i, f := range all {
		if f.Legacy == nil && fits(all, i) {
			which = append(which, i)
		}
	}
	if j.pick >= len(which) || len(which) == 0 {
		return records.Found{}, fmt.Errorf("store %s at version %d has %d nodes that fit", j.store, j.version, len(which))
	}
	i := j.pick
	if i < 0 {
		i = len(which) / 2
	}
	f := all[which[i]]
	j.note(f)
	return f, nil
}

func (j *job) note(f records.Found) {
	j.out.Store, j.out.Version = j.store, j.version
	j.out.Node = &node{f.Version, f.Nonce, f.Node.Height, f.Node.Size, hex.EncodeToString(f.Node.Key), f.Depth}
}

func (j *job) byNode(def string) func(all []records.Found, i int) bool {
	want := j.node // "inner!" is an inner node or the root
	if want == "" {
		want = strings.TrimSuffix(def, "!")
	}
	return func(all []records.Found, i int) bool {
		switch want {
		case "root":
			return i == 0
		case "leaf":
			return all[i].Node.Height == 0
		case "inner":
			return all[i].Node.Height > 0 && (i > 0 || def == "inner!")
		}
		log.Fatalf("no node %q: inner, leaf or root", want)
		return false
	}
}

// tree opens the store with the IAVL code, with the fast index if the store has one.
func (j *job) tree() (*iavl.MutableTree, error) {
	_, fast := j.get([]byte("mstorage_version"))
	t := iavl.NewMutableTree(wrapper.NewDBWrapper(dbm.NewPrefixDB(j.db, j.prefix(j.store))), 10_000, !fast, sdklog.NewNopLogger())
	_, err := t.Load()
	return t, err
}

// raw gives all records of the store.
func (j *job) raw() (map[string][]byte, error) {
	m := map[string][]byte{}
	p := j.prefix(j.store)
	it := j.db.DB().NewIterator(util.BytesPrefix(p), nil)
	defer it.Release()
	for it.Next() {
		m[string(it.Key()[len(p):])] = bytes.Clone(it.Value())
	}
	return m, it.Error()
}

// differences notes what changed in the store since raw was taken.
func (j *job) differences(was map[string][]byte) error {
	now, err := j.raw()
	if err != nil {
		return err
	}
	j.out.Changes = append(j.out.Changes, changes.Between(j.prefix(j.store), was, now, maxShown)...)
	return nil
}

// ---- faults

func missingNode(j *job) error {
	f, err := j.choose(j.byNode("inner"))
	if err != nil {
		return err
	}
	j.out.Note = "a record of the tree is missing; an exporter that drops read errors takes the rest for a smaller tree"
	return j.set(f.Key(), nil)
}

func wrongInnerKey(j *job) error {
	f, err := j.choose(j.byNode("inner!"))
	if err != nil {
		return err
	}
	n := f.Node
	n.Key = append(bytes.Clone(n.Key), 0) // greater than the smallest key on the right
	j.out.Note = "all hashes are right; the leftmost leaf on the right of this node is not found by its key any more"
	return j.set(f.Key(), n.Encode())
}

func wrongValue(j *job) error {
	f, err := j.choose(func(all []records.Found, i int) bool {
		return all[i].Node.Height == 0 && (j.kind == "length" || len(all[i].Node.Value) > 0)
	})
	if err != nil {
		return err
	}
	n := f.Node
	if n.Value = bytes.Clone(n.Value); j.kind == "length" {
		n.Value = append(n.Value, 'x')
	} else {
		n.Value[len(n.Value)/2] ^= 1
	}
	j.out.Note = "no leaf stores its hash: only the hash that its parent was made with tells"
	return j.set(f.Key(), n.Encode())
}

func wrongHash(j *job) error {
	f, err := j.choose(j.byNode("inner!"))
	if err != nil {
		return err
	}
	n := f.Node
	n.Hash = bytes.Clone(n.Hash)
	n.Hash[7] ^= 1
	j.out.Note = "the stored hash is not that of the node's children"
	return j.set(f.Key(), n.Encode())
}

func wrongSize(j *job) error {
	f, err := j.choose(j.byNode("inner!"))
	if err != nil {
		return err
	}
	n := f.Node
	n.Size++
	j.out.Note = "the size is in the hash, which was left: it differs from what is computed, and from the sizes of the children"
	return j.set(f.Key(), n.Encode())
}

func swapChildren(j *job) error {
	f, err := j.choose(func(all []records.Found, i int) bool {
		return all[i].Node.Height == 1 && all[i].Node.Mode == 0
	})
	if err != nil {
		return err
	}
	n := f.Node
	n.Left, n.Right = n.Right, n.Left
	j.out.Note = "two leaves in the wrong order; the stored hash was left"
	return j.set(f.Key(), n.Encode())
}

// saveNext saves one more version of the store with the IAVL code.
func (j *job) saveNext() (int64, error) {
	t, err := j.tree()
	if err != nil {
		return 0, err
	}
	if t.Version() != j.out.Latest {
		return 0, fmt.Errorf("store %s is at version %d, s/latest is %d", j.store, t.Version(), j.out.Latest)
	}
	h, v, err := changes.SaveNext(t)
	if err != nil {
		return 0, err
	}
	j.out.Note = fmt.Sprintf("root of version %d: %x", v, h)
	return v, nil
}

func ahead(j *job) error {
	was, err := j.raw()
	if err != nil {
		return err
	}
	v, err := j.saveNext()
	if err != nil {
		return err
	}
	j.out.Store, j.out.Version = j.store, v
	j.out.Note = "a crash between the commits of the stores: this one is a version ahead of s/latest; " + j.out.Note
	return j.differences(was)
}

func tornNewest(j *job) error {
	was, err := j.raw()
	if err != nil {
		return err
	}
	v, err := j.saveNext()
	if err != nil {
		return err
	}
	// A crash within the commit of a store leaves the nodes that were flushed: never the root,
	// which comes last, and nothing of the fast index, which comes after it.
	now, err := j.raw()
	if err != nil {
		return err
	}
	for k := range now {
		if r, ok := records.ParseKey([]byte(k)); ok && (r.Version != v || r.Nonce != 1) {
			continue
		}
		b, ok := was[k]
		full := append(j.prefix(j.store), k...)
		if !ok {
			err = j.db.DB().Delete(full, nil)
		} else if !bytes.Equal(b, now[k]) {
			err = j.db.DB().Put(full, b, nil)
		}
		if err != nil {
			return err
		}
	}
	for k, b := range was { // fast entries that were removed
		if _, ok := now[k]; !ok {
			if err := j.db.DB().Put(append(j.prefix(j.store), k...), b, nil); err != nil {
				return err
			}
		}
	}
	j.out.Store, j.out.Version = j.store, v
	j.out.Note = "a crash within the commit of this store: nodes of the version, but no root"
	return j.differences(was)
}

func ghostRoot(j *job) error {
	was, err := j.raw()
	if err != nil {
		return err
	}
	has := func(v int64) bool { _, ok := was[string(records.Key(v, 1))]; return ok }
	first := j.version
	for has(first - 1) {
		first--
	}
	// A version whose root, an inner node, is replaced in the next one.
	ghost := int64(0)
	for v := first; v <= j.out.Latest-2; v++ {
		a, err := records.FindRoot(j.get, v)
		if err != nil {
			return err
		}
		b, err := records.FindRoot(j.get, v+1)
		if err != nil {
			return err
		}
		n, bad := records.Decode(was[string(records.Key(v, 1))], false)
		if a.Kind == "node" && b.Kind == "node" && bad == nil && n.Height > 0 {
			ghost = v
			break
		}
	}
	if ghost == 0 {
		return fmt.Errorf("store %s has no version to prune", j.store)
	}
	// Prune up to it as IAVL does, but for its root record.
	live := map[string]bool{}
	for v := ghost + 1; v <= j.out.Latest; v++ {
		all, _, err := records.Walk(j.get, v)
		if err != nil {
			return err
		}
		for _, f := range all {
			live[string(f.Key())] = true
		}
	}
	lost := 0
	for k := range was {
		r, ok := records.ParseKey([]byte(k))
		if !ok || r.Version > ghost || live[k] || (r.Version == ghost && r.Nonce == 1) {
			continue
		}
		if err := j.db.DB().Delete(append(j.prefix(j.store), k...), nil); err != nil {
			return err
		}
		lost++
	}
	n, err := records.Decode(was[string(records.Key(ghost, 1))], false)
	if err != nil {
		return err
	}
	missing := []string{}
	for _, c := range []records.Ref{n.Left, n.Right} {
		if _, ok := j.get(c.Key()); !ok {
			missing = append(missing, fmt.Sprintf("(%d,%d)", c.Version, c.Nonce))
		}
	}
	j.out.Store, j.out.Version = j.store, ghost
	j.out.Node = &node{ghost, 1, n.Height, n.Size, hex.EncodeToString(n.Key), 0}
	j.out.Note = fmt.Sprintf("store pruned to version %d (%d records), the root record (%d,1) left; its children %v are gone", ghost, lost, ghost, missing)
	return j.differences(was)
}

func legacyNode(j *job) error {
	switch j.kind {
	case "", "child":
		j.out.Kind = "child"
		f, err := j.choose(func(all []records.Found, i int) bool {
			return all[i].Node.Height > 0 && all[i].Node.Mode == 0 && i+1 < len(all) && all[i+1].Node.Height == 0 && all[i+1].Parent == i
		})
		if err != nil {
			return err
		}
		leafValue, ok := j.get(f.Node.Left.Key())
		if !ok {
			return fmt.Errorf("leaf %x is not there", f.Node.Left.Key())
		}
		leaf, err := records.Decode(leafValue, false)
		if err != nil {
			return err
		}
		h := leaf.LeafHash(f.Node.Left.Version)
		if err := j.set(append([]byte{'n'}, h...), leaf.EncodeLegacyLeaf(f.Node.Left.Version)); err != nil {
			return err
		}
		n := f.Node
		n.Mode, n.Left = 1, records.Ref{Legacy: h}
		j.out.Note = "a tree that is right in every hash; the left child of this node is a legacy record, read by its hash"
		return j.set(f.Key(), n.Encode())
	case "root", "node", "orphan":
		f, err := j.choose(j.byNode("leaf"))
		if err != nil {
			return err
		}
		h := f.Node.LeafHash(f.Version)
		switch j.kind {
		case "node":
			j.out.Note = "a legacy node that nothing refers to"
			return j.set(append([]byte{'n'}, h...), f.Node.EncodeLegacyLeaf(f.Version))
		case "orphan":
			k := append([]byte{'o'}, records.Key(j.out.Latest-1, 0)[1:9]...)
			j.out.Note = "an orphan record, as IAVL v0 left them"
			return j.set(append(append(k, records.Key(f.Version, 0)[1:9]...), h...), h)
		}
		j.out.Note = "a legacy root at version 1 with its node: IAVL takes versions from it"
		if err := j.set(append([]byte{'n'}, h...), f.Node.EncodeLegacyLeaf(f.Version)); err != nil {
			return err
		}
		return j.set(append([]byte{'r'}, records.Key(1, 0)[1:9]...), h)
	}
	return fmt.Errorf("no kind %q", j.kind)
}

func staleFast(j *job) error {
	it := j.db.DB().NewIterator(util.BytesPrefix(append(j.prefix(j.store), 'f')), nil)
	var keys, values [][]byte
	for it.Next() {
		keys, values = append(keys, bytes.Clone(it.Key())), append(values, bytes.Clone(it.Value()))
	}
	it.Release()
	if len(keys) < 3 {
		return fmt.Errorf("store %s has %d fast entries", j.store, len(keys))
	}
	j.out.Store, j.out.Version = j.store, j.out.Latest
	i := len(keys) / 3
	wrong := bytes.Clone(values[i])
	wrong[len(wrong)-1] ^= 1
	if len(wrong) < 3 { // version and an empty value
		wrong = append(wrong[:len(wrong)-1], 1, 'x')
	}
	if err := j.put(keys[i], wrong); err != nil {
		return err
	}
	if err := j.put(keys[2*i], nil); err != nil {
		return err
	}
	if err := j.set([]byte("fno such key"), []byte{2, 1, 'x'}); err != nil {
		return err
	}
	j.out.Note = "the fast index has a wrong value, lacks a key and has one too many; the tree is right"
	if j.kind == "fresh" {
		return nil
	}
	return j.set([]byte("mstorage_version"), []byte(fmt.Sprintf("1.1.0-%d", j.out.Latest-1)))
}

func hostileNames(j *job) error {
	ci, err := j.commitInfo(j.version)
	if err != nil {
		return err
	}
	name := j.name
	if name == "" {
		switch j.kind {
		case "", "prefix":
			j.out.Kind, name = "prefix", j.store+"s"
		case "slash":
			name = j.store + "/s"
		case "memory":
			name = "memory:x"
		case "empty":
			name = ""
		case "path":
			name = "../" + j.store
		case "duplicate":
			name = j.store
		default:
			return fmt.Errorf("no kind %q", j.kind)
		}
	} else {
		j.out.Kind = "name"
	}
	info := types.StoreInfo{}
	for _, s := range ci.StoreInfos {
		if s.Name == j.store {
			info = s
		}
	}
	info.Name = name
	n := 0
	if name != j.store {
		was, err := j.raw()
		if err != nil {
			return err
		}
		for k, v := range was {
			if err := j.db.DB().Put(append(j.prefix(name), k...), v, nil); err != nil {
				return err
			}
			n++
		}
	}
	ci.StoreInfos = append(ci.StoreInfos, info)
	sort.SliceStable(ci.StoreInfos, func(a, b int) bool { return ci.StoreInfos[a].Name < ci.StoreInfos[b].Name })
	j.out.Store, j.out.Version = name, j.version
	j.out.Note = fmt.Sprintf("store %q, a copy of %s (%d records), is in the commit info; app hash %s", name, j.store, n, hashOf(ci))
	return j.putCommitInfo(ci)
}

func hashOf(ci *types.CommitInfo) (h string) {
	defer func() {
		if e := recover(); e != nil {
			h = fmt.Sprintf("not computable: %v", e)
		}
	}()
	return hex.EncodeToString(ci.Hash())
}

func rolledBack(j *job) error {
	if j.version == j.out.Latest {
		j.version -= 2
	}
	j.out.Version = j.version
	switch j.kind {
	case "", "pointer":
		j.out.Kind = "pointer"
		b, err := gogotypes.StdInt64Marshal(j.version)
		if err != nil {
			return err
		}
		j.out.Note = "s/latest is older than the trees and the commit infos"
		return j.put([]byte("s/latest"), b)
	case "real":
		names := j.names(j.out.Latest)
		d, err := v1.Open(j.db, names, v1.Options{})
		if err != nil {
			return err
		}
		if err := d.RS.RollbackToVersion(j.version); err != nil {
			return err
		}
		j.out.Note = "rolled back by rootmulti: newer nodes are gone, newer commit infos are left"
		return nil
	}
	return fmt.Errorf("no kind %q", j.kind)
}

func missingCommitInfo(j *job) error {
	j.out.Version = j.version
	j.out.Note = "no record of which stores the version has, nor of its hashes"
	return j.put([]byte(fmt.Sprintf("s/%d", j.version)), nil)
}

func wrongCommitHash(j *job) error {
	ci, err := j.commitInfo(j.version)
	if err != nil {
		return err
	}
	for i, s := range ci.StoreInfos {
		if s.Name == j.store {
			h := bytes.Clone(s.CommitId.Hash)
			h[3] ^= 1
			ci.StoreInfos[i].CommitId.Hash = h
		}
	}
	j.out.Store, j.out.Version = j.store, j.version
	j.out.Note = "the commit info names another root than the tree has; app hash by it " + hashOf(ci)
	return j.putCommitInfo(ci)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
