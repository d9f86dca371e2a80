// rawdiff compares two streams of raw pairs of a state commitment, as dump -raw or any independent
// reader writes them: u32le length, key, u32le length, value. It owns the one difference that is none:
// the stores of a record c/<version> are in random order when Go wrote it.
//
//	rawdiff [-max N] A B
//
// It prints what differs and exits with 1.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strings"

	"cosmossdk.io/store/v2/proof"
)

func main() {
	log.SetFlags(0)
	most := flag.Int("max", 20, "print at most so many differences")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("two files are needed")
	}
	a, b := load(flag.Arg(0)), load(flag.Arg(1))
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	var sorted []string
	for k := range keys {
		sorted = append(sorted, k)
	}
	sort.Strings(sorted)
	n := 0
	for _, k := range sorted {
		x, inA := a[k]
		y, inB := b[k]
		if inA && inB && (bytes.Equal(x, y) || (strings.HasPrefix(k, "c/") && sameInfo(x, y))) {
			continue
		}
		if n++; n <= *most {
			fmt.Printf("%s\n  A %s\n  B %s\n", name(k), show(x, inA), show(y, inB))
		}
	}
	fmt.Printf("A %d pairs, B %d pairs, %d differ\n", len(a), len(b), n)
	if n > 0 {
		os.Exit(1)
	}
}

func load(path string) map[string][]byte {
	f, err := os.Open(path)
	check(err)
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	m := map[string][]byte{}
	for {
		k, err := field(in)
		if err == io.EOF {
			return m
		}
		check(err)
		v, err := field(in)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		check(err)
		if _, dup := m[string(k)]; dup {
			log.Fatalf("%s: key %x twice", path, k)
		}
		m[string(k)] = v
	}
}

func field(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return b, nil
}

// sameInfo compares commit infos: version, time, and the stores in any order.
func sameInfo(a, b []byte) bool {
	x, y := &proof.CommitInfo{}, &proof.CommitInfo{}
	if x.Unmarshal(a) != nil || y.Unmarshal(b) != nil {
		return false
	}
	for _, c := range []*proof.CommitInfo{x, y} {
		sort.Slice(c.StoreInfos, func(i, j int) bool { return bytes.Compare(c.StoreInfos[i].Name, c.StoreInfos[j].Name) < 0 })
	}
	p, err := x.Marshal()
	check(err)
	q, err := y.Marshal()
	check(err)
	return bytes.Equal(p, q)
}

// name is a key readable where it is that of a node.
func name(k string) string {
	if n := len(k); n > 13 && k[n-13] == 's' {
		return fmt.Sprintf("%q (%d,%d)", k[:n-13], binary.BigEndian.Uint64([]byte(k[n-12:])), binary.BigEndian.Uint32([]byte(k[n-4:])))
	}
	return fmt.Sprintf("%q", k)
}

func show(b []byte, there bool) string {
	if !there {
		return "none"
	}
	if len(b) > 200 {
		return fmt.Sprintf("%x... (%d bytes)", b[:200], len(b))
	}
	return fmt.Sprintf("%x", b)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
