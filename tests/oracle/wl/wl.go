// Package wl is the seeded workload generator and the on-disk formats shared by
// all the oracle programs. It has no dependency outside the standard library so
// that the same changes can be applied through any version of the Cosmos SDK.
package wl

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/rand"
	"os"
	"slices"
	"sort"
)

// Names of the stores, in the order in which they are used. EmptyStore never gets a key.
var Names = []string{
	"bank", "staking", "acc", "wasm", "distribution", "ibc", "gov", "slashing", "mint", "transfer",
	"authz", "evidence", "upgrade", "params", "crisis", "group", "nft", "icahost", "consensus", "capability",
}

const (
	EmptyStore     = "feegrant"
	TransientStore = "transient_params"
	MemoryStore    = "mem_capability"
	// UpgradeAdded/Deleted/RenamedTo describe the store upgrade made by -upgrade-at.
	UpgradeAdded     = "circuit"
	UpgradeDeleted   = "legacydel"
	UpgradeRenamedTo = "tokenfactory"
	UpgradeRenamed   = "denomfactory"
)

// Config of a workload. The same Config gives the same changes.
type Config struct {
	Stores  int   `json:"stores"`
	Keys    int   `json:"keys_per_store"`
	Updates int   `json:"updates_per_version"`
	ValMin  int   `json:"val_min"`
	ValMax  int   `json:"val_max"`
	Large   int   `json:"large_values"`
	Seed    int64 `json:"seed"`
	Genesis int   `json:"genesis_versions"`
	Upgrade int64 `json:"upgrade_at,omitempty"`
	// Idle, if not 0, adds idleStores; it is the number of versions in the database.
	Idle int `json:"idle,omitempty"`
	// Still are the versions, counted from 1, without any change.
	Still []int `json:"still,omitempty"`
}

func (c Config) StoreNames() []string {
	var out []string
	for i := 0; i < c.Stores; i++ {
		if i < len(Names) {
			out = append(out, Names[i])
		} else {
			out = append(out, fmt.Sprintf("module%03d", i))
		}
	}
	return out
}

// Op is one change. A nil Value with Del is a deletion.
type Op struct {
	Del        bool
	Key, Value []byte
}

// StoreOps are the changes of one store, sorted by key, one per key.
type StoreOps struct {
	Store string
	Ops   []Op
}

type store struct {
	name string
	keys [][]byte
	has  map[string]int // key -> index in keys
	w    float64
}

// Gen generates changesets, one per version.
type Gen struct {
	c      Config
	r      *rand.Rand
	stores []*store
	byName map[string]*store
	n      int
	idle   []*idle
}

func New(c Config) *Gen {
	g := &Gen{c: c, r: rand.New(rand.NewSource(c.Seed)), byName: map[string]*store{}}
	if g.c.Genesis < 1 {
		g.c.Genesis = 1
	}
	for i, n := range c.StoreNames() {
		g.addStore(n, 1/float64(i+1))
	}
	if c.Idle > 0 {
		g.idle = newIdle(c)
	}
	return g
}

func (g *Gen) addStore(name string, w float64) *store {
	s := &store{name: name, has: map[string]int{}, w: w}
	g.stores = append(g.stores, s)
	g.byName[name] = s
	return s
}

// AddStore makes the generator write to one more store from the next version on.
func (g *Gen) AddStore(name string) { g.addStore(name, 0.3) }

// RemoveStore stops writing to a store.
func (g *Gen) RemoveStore(name string) {
	for i, s := range g.stores {
		if s.name == name {
			g.stores = append(g.stores[:i], g.stores[i+1:]...)
			break
		}
	}
	delete(g.byName, name)
}

// RenameStore keeps the live keys under another name.
func (g *Gen) RenameStore(from, to string) {
	s := g.byName[from]
	delete(g.byName, from)
	s.name = to
	g.byName[to] = s
}

var denoms = []string{"uatom", "uosmo", "ustake", "ibc/27394FB092D2ECCD56123C74F36E4C1F926001CEADA9CA97EA622B25F41E5EB2"}

func (g *Gen) key(s *store) []byte {
	r := g.r
	switch r.Intn(4) {
	case 0: // prefix | len | address
		b := make([]byte, 22)
		b[0], b[1] = byte(1+r.Intn(4)), 20
		r.Read(b[2:])
		return b
	case 1: // prefix | len | address | denom
		b := make([]byte, 22)
		b[0], b[1] = byte(2), 20
		r.Read(b[2:])
		return append(b, denoms[r.Intn(len(denoms))]...)
	case 2: // prefix | contract address | ascii key
		b := make([]byte, 33)
		b[0] = 3
		r.Read(b[1:])
		return append(b, fmt.Sprintf("state_%d", r.Intn(1<<20))...)
	default: // prefix | big endian counter
		g.n++
		b := make([]byte, 9)
		b[0] = 0x11
		binary.BigEndian.PutUint64(b[1:], uint64(g.n))
		return b
	}
}

