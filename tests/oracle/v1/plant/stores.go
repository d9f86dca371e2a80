package main

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"oracle/v1/internal/changes"
	"oracle/v1/internal/records"
)

// Faults between versions and stores: root records that lie, stores that are not where s/latest is, records that nothing needs.

var storeKinds = []kind{
	{name: "ghost-root", finding: "ghost-root", help: "the store is pruned further than the others, the root record of a pruned version left", sound: sound, tree: ghostRoot},
	{name: "torn-version", finding: "torn-version", help: "nodes of the version after s/latest in one store, without their root: a crash within its commit", sound: sound, tree: torn},
	{name: "stores-ahead", finding: "store-ahead", help: "the first stores by name are a whole version ahead of s/latest: a crash between their commits", sound: sound, database: storesAhead},
	{name: "store-behind", finding: "missing-root", help: "one store has nothing of the latest version, which the commit info names", tree: storeBehind},
	{name: "unreferenced-nodes", finding: "unreferenced-nodes", help: "nodes of an old version that nothing refers to, as an interrupted pruning leaves them", sound: sound, tree: unreferenced},
	{name: "deleted-store", finding: "deleted-store", help: "records of a store that no commit info of the latest version names", sound: sound, tree: deletedStore},
	{name: "stale-fast-index", finding: "stale-fast-index", help: "the fast index has a wrong value, lacks a key, has one too many, and is a version old", sound: sound, tree: staleFast},
}

func ghostRoot(j *job) error {
	if j.version != j.out.Latest {
		return unfit("not at version %d: ghost-root prunes up to an old one", j.version)
	}
	vs, err := j.versions()
	if err != nil {
		return err
	}
	ghost, roots := int64(0), map[int64]records.Root{}
	for i, v := range vs { // not the last two
		if roots[v], err = records.FindRoot(j.get, v); err != nil {
			return err
		}
		if roots[v].Kind == "legacy" {
			return unfit("store %s has legacy versions", j.store)
		}
		if i > 0 && i < len(vs)-1 && roots[v].Kind == "node" && roots[vs[i-1]].Kind == "node" && ghost == 0 {
			ghost = vs[i-1]
		}
	}
	if ghost == 0 || len(vs) < 4 {
		return unfit("store %s has no version to prune", j.store)
	}
	raw, ok := j.get(records.Key(ghost, 1))
	n, err := records.Decode(raw, false)
	if !ok || err != nil || n.Height == 0 {
		return unfit("store %s has no inner root at %d", j.store, ghost)
	}
	live := map[string]bool{}
	for _, v := range vs {
		if v <= ghost {
			continue
		}
		all, err := j.walk(v)
		if err != nil {
			return err
		}
		for _, f := range all {
			live[string(f.Key())] = true
		}
	}
	keys, values, err := j.raw()
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, k := range keys {
		if r, ok := records.ParseKey(k); ok && r.Version <= ghost && !live[string(k)] && (r.Version != ghost || r.Nonce != 1) {
			gone[string(k)] = true
		}
	}
	left, _, _ := j.resolve(n.Left)
	right, _, _ := j.resolve(n.Right)
	if !gone[string(left.Key())] && !gone[string(right.Key())] {
		return unfit("store %s: both children of the root of %d live on", j.store, ghost)
	}
	lost := len(gone)
	for k := range gone {
		if err := j.db.Delete(append(j.prefix(), k...)); err != nil {
			return err
		}
	}
	j.version = ghost
	j.noteStore()
	j.out.Node = &node{ID: id(records.Ref{Version: ghost, Nonce: 1}), Version: ghost, Nonce: 1, Height: n.Height, Size: n.Size, Key: hex.EncodeToString(n.Key)}
	j.out.Expect.Nodes = []string{j.out.Node.ID}
	for _, v := range vs {
		if v <= ghost {
			j.out.Expect.Versions = append(j.out.Expect.Versions, v)
		}
	}
	j.out.Go = "takes the version for one that can be read, and fails, or exports a smaller tree, when it is"
	j.out.Note = fmt.Sprintf("store pruned to version %d (%d records), its root record left; children of it are gone", ghost, lost)
	return j.differences(keys, values)
}

// saveNext saves one more version of the store with the IAVL code.
func (j *job) saveNext() (int64, error) {
	t, err := j.tree()
	if err != nil {
		return 0, err
	}
	if t.Version() != j.out.Latest {
		return 0, unfit("store %s is at version %d, s/latest is %d", j.store, t.Version(), j.out.Latest)
	}
	_, v, err := changes.SaveNext(t)
	return v, err
}

func storesAhead(j *job) error {
	names, err := j.stores(j.out.Latest)
	if err != nil {
		return err
	}
	if len(names) < 2 {
		return unfit("only one store")
	}
	n := 1 + j.r.Intn(len(names)-1)
	if j.store != "" {
		names, n = []string{j.store}, 1
	}
	for _, s := range names[:n] {
		j.store = s
		keys, values, err := j.raw()
		if err != nil {
			return err
		}
		if j.version, err = j.saveNext(); err != nil {
			return err
		}
		if err := j.differences(keys, values); err != nil {
			return err
		}
	}
	j.noteStore()
	j.out.Expect.Store, j.out.Expect.Stores = "", names[:n]
	j.out.Go = "loads s/latest, and takes the trees that are there when it commits the version again"
	j.out.Note = fmt.Sprintf("%d stores are ahead", n)
	return nil
}

