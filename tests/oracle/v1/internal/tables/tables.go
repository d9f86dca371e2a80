// Package tables finds its way in the files of a goleveldb table, without goleveldb: as much as it takes to break a chosen place.
package tables

import (
	"encoding/binary"
	"errors"

	"github.com/golang/snappy"
)

// FooterLen and TrailerLen are bytes of a table's footer and of what follows a block: compression and checksum.
const FooterLen, TrailerLen = 48, 5

// Handle is where a block lies; its trailer of TrailerLen bytes follows.
type Handle struct{ Offset, Size uint64 }

func readHandle(b []byte) (h Handle, n int, err error) {
	o, i := binary.Uvarint(b)
	if i <= 0 {
		return h, 0, errors.New("bad block handle")
	}
	s, k := binary.Uvarint(b[i:])
	if k <= 0 {
		return h, 0, errors.New("bad block handle")
	}
	return Handle{o, s}, i + k, nil
}

// Block reads a block, decompressed.
func Block(file []byte, h Handle) ([]byte, error) {
	if h.Offset+h.Size+TrailerLen > uint64(len(file)) {
		return nil, errors.New("block outside of the file")
	}
	b := file[h.Offset : h.Offset+h.Size]
	if file[h.Offset+h.Size] == 1 {
		return snappy.Decode(nil, b)
	}
	return b, nil
}

// Entries gives the pairs of a block.
func Entries(b []byte) (keys, values [][]byte, err error) {
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

// Footer gives where the meta index and the index of a table are.
func Footer(file []byte) (meta, index Handle, err error) {
	if len(file) < FooterLen {
		return meta, index, errors.New("short table")
	}
	foot := file[len(file)-FooterLen:]
	meta, n, err := readHandle(foot)
	if err == nil {
		index, _, err = readHandle(foot[n:])
	}
	return meta, index, err
}

// Handles gives the blocks that an index, or the meta index, names.
func Handles(file []byte, index Handle) (out []Handle, err error) {
	b, err := Block(file, index)
	if err != nil {
		return nil, err
	}
	_, values, err := Entries(b)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		h, _, err := readHandle(v)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

// Find gives the data block of a table that has the newest entry of a user key.
func Find(file, key []byte) (h Handle, seq uint64, ok bool, err error) {
	_, index, err := Footer(file)
	if err != nil {
		return h, 0, false, err
	}
	blocks, err := Handles(file, index)
	if err != nil {
		return h, 0, false, err
	}
	for _, d := range blocks {
		b, err := Block(file, d)
		if err != nil {
			return h, 0, false, err
		}
		keys, _, err := Entries(b)
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