const hexdig = "0123456789abcdef"

// value is half incompressible bytes and half hex text, as protobuf states with addresses and hashes are.
func (g *Gen) value() []byte {
	n := g.c.ValMin
	if g.c.ValMax > g.c.ValMin {
		n += g.r.Intn(g.c.ValMax - g.c.ValMin + 1)
	}
	return g.bytes(n)
}

func (g *Gen) bytes(n int) []byte {
	b := make([]byte, n)
	g.r.Read(b)
	for i := n / 2; i < n; i++ {
		b[i] = hexdig[b[i]&15]
	}
	return b
}

func (g *Gen) insert(s *store) Op {
	for {
		k := g.key(s)
		if _, dup := s.has[string(k)]; dup {
			continue
		}
		s.has[string(k)] = len(s.keys)
		s.keys = append(s.keys, k)
		return Op{Key: k, Value: g.value()}
	}
}

func (g *Gen) remove(s *store, i int) Op {
	k := s.keys[i]
	last := len(s.keys) - 1
	s.keys[i] = s.keys[last]
	s.has[string(s.keys[i])] = i
	s.keys = s.keys[:last]
	delete(s.has, string(k))
	return Op{Key: k, Del: true}
}

// Version gives the changes of the n-th version (n counts from 1). The initial
// keys are spread over the first Genesis versions.
func (g *Gen) Version(n int) []StoreOps {
	if slices.Contains(g.c.Still, n) {
		return nil
	}
	var wsum float64
	for _, s := range g.stores {
		wsum += s.w
	}
	out := []StoreOps{}
	for si, s := range g.stores {
		m := map[string]Op{}
		put := func(o Op) { m[string(o.Key)] = o }
		if n <= g.c.Genesis {
			for i := 0; i < g.c.Keys/g.c.Genesis; i++ {
				put(g.insert(s))
			}
		}
		if n > 1 {
			k := int(float64(g.c.Updates)*s.w/wsum + 0.5)
			for i := 0; i < k; i++ {
				switch x := g.r.Intn(100); {
				case x < 25 || len(s.keys) == 0:
					put(g.insert(s))
				case x < 40 && len(s.keys) > 1:
					put(g.remove(s, g.r.Intn(len(s.keys))))
				default:
					put(Op{Key: s.keys[g.r.Intn(len(s.keys))], Value: g.value()})
				}
			}
		}
		if n == 1 && si == 0 && g.c.Large > 0 { // wasm byte codes and the like
			for i := 0; i < g.c.Large; i++ { // never changed afterwards
				put(Op{Key: []byte{0xf0, byte(i >> 8), byte(i)}, Value: g.bytes(100_000 << uint(i%4))})
			}
		}
		if n == 1 && si == 1%len(g.stores) { // an empty value, a one byte key and a long key
			for _, k := range [][]byte{{0}, {0xff}, bytes.Repeat([]byte{0xff}, 300)} {
				if _, dup := s.has[string(k)]; !dup {
					s.has[string(k)] = len(s.keys)
					s.keys = append(s.keys, k)
				}
				put(Op{Key: k, Value: []byte{}})
			}
		}
		if len(m) == 0 {
			continue
		}
		so := StoreOps{Store: s.name}
		for _, o := range m {
			so.Ops = append(so.Ops, o)
		}
		sort.Slice(so.Ops, func(i, j int) bool { return bytes.Compare(so.Ops[i].Key, so.Ops[j].Key) < 0 })
		out = append(out, so)
	}
	for _, x := range g.idle {
		if so, ok := x.version(n); ok {
			out = append(out, so)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Store < out[j].Store })
	return out
}

// ---- digests ---------------------------------------------------------------

// Digest is sha256 over u32le(len(key)) key u32le(len(value)) value of all pairs in key order.
type Digest struct {
	h     hash.Hash
	Keys  uint64
	Bytes uint64
}

func NewDigest() *Digest { return &Digest{h: sha256.New()} }

func (d *Digest) Add(k, v []byte) {
	var l [4]byte
	binary.LittleEndian.PutUint32(l[:], uint32(len(k)))
	d.h.Write(l[:])
	d.h.Write(k)
	binary.LittleEndian.PutUint32(l[:], uint32(len(v)))
	d.h.Write(l[:])
	d.h.Write(v)
	d.Keys++
	d.Bytes += uint64(len(k) + len(v))
}

