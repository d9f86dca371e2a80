// noncelab asks IAVL whether the nonces of a state commitment may be other than those of its importer.
//
//	noncelab write -from application.db -to sc.db -numbering ordinal   write a state commitment
//	noncelab age -from sc.db -to sc2.db -numbering go                  eight versions more, most stores idle in the end, and written anew
//	noncelab live -sc sc.db -live changesets.bin [-strict]             commit, prune, roll back, export and prove on copies of it
//	noncelab lab [part of a run's name]                                 IAVL alone, on made-up stores, in memory
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash"
	"io"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	corestore "cosmossdk.io/core/store"
	"cosmossdk.io/store/v2/commitment"
	sciavl "cosmossdk.io/store/v2/commitment/iavl"
	"cosmossdk.io/store/v2/db"
	"cosmossdk.io/store/v2/proof"
	snapshotstypes "cosmossdk.io/store/v2/snapshots/types"
	gogoproto "github.com/cosmos/gogoproto/proto"
	"github.com/cosmos/iavl"

	"oracle/v2/internal/v2"
	"oracle/wl"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("write, age, live or lab?")
	}
	f := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	from := f.String("from", "", "store/v1 database")
	to := f.String("to", "", "state commitment to write")
	num := f.String("numbering", "ordinal", "ordinal, rootone, allref, hi31 or hi32")
	sc := f.String("sc", "", "state commitment to try")
	changes := f.String("live", "", "changesets.bin")
	wait := f.Duration("wait", time.Second, "time that pruning in the background gets")
	strict := f.Bool("strict", false, "live: exit with 1 if anything can be opened below H, is left over or missing, or was logged as an error")
	must(f.Parse(os.Args[2:]))
	switch os.Args[1] {
	case "write":
		write(*from, *to, *num)
	case "age":
		age(*from, *to, *num)
	case "live":
		if trouble := tryLive(*sc, *changes, *wait); *strict && len(trouble) > 0 {
			fmt.Println("FAIL:", strings.Join(trouble, "; "))
			os.Exit(1)
		}
	case "lab":
		if !lab(f.Arg(0)) {
			os.Exit(1)
		}
	default:
		log.Fatal("write, age, live or lab?")
	}
}

func write(from, to, name string) {
	num, ok := numberings[name]
	if !ok {
		log.Fatalf("no numbering %q", name)
	}
	src, err := v2.OpenSource("goleveldb", from)
	must(err)
	v1, err := v2.OpenV1(src, 0)
	must(err)
	w := newWriter(to, name, num, v1.Version)
	for _, n := range v1.Names {
		t := iavl.NewMutableTree(db.NewPrefixDB(src, []byte("s/k:"+n+"/")), 100_000, true, v2.Nop{})
		nodes, err := export(t, int64(v1.Version))
		must(err)
		if h := w.store(n, nodes); !bytes.Equal(h, v1.Hashes[n]) {
			log.Fatalf("store %s: root %x, v1 has %x", n, h, v1.Hashes[n])
		}
		must(t.Close())
	}
	must(src.Close())
	w.close()
}

// A writer writes a state commitment.
type writer struct {
	name string
	num  numbering
	kv   corestore.KVStoreWithBatch
	ci   proof.CommitInfo
}

func newWriter(to, name string, num numbering, height uint64) *writer {
	if _, err := os.Stat(to); err == nil {
		log.Fatalf("%s exists", to)
	}
	must(os.MkdirAll(filepath.Dir(to), 0o755))
	kv, err := v2.OpenKV("goleveldb", to, false)
	must(err)
	return &writer{name: name, num: num, kv: kv, ci: proof.CommitInfo{Version: height}}
}