func torn(j *job) error {
	keys, values, err := j.raw()
	if err != nil {
		return err
	}
	v, err := j.saveNext()
	if err != nil {
		return err
	}
	// The root comes last, and the fast index after it: both are undone.
	was := map[string][]byte{}
	for i, k := range keys {
		was[string(k)] = values[i]
	}
	now, _, err := j.raw()
	if err != nil {
		return err
	}
	count := 0
	for _, k := range now {
		r, ok := records.ParseKey(k)
		if ok && r.Version == v && r.Nonce != 1 {
			count++
			continue
		}
		if b, ok := was[string(k)]; ok {
			err = j.db.Set(append(j.prefix(), k...), b)
		} else {
			err = j.db.Delete(append(j.prefix(), k...))
		}
		if err != nil {
			return err
		}
	}
	for k, b := range was { // fast entries that were removed
		if err := j.db.Set(append(j.prefix(), k...), b); err != nil {
			return err
		}
	}
	if count == 0 {
		return fmt.Errorf("nothing but a root: choose another store")
	}
	j.version = v
	j.noteStore()
	j.out.Expect.Count = count
	j.out.Go = "takes the torn version for the tree's latest; s/latest can be loaded, the version after it cannot be saved"
	j.out.Note = "count is of the nodes"
	return j.differences(keys, values)
}

func storeBehind(j *job) error {
	if j.version != j.out.Latest {
		return unfit("of the latest version only")
	}
	keys, _, err := j.raw()
	if err != nil {
		return err
	}
	n := 0
	for _, k := range keys {
		if r, ok := records.ParseKey(k); ok && r.Version == j.version {
			if err := j.set(k, nil); err != nil {
				return err
			}
			n++
		}
	}
	if n == 0 {
		return unfit("store %s has no record of version %d", j.store, j.version)
	}
	j.noteStore()
	j.out.Expect.Versions = []int64{j.version}
	j.out.Expect.Nodes = []string{id(records.Ref{Version: j.version, Nonce: 1})}
	j.out.Go = "loading fails: the store has no such version"
	j.out.Note = "versions before it are whole in all stores"
	return nil
}

func unreferenced(j *job) error {
	vs, err := j.versions()
	if err != nil {
		return err
	}
	all, err := j.walk(j.version)
	if err != nil {
		return err
	}
	if len(vs) == 0 || vs[0] < 2 || len(all) == 0 {
		return unfit("store %s has every version since the first", j.store)
	}
	old := vs[0] - 1
	for i := 0; i < 5; i++ {
		k := records.Key(old, uint32(1000+i))
		v := records.Node{Size: 1, Key: []byte(fmt.Sprintf("left %d", i)), Value: []byte("behind")}.Encode()
		if err := j.set(k, v); err != nil {
			return err
		}
		j.out.Expect.Bytes += int64(len(j.prefix()) + len(k) + len(v))
		j.out.Expect.Nodes = append(j.out.Expect.Nodes, id(records.Ref{Version: old, Nonce: uint32(1000 + i)}))
	}
	j.noteStore()
	j.out.Expect.Count = 5
	j.out.Go = "nothing"
	j.out.Note = "the first version of the store that can be read is the next one"
	return nil
}

func deletedStore(j *job) error {
	keys, values, err := j.raw()
	if err != nil {
		return err
	}
	if len(keys) < 10 {
		return unfit("store %s has few records", j.store)
	}
	was := j.prefix()
	j.store = "old" + j.store
	for i, k := range keys {
		if k[0] == 'f' { // deleting a store empties its fast index
			continue
		}
		if err := j.db.Set(append(j.prefix(), k...), values[i]); err != nil {
			return err
		}
		j.out.Expect.Count++
		j.out.Expect.Bytes += int64(len(j.prefix()) + len(k) + len(values[i]))
	}
	last := records.Key(j.out.Latest, 1) // as the upgrade leaves it: an empty root
	b, ok := j.get(last)
	j.out.Expect.Bytes -= int64(len(b))
	if !ok { // the root of a legacy tree is another record
		j.out.Expect.Count++
		j.out.Expect.Bytes += int64(len(j.prefix()) + len(last))
	}
	if err := j.set(last, []byte{}); err != nil {
		return err
	}
	j.noteStore()
	j.out.Expect.Versions = []int64{}
	j.out.Go = "nothing: it mounts the stores that it is told"
	j.out.Note = fmt.Sprintf("all records of %s but its fast index, under another name; count and bytes are of these", was)
	return nil
}

func staleFast(j *job) error {
	if j.version != j.out.Latest {
		return unfit("of the latest version only")
	}
	keys, values, err := j.raw()
	if err != nil {
		return err
	}
	var fast []int
	for i, k := range keys {
		if k[0] == 'f' {
			fast = append(fast, i)
		}
	}
	if len(fast) < 3 {
		return unfit("store %s has %d fast entries", j.store, len(fast))
	}
	one, two := fast[len(fast)/3], fast[2*len(fast)/3]
	wrong := bytes.Clone(values[one])
	if wrong[len(wrong)-1] ^= 1; len(wrong) < 3 { // version and an empty value
		wrong = append(wrong[:len(wrong)-1], 1, 'x')
	}
	if err := j.set(keys[one], wrong); err != nil {
		return err
	}
	if err := j.set(keys[two], nil); err != nil {
		return err
	}
	if err := j.set([]byte("fno such key"), []byte{2, 1, 'x'}); err != nil {
		return err
	}
	j.noteStore()
	j.out.Expect.Count = 3
	j.out.Go = "makes the index anew when it loads the store, unless it is told to do without"
	j.out.Note = "the tree is right; count is of the wrong entries"
	return j.set([]byte("mstorage_version"), []byte(fmt.Sprintf("1.1.0-%d", j.out.Latest-1)))
}