func (d *Digest) Hex() string { return hex.EncodeToString(d.h.Sum(nil)) }

// StoreState is what expected.json says of one store at one version.
type StoreState struct {
	Root   string `json:"root"`             // IAVL root hash, hex
	Keys   uint64 `json:"keys"`             // number of keys
	Bytes  uint64 `json:"bytes"`            // sum of key and value lengths
	SHA256 string `json:"sha256,omitempty"` // Digest
}

// VersionState is what expected.json says of one version.
type VersionState struct {
	Version int64  `json:"version"`
	AppHash string `json:"app_hash"`
	// IAVLHash is the hash over the IAVL stores alone, where the commit info also
	// names memory stores (cosmos-sdk up to v0.46 did that). store/v2 gives this one.
	IAVLHash string `json:"iavl_hash,omitempty"`
	Live     bool   `json:"live,omitempty"` // not in the database, only in changesets.bin
	// Pruned says that a store no longer has the version. Set by mkv0 and mkv1 -continue only.
	Pruned bool `json:"pruned,omitempty"`
	// Wrong are stores whose tree of this version IAVL itself broke by a later commit. Set by mkv1 -continue only.
	Wrong  []string              `json:"wrong,omitempty"`
	Stores map[string]StoreState `json:"stores"`
}

// Expected is expected.json.
type Expected struct {
	Tool      string         `json:"tool"`
	Backend   string         `json:"backend"`
	Pruning   string         `json:"pruning"`
	FirstVer  int64          `json:"first_version"`
	LatestVer int64          `json:"latest_version"` // latest version in the database
	Config    Config         `json:"config"`
	Versions  []VersionState `json:"versions"`
}

func (e *Expected) Save(path string) error {
	b, err := json.MarshalIndent(e, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func LoadExpected(path string) (*Expected, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	e := &Expected{}
	return e, json.Unmarshal(b, e)
}

// ---- changesets.bin ----------------------------------------------------------
//
// A sequence of records, all integers little endian:
//
//	u64 version, u32 number of stores
//	  per store: u16 length and name, u32 number of operations
//	    per operation: u8 kind (0 set, 1 delete), u32 length and key, for a set u32 length and value
//
// Stores and keys are in byte order; operations must be applied in that order,
// for the shape of an IAVL tree, and so its hash, depends on it.

func WriteChangeset(w io.Writer, version int64, cs []StoreOps) error {
	bw := bufio.NewWriterSize(w, 1<<20)
	var b [8]byte
	u64 := func(v uint64) { binary.LittleEndian.PutUint64(b[:], v); bw.Write(b[:8]) }
	u32 := func(v int) { binary.LittleEndian.PutUint32(b[:], uint32(v)); bw.Write(b[:4]) }
	u16 := func(v int) { binary.LittleEndian.PutUint16(b[:], uint16(v)); bw.Write(b[:2]) }
	u64(uint64(version))
	u32(len(cs))
	for _, s := range cs {
		u16(len(s.Store))
		bw.WriteString(s.Store)
		u32(len(s.Ops))
		for _, o := range s.Ops {
			if o.Del {
				bw.WriteByte(1)
			} else {
				bw.WriteByte(0)
			}
			u32(len(o.Key))
			bw.Write(o.Key)
			if !o.Del {
				u32(len(o.Value))
				bw.Write(o.Value)
			}
		}
	}
	return bw.Flush()
}

// ReadChangeset reads the next record; io.EOF at the end.
func ReadChangeset(r *bufio.Reader) (version int64, cs []StoreOps, err error) {
	var b [8]byte
	get := func(n int) uint64 {
		if err != nil {
			return 0
		}
		b = [8]byte{}
		_, err = io.ReadFull(r, b[:n])
		return binary.LittleEndian.Uint64(b[:])
	}
	blob := func(n uint64) []byte {
		if err != nil {
			return nil
		}
		p := make([]byte, n)
		_, err = io.ReadFull(r, p)
		return p
	}
	version = int64(get(8))
	if err != nil {
		return 0, nil, err
	}
	ns := int(get(4))
	for i := 0; i < ns && err == nil; i++ {
		so := StoreOps{Store: string(blob(get(2)))}
		no := int(get(4))
		for j := 0; j < no && err == nil; j++ {
			o := Op{Del: get(1) == 1}
			o.Key = blob(get(4))
			if !o.Del {
				o.Value = blob(get(4))
			}
			so.Ops = append(so.Ops, o)
		}
		cs = append(cs, so)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return version, cs, err
}