func (w *writer) store(n string, nodes []*iavl.ExportNode) (hash []byte) {
	kind := "empty"
	if len(nodes) > 0 {
		r := nodes[len(nodes)-1].Version
		kind = fmt.Sprintf("root of version %d (H%+d)", r, r-int64(w.ci.Version))
	}
	fmt.Printf("  %-18s %8d nodes, %s\n", n, len(nodes), kind)
	if w.name == "go" {
		t := iavl.NewMutableTree(db.NewPrefixDB(w.kv, []byte(n)), 100_000, true, v2.Nop{})
		im, err := t.Import(int64(w.ci.Version))
		must(err)
		for _, x := range nodes {
			must(im.Add(x))
		}
		must(im.Commit())
		hash = t.Hash()
		must(t.Close())
	} else {
		b := w.kv.NewBatch()
		c := 0
		var err error
		hash, err = writeStore(nodes, int64(w.ci.Version), w.num, func(k, v []byte) error {
			if c++; c%10_000 == 0 {
				if err := b.Write(); err != nil {
					return err
				}
				must(b.Close())
				b = w.kv.NewBatch()
			}
			return b.Set(append([]byte(n), k...), v)
		})
		must(err)
		must(b.WriteSync())
		must(b.Close())
	}
	w.ci.StoreInfos = append(w.ci.StoreInfos, proof.StoreInfo{Name: []byte(n), CommitID: proof.CommitID{Version: w.ci.Version, Hash: hash}})
	return hash
}

func (w *writer) close() {
	v, err := w.ci.Marshal()
	must(err)
	b := w.kv.NewBatch()
	must(b.Set([]byte(fmt.Sprintf("c/%d", w.ci.Version)), v))
	must(b.Set([]byte("c/latest"), binary.AppendUvarint(nil, w.ci.Version)))
	must(b.WriteSync())
	must(b.Close())
	must(w.kv.Close())
	fmt.Printf("wrote %s numbering at height %d, commit hash %x\n", w.name, w.ci.Version, w.ci.Hash())
}

// age commits eight versions on a copy: store i (by name) is last changed in version 8-i of them,
// the store after the last of these becomes a single leaf.
func age(from, to, name string) {
	num, ok := numberings[name]
	if !ok && name != "go" {
		log.Fatalf("no numbering %q", name)
	}
	o, path := openCopy(from, 0)
	defer os.RemoveAll(filepath.Dir(path))
	r := rand.New(rand.NewSource(5))
	for v := uint64(1); v <= 8; v++ {
		c := corestore.NewChangeset(o.h + v)
		for i, n := range o.names {
			if n == wl.EmptyStore || v > uint64(8-i%8) {
				continue
			}
			x := corestore.StateChanges{Actor: []byte(n)}
			if i == 1 && v == 5 { // all but one key go
				it, err := o.sc.Iterator([]byte(n), o.h+v-1, nil, nil)
				must(err)
				for it.Next(); it.Valid(); it.Next() {
					x.StateChanges = append(x.StateChanges, corestore.KVPair{Key: bytes.Clone(it.Key()), Remove: true})
				}
				must(it.Close())
			} else if i != 1 || v < 5 {
				for j := 0; j < 10; j++ {
					x.StateChanges = append(x.StateChanges, corestore.KVPair{Key: []byte(fmt.Sprintf("aged %d %d", j, r.Intn(100))), Value: val(r)})
				}
			}
			c.Changes = append(c.Changes, x)
		}
		o.commit(c)
	}
	w := newWriter(to, name, num, o.h+8)
	for _, n := range o.names {
		ex, err := o.its[n].Export(o.h + 8)
		must(err)
		var nodes []*iavl.ExportNode
		for {
			x, err := ex.Next()
			if err == commitment.ErrorExportDone {
				break
			}
			must(err)
			e := &iavl.ExportNode{Key: x.Key, Value: x.Value, Version: x.Version, Height: int8(x.Height)}
			nodes = append(nodes, e)
		}
		ex.Close()
		if h := w.store(n, nodes); !bytes.Equal(h, o.its[n].Hash()) {
			log.Fatalf("store %s: root %x, want %x", n, h, o.its[n].Hash())
		}
	}
	o.close()
	w.close()
}

