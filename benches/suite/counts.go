package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// nodesAfter adds up the lines "version <tab> nodes" of versions after the first.
func nodesAfter(first int64, lines []byte) (nodes float64, err error) {
	for scan := bufio.NewScanner(bytes.NewReader(lines)); scan.Scan(); {
		version, count, _ := strings.Cut(scan.Text(), "\t")
		v, err := strconv.ParseInt(version, 10, 64)
		n, err2 := strconv.ParseUint(count, 10, 64)
		if err != nil || err2 != nil {
			return 0, fmt.Errorf("not a version and its nodes: %q", scan.Text())
		}
		if v > first {
			nodes += float64(n)
		}
	}
	if nodes == 0 {
		return 0, fmt.Errorf("no nodes after version %d", first)
	}
	return nodes, nil
}

// changesIn counts the changes of a changesets.bin, whose format is described in tests/oracle/wl.
func changesIn(file io.Reader) (changes float64, err error) {
	in := bufio.NewReaderSize(file, 1<<20)
	number := func(bytes int) (n uint64) {
		var b [8]byte
		if err == nil {
			_, err = io.ReadFull(in, b[:bytes])
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	skip := func(bytes uint64) {
		if err == nil {
			_, err = io.CopyN(io.Discard, in, int64(bytes))
		}
	}
	for {
		if number(8); err == io.EOF { // the version
			return changes, nil
		}
		for range number(4) {
			skip(number(2)) // the store's name
			for range number(4) {
				deletes := number(1) == 1
				skip(number(4)) // the key
				if !deletes {
					skip(number(4)) // the value
				}
				if err != nil {
					break
				}
				changes++
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return 0, io.ErrUnexpectedEOF
		} else if err != nil {
			return 0, err
		}
	}
}
