// plant copies a store/v1 database (goleveldb or PebbleDB) and plants one fault in the copy. It owns the list of faults an
// examiner has to tell from one another, and says as JSON on standard output what it planted, where, which versions that
// breaks, and what an examiner should name. Which node or store it takes is decided by -seed.
//
//	plant -from application.db -to NEW/application.db -kind KIND [-backend B] [-seed N] [-store S] [-version V] [-node N]
//	plant -from application.db -to DIR -all [-backend B] [-seed N]     # DIR/KIND/application.db of every kind that fits; a line of JSON each
//	plant -list
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"

	dbm "github.com/cosmos/cosmos-db"

	"oracle/v1/internal/changes"
	"oracle/v1/internal/v1"
)

const maxShown, maxChanges = 512, 50

// node is a node of a tree. Its ID is "(version,nonce)" of its record, or the hash of a legacy node.
type node struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Nonce   uint32 `json:"nonce"`
	Legacy  string `json:"legacy,omitempty"`
	Height  int64  `json:"height"`
	Size    int64  `json:"size"`
	Key     string `json:"key"` // smallest key on the right, or the key of the leaf; hex
	Depth   int    `json:"depth"`
	Parent  string `json:"parent,omitempty"`
}

// place is where a file was changed.
type place struct {
	File   string `json:"file"`
	Part   string `json:"part"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"` // of the part
	Was    *byte  `json:"was,omitempty"`
	Now    *byte  `json:"now,omitempty"`
	// Keys are the first and the last user key in a data block, or of a table; hex.
	Keys []string `json:"keys,omitempty"`
}

// expect is what an examiner should say. Finding is one of a few words, see README.md.
type expect struct {
	// Sound: the latest version is complete and right, a migration of it must succeed; false: it must be refused. Null: it may be
	// refused, but if it succeeds the result must be right.
	Sound   *bool    `json:"sound"`
	Finding string   `json:"finding"`
	Latest  int64    `json:"latest_version"` // that is to be migrated; 0 if there is none
	Store   string   `json:"store,omitempty"`
	Stores  []string `json:"stores,omitempty"` // where there are several
	Nodes   []string `json:"nodes,omitempty"`  // naming any of these is right: where hashes cover the fault, it may be the parent that tells
	// Versions are those that are broken, of the ones that could be read before; for tables, those that have records in the damaged part.
	Versions []int64 `json:"versions"`
	Count    int     `json:"count,omitempty"` // records, where a count is to be reported
	Bytes    int64   `json:"bytes,omitempty"` // of their keys (whole database keys) and values
	File     string  `json:"file,omitempty"`
}

type planted struct {
	Kind    string           `json:"kind"`
	Backend string           `json:"backend"`
	Seed    int64            `json:"seed"`
	Path    string           `json:"path"`
	Latest  int64            `json:"latest_version"` // s/latest before the fault
	Store   string           `json:"store,omitempty"`
	Version int64            `json:"version,omitempty"` // whose tree or record was chosen
	Node    *node            `json:"node,omitempty"`
	Place   *place           `json:"place,omitempty"`
	Changes []changes.Change `json:"changes"`
	Count   int              `json:"change_count"`
	Expect  expect           `json:"expect"`
	Go      string           `json:"go"` // what the Go code makes of it
	Note    string           `json:"note"`
}

type job struct {
	db      dbm.DB
	dir     string
	backend string
	seed    int64
	r       *rand.Rand
	store   string // of the attempt
	version int64
	node    string
	out     planted
}

type kind struct {
	name, finding, help string
	sound               verdict
	// Exactly one: of a tree of one store, of the whole database, of closed files.
	tree, database, files func(j *job) error
}

// verdict is what expect.Sound is.
type verdict int

const (
	broken verdict = iota
	sound
	either
)

func (v verdict) json() *bool {
	if v == either {
		return nil
	}
	b := v == sound
	return &b
}

func (v verdict) String() string { return [...]string{"broken", "sound", "either"}[v] }

// errUnfit: the database, or the store, has no place for the fault.
var errUnfit = errors.New("nothing fits")

func unfit(f string, a ...any) error { return fmt.Errorf("%w: %s", errUnfit, fmt.Sprintf(f, a...)) }

func kinds() []kind {
	return slices.Concat(nodeKinds, storeKinds, infoKinds, legacyKinds, fileKinds)
}