// errLog keeps what is logged as an error, for pruning in the background tells nothing else.
type errLog struct {
	v2.Nop
	mu   *sync.Mutex
	seen map[string]int
}

func (l errLog) Error(msg string, kv ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[msg+" "+fmt.Sprint(kv...)]++
}

type opened struct {
	kv    corestore.KVStoreWithBatch
	sc    *commitment.CommitStore
	its   map[string]*sciavl.IavlTree
	names []string
	log   errLog
	h     uint64
}

func openCopy(dir string, version uint64) (*opened, string) {
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(dir)), "lab")
	must(err)
	path := filepath.Join(tmp, "sc.db")
	must(os.CopyFS(path, os.DirFS(dir)))
	return openDir(path, version), path
}

func openDir(path string, version uint64) *opened {
	kv, err := v2.OpenKV("goleveldb", path, false)
	must(err)
	ci, names, err := v2.Stores(kv, version)
	must(err)
	o := &opened{kv: kv, names: names, its: map[string]*sciavl.IavlTree{}, log: errLog{mu: &sync.Mutex{}, seen: map[string]int{}}, h: ci.Version}
	trees := map[string]commitment.Tree{}
	for _, n := range names {
		t := sciavl.NewIavlTree(db.NewPrefixDB(kv, []byte(n)), o.log, &sciavl.Config{CacheSize: 100_000, SkipFastStorageUpgrade: true})
		trees[n], o.its[n] = t, t
	}
	o.sc, err = commitment.NewCommitStore(trees, nil, kv, o.log)
	must(err)
	must(o.sc.LoadVersion(ci.Version))
	return o
}

func (o *opened) close() {
	must(o.sc.Close())
	must(o.kv.Close())
}

func (o *opened) raw(name string) map[string][]byte {
	it, err := o.kv.Iterator([]byte(name+"s"), []byte(name+"t"))
	must(err)
	defer it.Close()
	m := map[string][]byte{}
	for ; it.Valid(); it.Next() {
		if k := string(it.Key()[len(name):]); len(k) == 13 {
			m[k] = append([]byte{}, it.Value()...)
		}
	}
	return m
}

// changes gives the changes of the versions above H: those of the file, then made-up ones.
func changes(o *opened, file string) (out []*corestore.Changeset) {
	have := map[uint64][]wl.StoreOps{}
	if file != "" {
		f, err := os.Open(file)
		must(err)
		r := bufio.NewReader(f)
		for {
			v, cs, err := wl.ReadChangeset(r)
			if err == io.EOF {
				break
			}
			must(err)
			have[uint64(v)] = cs
		}
		must(f.Close())
	}
	keys := map[string][][]byte{}
	for _, n := range o.names {
		it, err := o.sc.Iterator([]byte(n), o.h, nil, nil)
		must(err)
		for ; it.Valid() && len(keys[n]) < 3000; it.Next() {
			keys[n] = append(keys[n], bytes.Clone(it.Key()))
		}
		must(it.Close())
	}
	r := rand.New(rand.NewSource(int64(o.h)))
	for v := o.h + 1; v <= o.h+live; v++ {
		c := corestore.NewChangeset(v)
		cs, ok := have[v]
		if !ok {
			for _, n := range o.names {
				if r.Intn(3) == 0 || (len(keys[n]) == 0 && v < o.h+12) {
					continue
				}
				m := map[string]wl.Op{}
				for i := 0; i < 20; i++ {
					k := []byte(fmt.Sprintf("new %d", r.Intn(1000)))
					if len(keys[n]) > 0 && i > 5 {
						k = keys[n][r.Intn(len(keys[n]))]
					}
					m[string(k)] = wl.Op{Key: k, Value: val(r), Del: i > 16}
				}
				s := wl.StoreOps{Store: n}
				for _, x := range m {
					s.Ops = append(s.Ops, x)
				}
				sort.Slice(s.Ops, func(i, j int) bool { return bytes.Compare(s.Ops[i].Key, s.Ops[j].Key) < 0 })
				cs = append(cs, s)
			}
		}
		for _, s := range cs {
			x := corestore.StateChanges{Actor: []byte(s.Store)}
			for _, p := range s.Ops {
				p := corestore.KVPair{Key: p.Key, Value: p.Value, Remove: p.Del}
				if p.Remove {
					p.Value = nil
				}
				x.StateChanges = append(x.StateChanges, p)
			}
			c.Changes = append(c.Changes, x)
		}
		out = append(out, c)
	}
	return out
}

