package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"

	"oracle/v1/internal/changes"
	"oracle/v1/internal/records"
	"oracle/v1/internal/tables"
)

// Faults in the files rather than in the records.

func badSnappyByte(j *job) error {
	if j.kind != "" && j.kind != "mended" && j.kind != "undecodable" {
		return fmt.Errorf("no kind %q", j.kind)
	}
	f, err := j.choose(j.byNode("inner"))
	if err != nil {
		return err
	}
	// Opening the copy has put what was in the log into tables.
	if err := j.db.Close(); err != nil {
		return err
	}
	j.db = nil
	key := append(j.prefix(j.store), records.Key(f.Version, f.Nonce)...)
	paths, err := filepath.Glob(filepath.Join(j.dir, "*.ldb"))
	if err != nil {
		return err
	}
	sort.Strings(paths)
	var at string
	var h tables.Handle
	var newest uint64
	for _, t := range paths {
		file, err := os.ReadFile(t)
		if err != nil {
			return err
		}
		d, seq, ok, err := tables.Find(file, key)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if ok && (at == "" || seq > newest) {
			at, h, newest = t, d, seq
		}
	}
	if at == "" {
		return fmt.Errorf("no table has %x", key)
	}
	file, err := os.ReadFile(at)
	if err != nil {
		return err
	}
	o, flip, err := spot(file, h, key, j)
	if err != nil {
		return err
	}
	p := place{File: filepath.Base(at), BlockOffset: h.Offset, BlockSize: h.Size, Compression: file[h.Offset+h.Size], Offset: o, Was: file[o]}
	file[o] ^= flip
	p.Now = file[o]
	if j.kind != "" {
		p.CRCMended = true
		c := crc32.Checksum(file[h.Offset:h.Offset+h.Size+1], crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(file[h.Offset+h.Size+1:], (c>>15|c<<17)+0xa282ead8)
	}
	j.out.Place = &p
	j.out.Note = fmt.Sprintf("the block has the record %x", key)
	return os.WriteFile(at, file, 0o644)
}

// spot chooses the byte of a block and the bits to flip: the middle; for mended, the first that
// changes the value of the record and nothing else; for undecodable, the first that snappy refuses.
func spot(file []byte, h tables.Handle, key []byte, j *job) (uint64, byte, error) {
	if j.kind == "" {
		return h.Offset + h.Size/2, 0x10, nil
	}
	good, err := tables.Block(file, h)
	if err != nil {
		return 0, 0, err
	}
	keys, values, err := tables.Entries(good)
	if err != nil {
		return 0, 0, err
	}
	for o := h.Offset; o < h.Offset+h.Size; o++ {
		for bit := 0; bit < 8; bit++ {
			file[o] ^= 1 << bit
			b, err := tables.Block(file, h)
			file[o] ^= 1 << bit
			if j.kind == "undecodable" {
				if err != nil {
					return o, 1 << bit, nil
				}
				continue
			}
			if err != nil || len(b) != len(good) {
				continue
			}
			ks, vs, err := tables.Entries(b)
			if err != nil || len(ks) != len(keys) {
				continue
			}
			hit, other := -1, false
			for i := range ks {
				other = other || !bytes.Equal(ks[i], keys[i])
				if !bytes.Equal(vs[i], values[i]) {
					if n := len(ks[i]) - 8; n > 0 && bytes.Equal(ks[i][:n], key) {
						hit = i
					} else {
						other = true
					}
				}
			}
			if hit >= 0 && !other {
				j.out.Changes = append(j.out.Changes, changes.Of(key, values[hit], vs[hit], maxShown))
				return o, 1 << bit, nil
			}
		}
	}
	return 0, 0, errors.New("no byte of the block will do")
}

func tornLog(j *job) error {
	// Write a record, close, and cut it: everything before it stays, as after a power cut.
	if err := j.put([]byte("s/torn"), make([]byte, 5000)); err != nil {
		return err
	}
	j.out.Changes = nil
	if err := j.db.Close(); err != nil {
		return err
	}
	j.db = nil
	logs, err := filepath.Glob(filepath.Join(j.dir, "*.log"))
	if err != nil {
		return err
	}
	sort.Strings(logs)
	if len(logs) == 0 {
		return errors.New("no log")
	}
	last := logs[len(logs)-1]
	fi, err := os.Stat(last)
	if err != nil {
		return err
	}
	j.out.Changes = []changes.Change{}
	j.out.Place = &place{File: filepath.Base(last), Offset: uint64(fi.Size()) - 2000}
	j.out.Note = "a record \"s/torn\" that was being written is cut off; nothing that was complete is lost"
	return os.Truncate(last, fi.Size()-2000)
}