func main() {
	log.SetFlags(0)
	from := flag.String("from", "", "database to copy, a directory NAME.db")
	to := flag.String("to", "", "copy to make, a directory NAME.db that is not there yet; with -all a directory for them")
	name := flag.String("kind", "", "fault, see -list")
	backend := flag.String("backend", "goleveldb", "goleveldb or pebbledb")
	seed := flag.Int64("seed", 1, "decides on store, node, bit")
	store := flag.String("store", "", "this store")
	version := flag.Int64("version", 0, "tree or record of this version (default: the latest)")
	at := flag.String("node", "", "this node: \"VERSION,NONCE\", or the hash of a legacy node")
	all := flag.Bool("all", false, "every kind that fits")
	list := flag.Bool("list", false, "list the kinds")
	flag.Parse()
	if *list {
		for _, k := range kinds() {
			fmt.Printf("%-24s %-7s %-20s %s\n", k.name, k.sound, k.finding, k.help)
		}
		return
	}
	if _, err := os.Stat(*to); err == nil || *to == "" || *from == "" {
		log.Fatal("-from is needed, and a -to that is not there yet")
	}
	found := false
	for _, k := range kinds() {
		if !*all && k.name != *name {
			continue
		}
		found = true
		dir := *to
		if *all {
			dir = filepath.Join(*to, k.name, "application.db")
		}
		o := job{dir: filepath.Clean(dir), backend: *backend, seed: *seed, store: *store, version: *version, node: *at}
		if err := o.run(*from, k); *all && errors.Is(err, errUnfit) {
			check(os.RemoveAll(filepath.Dir(dir)))
			log.Printf("%s: %v", k.name, err)
			continue
		} else if err != nil {
			log.Fatalf("%s: %v", k.name, err)
		}
		e := json.NewEncoder(os.Stdout)
		e.SetEscapeHTML(false)
		if !*all {
			e.SetIndent("", " ")
		}
		check(e.Encode(o.out))
	}
	if !found {
		log.Fatalf("no kind %q, see -list", *name)
	}
}

// droppings are files that goleveldb makes anew.
var droppings = []string{"LOG", "LOG.old", "LOCK", "CURRENT.bak"}

func copyDB(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
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

func (j *job) run(from string, k kind) error {
	if err := copyDB(from, j.dir); err != nil {
		return err
	}
	j.out = planted{Kind: k.name, Backend: j.backend, Seed: j.seed, Path: j.dir, Changes: []changes.Change{},
		Expect: expect{Sound: k.sound.json(), Finding: k.finding, Versions: []int64{}}}
	h := fnv.New32()
	h.Write([]byte(k.name)) // kinds differ in where they are planted
	j.r = rand.New(rand.NewSource(j.seed<<32 + int64(h.Sum32())))
	if err := j.plant(k); err != nil {
		if j.db != nil {
			j.db.Close()
		}
		return err
	}
	if j.db != nil {
		if err := j.db.Close(); err != nil {
			return err
		}
	}
	if j.backend == "goleveldb" {
		for _, n := range droppings {
			if err := os.Remove(filepath.Join(j.dir, n)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	j.out.Count = len(j.out.Changes)
	if len(j.out.Changes) > maxChanges {
		j.out.Changes = j.out.Changes[:maxChanges]
	}
	return nil
}

func (j *job) plant(k kind) error {
	if k.files != nil {
		if j.backend != "goleveldb" {
			return unfit("files of goleveldb only")
		}
		if err := j.look(); err != nil {
			return err
		}
		return k.files(j)
	}
	dir, ok := strings.CutSuffix(j.dir, "/application.db")
	if !ok {
		return fmt.Errorf("%s: the name must be application.db", j.dir)
	}
	var err error
	if j.db, err = v1.OpenDB(j.backend, dir); err != nil {
		return err
	}
	if j.out.Latest, err = j.latest(); err != nil {
		return err
	}
	j.out.Expect.Latest = j.out.Latest
	if j.version == 0 {
		j.version = j.out.Latest
	}
	if k.database != nil {
		return k.database(j)
	}
	stores := []string{j.store}
	if j.store == "" {
		if stores, err = j.stores(j.version); err != nil {
			return err
		}
		j.r.Shuffle(len(stores), func(a, b int) { stores[a], stores[b] = stores[b], stores[a] })
		slices.SortStableFunc(stores, func(a, b string) int { return j.tiny(a) - j.tiny(b) })
	}
	err = unfit("there is no store")
	for _, s := range stores {
		j.store = s
		if err = k.tree(j); !errors.Is(err, errUnfit) {
			return err
		}
	}
	return err
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