func (o *opened) commit(c *corestore.Changeset) string {
	must(o.sc.WriteChangeset(c))
	o.sc.PausePruning(true)
	ci, err := o.sc.Commit(c.Version)
	must(err)
	o.sc.PausePruning(false)
	return hex.EncodeToString(ci.Hash())
}

// perStore digests a snapshot by store, for the stores come in random order.
type perStore struct {
	sums map[string]hash.Hash
	cur  hash.Hash
}

func (p *perStore) WriteMsg(m gogoproto.Message) error {
	s := m.(*snapshotstypes.SnapshotItem)
	if st := s.GetStore(); st != nil {
		p.cur = sha256.New()
		p.sums[st.Name] = p.cur
		return nil
	}
	n := s.GetIAVL()
	fmt.Fprintf(p.cur, "%x %x %d %d\n", n.Key, n.Value, n.Version, n.Height)
	return nil
}
func (p *perStore) Close() error { return nil }

func (o *opened) snapshot(v uint64) string {
	p := &perStore{sums: map[string]hash.Hash{}}
	must(o.sc.Snapshot(v, p))
	all := sha256.New()
	for _, n := range o.names {
		fmt.Fprintf(all, "%s %x\n", n, p.sums[n].Sum(nil))
	}
	return hex.EncodeToString(all.Sum(nil))
}

// prove verifies some proofs at a version, up to the commit hash.
//
// Those that fail are counted apart: ics23 knows no empty values, so some do with any nonces.
func (o *opened) prove(v uint64) (n, failed int) {
	ci, err := o.sc.GetCommitInfo(v)
	must(err)
	want := ci.Hash()
	for _, name := range o.names {
		it, err := o.sc.Iterator([]byte(name), v, nil, nil)
		must(err)
		type kv struct{ k, v []byte }
		var ks []kv
		for i := 0; it.Valid() && i < 200; it.Next() {
			if i%40 == 0 {
				ks = append(ks, kv{bytes.Clone(it.Key()), bytes.Clone(it.Value())})
			}
			i++
		}
		must(it.Close())
		for _, x := range ks {
			ops, err := o.sc.GetProof([]byte(name), v, x.k)
			must(err)
			args := [][]byte{x.v}
			for i := 0; i < len(ops) && err == nil; i++ {
				args, err = ops[i].Run(args)
			}
			if n++; err != nil || !bytes.Equal(args[0], want) {
				failed++
			}
		}
		if len(ks) > 0 { // absence
			ops, err := o.sc.GetProof([]byte(name), v, []byte("no such key"))
			must(err)
			root, err := ops[0].Run(nil)
			if err == nil {
				root, err = ops[1].Run(root)
			}
			if n++; err != nil || !bytes.Equal(root[0], want) {
				failed++
			}
		}
	}
	return n, failed
}

