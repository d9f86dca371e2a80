package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"

	"github.com/golang/snappy"

	"oracle/v1/internal/records"
)

// Faults in the files rather than in the records: they need only as much of the table format as
// finding a block takes.

const footerLen, trailerLen = 48, 5

type handle struct{ offset, size uint64 }

func readHandle(b []byte) (h handle, n int, err error) {
	o, i := binary.Uvarint(b)
	if i <= 0 {
		return h, 0, errors.New("bad block handle")
	}
	s, k := binary.Uvarint(b[i:])
	if k <= 0 {
		return h, 0, errors.New("bad block handle")
	}
	return handle{o, s}, i + k, nil
}

func block(file []byte, h handle) ([]byte, error) {
	if h.offset+h.size+trailerLen > uint64(len(file)) {
		return nil, errors.New("block outside of the file")
	}
	b := file[h.offset : h.offset+h.size]
	if file[h.offset+h.size] == 1 {
		return snappy.Decode(nil, b)
	}
	return b, nil
}

// entries gives the pairs of a block.
func entries(b []byte) (keys, values [][]byte, err error) {
	if len(b) < 4 {
		return nil, nil, errors.New("short block")
	}
	end := len(b) - 4 - 4*int(binary.LittleEndian.Uint32(b[len(b)-4:]))
	if end < 0 {
		return nil, nil, errors.New("bad restarts")
	}
	p, last := b[:end], []byte{}
	for len(p) > 0 {
		var n [3]uint64
		for i := range n {
			x, k := binary.Uvarint(p)
			if k <= 0 {
				return nil, nil, errors.New("bad entry")
			}
			n[i], p = x, p[k:]
		}
		if n[0] > uint64(len(last)) || n[1]+n[2] > uint64(len(p)) {
			return nil, nil, errors.New("bad entry")
		}
		key := append(append([]byte{}, last[:n[0]]...), p[:n[1]]...)
		keys, values = append(keys, key), append(values, p[n[1]:n[1]+n[2]])
		p, last = p[n[1]+n[2]:], key
	}
	return keys, values, nil
}

// find gives the data block of a table that has the newest entry of a user key.
func find(file, key []byte) (h handle, seq uint64, ok bool, err error) {
	if len(file) < footerLen {
		return h, 0, false, errors.New("short table")
	}
	foot := file[len(file)-footerLen:]
	_, n, err := readHandle(foot) // of the meta index
	if err != nil {
		return h, 0, false, err
	}
	index, _, err := readHandle(foot[n:])
	if err != nil {
		return h, 0, false, err
	}
	b, err := block(file, index)
	if err != nil {
		return h, 0, false, err
	}
	_, handles, err := entries(b)
	if err != nil {
		return h, 0, false, err
	}
	for _, v := range handles {
		d, _, err := readHandle(v)
		if err != nil {
			return h, 0, false, err
		}
		b, err := block(file, d)
		if err != nil {
			return h, 0, false, err
		}
		keys, _, err := entries(b)
		if err != nil {
			return h, 0, false, err
		}
		for _, k := range keys {
			if len(k) >= 8 && string(k[:len(k)-8]) == string(key) {
				if s := binary.LittleEndian.Uint64(k[len(k)-8:]) >> 8; !ok || s > seq {
					h, seq, ok = d, s, true
				}
			}
		}
	}
	return h, seq, ok, nil
}

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
	tables, err := filepath.Glob(filepath.Join(j.dir, "*.ldb"))
	if err != nil {
		return err
	}
	sort.Strings(tables)
	var at string
	var h handle
	var newest uint64
	for _, t := range tables {
		file, err := os.ReadFile(t)
		if err != nil {
			return err
		}
		d, seq, ok, err := find(file, key)
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
	p := place{File: filepath.Base(at), BlockOffset: h.offset, BlockSize: h.size, Compression: file[h.offset+h.size], Offset: o, Was: file[o]}
	file[o] ^= flip
	p.Now = file[o]
	if j.kind != "" {
		p.CRCMended = true
		c := crc32.Checksum(file[h.offset:h.offset+h.size+1], crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(file[h.offset+h.size+1:], (c>>15|c<<17)+0xa282ead8)
	}
	j.out.Place = &p
	j.out.Note = fmt.Sprintf("the block has the record %x", key)
	return os.WriteFile(at, file, 0o644)
}

// spot chooses the byte of a block and the bits to flip: the middle; for mended, the first that
// changes the value of the record and nothing else; for undecodable, the first that snappy refuses.
func spot(file []byte, h handle, key []byte, j *job) (uint64, byte, error) {
	if j.kind == "" {
		return h.offset + h.size/2, 0x10, nil
	}
	good, err := block(file, h)
	if err != nil {
		return 0, 0, err
	}
	keys, values, err := entries(good)
	if err != nil {
		return 0, 0, err
	}
	for o := h.offset; o < h.offset+h.size; o++ {
		for bit := 0; bit < 8; bit++ {
			file[o] ^= 1 << bit
			b, err := block(file, h)
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
			ks, vs, err := entries(b)
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
				j.out.Changes = append(j.out.Changes, change{Key: hex.EncodeToString(key), Text: readable(key), Was: shown(values[hit]), Now: shown(vs[hit])})
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
	j.out.Changes = []change{}
	j.out.Place = &place{File: filepath.Base(last), Offset: uint64(fi.Size()) - 2000}
	j.out.Note = "a record \"s/torn\" that was being written is cut off; nothing that was complete is lost"
	return os.Truncate(last, fi.Size()-2000)
}