// tryLive gives what is not as it should be. Proofs do not count, see prove.
func tryLive(dir, file string, wait time.Duration) (trouble []string) {
	o, path := openCopy(dir, 0)
	defer os.RemoveAll(filepath.Dir(path))
	H := o.h
	start := map[string]map[string][]byte{}
	ghosts := map[string][]uint64{}
	for _, n := range o.names {
		start[n] = o.raw(n)
		vs := map[uint64]bool{H - 1: true, H - 2: true, H - 3: true}
		for k := range start[n] {
			vs[binary.BigEndian.Uint64([]byte(k)[1:])] = true
		}
		for v := range vs {
			if v < H {
				if ex, err := o.its[n].Export(v); err == nil {
					ex.Close()
					ghosts[n] = append(ghosts[n], v)
				}
			}
		}
	}
	fmt.Println("versions below H that can be opened:", ghosts)
	cs := changes(o, file)
	snaps := map[uint64]string{H: o.snapshot(H)}
	proofs, failed := o.prove(H)
	var hashes []string
	for _, c := range cs {
		hashes = append(hashes, o.commit(c))
		if c.Version == H+5 || c.Version == H+live {
			snaps[c.Version] = o.snapshot(c.Version)
			p, f := o.prove(c.Version)
			proofs, failed = proofs+p, failed+f
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(hashes, " ")))
	fmt.Printf("20 versions: digest of the commit hashes %x, last %s\n", sum[:8], hashes[live-1])
	fmt.Printf("snapshots: H %.16s, H+5 %.16s, H+20 %.16s; %d proofs, %d fail\n", snaps[H], snaps[H+5], snaps[H+live], proofs, failed)
	o.close()

	// roll back to H: the records must be those of the start
	o = openDir(path, 0)
	must(o.sc.LoadVersionForOverwriting(H))
	same := 0
	for _, n := range o.names {
		if sameRaw(start[n], o.raw(n)) {
			same++
		}
	}
	ci, err := o.sc.GetCommitInfo(H)
	must(err)
	fmt.Printf("rolled back: %d of %d stores have the records of the start, commit hash %x\n", same, len(o.names), ci.Hash())
	// and forward again, pruning in the background, reopening now and then
	for i, c := range cs {
		if h := o.commit(c); h != hashes[i] {
			log.Fatalf("version %d after roll back: %s, was %s", c.Version, h, hashes[i])
		}
		if i == 0 || i == 1 || i == 5 || i == 10 || i == 18 {
			must(o.sc.Prune(H + uint64(i)))
			time.Sleep(wait)
		}
		if i == 6 {
			o.close()
			o = openDir(path, 0)
		}
	}
	if snaps[H+live] != o.snapshot(H+live) {
		log.Fatal("snapshot differs after pruning")
	}
	proofs, failed = o.prove(H + live)
	var t reach
	var odd []string
	for _, n := range o.names {
		r := analyse(o.raw(n), int64(H+19), int64(H+live), int64(H))
		t.records += r.records
		t.leaked += r.leaked
		t.leakedH += r.leakedH
		t.missing += r.missing
		t.ghosts += r.ghosts
		if r.leaked > 0 {
			x := r.leakedKeys
			if len(x) > 3 {
				x = append(x[:3:3], "…")
			}
			odd = append(odd, fmt.Sprintf("%s %d %v", n, r.leaked, x))
		}
	}
	fmt.Printf("pruned to H+18: %d records, missing %d, leaked %d (of versions up to H: %d), ghost roots %d %v; %d proofs, %d fail\n", t.records, t.missing, t.leaked, t.leakedH, t.ghosts, odd, proofs, failed)
	fmt.Println("logged errors:", o.log.seen)
	if len(ghosts) > 0 {
		trouble = append(trouble, fmt.Sprintf("%d stores can be opened below H", len(ghosts)))
	}
	if same != len(o.names) {
		trouble = append(trouble, "records differ after roll back")
	}
	if t.missing+t.leaked+t.ghosts > 0 {
		trouble = append(trouble, fmt.Sprintf("%d records missing, %d leaked, %d ghost roots", t.missing, t.leaked, t.ghosts))
	}
	if len(o.log.seen) > 0 {
		trouble = append(trouble, "errors were logged")
	}
	o.close()
	return trouble
}
