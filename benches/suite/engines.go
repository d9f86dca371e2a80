package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// engines: one database on each engine that a source can have.
func (s *suite) engines() error {
	perKey := map[string]float64{}
	t, err := s.bySet([]string{"m1", "m1-pebble", "m1-rocks"}, func(set string, f figures) { perKey[set] = median(f.storeshift, cost.nsPerKey) })
	if err != nil {
		return err
	}
	fmt.Fprintf(&s.text, "\n## Engines\n\nAs above. `m1` is on goleveldb; cosmos-db wrote its pairs on PebbleDB, RocksDB 7.8's `ldb load` on RocksDB.\n\n%s\n", t)
	fmt.Fprintf(&s.text, "Wall time per key, to that on goleveldb: PebbleDB × %.2f, RocksDB × %.2f.\n", perKey["m1-pebble"]/perKey["m1"], perKey["m1-rocks"]/perKey["m1"])
	return nil
}

// copyOf has a program write the pairs of a set on another engine.
func (s *suite) copyOf(command, original, dir string) error {
	from, err := s.source(original)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	to := filepath.Join(dir, "application.db")
	words := strings.Fields(command)
	if words[0] == "ldb" {
		err = s.load(from, to)
	} else {
		var out []byte
		args := append(words[1:], "-from", from, "-to", to)
		if out, err = exec.CommandContext(untilStopped, filepath.Join(s.oracle, words[0]), args...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w\n%s", command, err, out)
		}
	}
	if err != nil {
		return err
	}
	expected, err := os.ReadFile(filepath.Join(filepath.Dir(from), "expected.json"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "expected.json"), expected, 0o644)
}

// load has RocksDB's own tool write the pairs of a goleveldb database.
func (s *suite) load(from, to string) error {
	dump := exec.CommandContext(untilStopped, filepath.Join(s.oracle, "dump"), "-raw", "-from", from)
	ldb := exec.CommandContext(untilStopped, "ldb", "load", "--hex", "--create_if_missing", "--disable_wal", "--compression_type=snappy", "--bloom_bits=10", "--db="+to)
	dump.Stderr, ldb.Stderr = os.Stderr, os.Stderr
	pairs, err := dump.StdoutPipe()
	if err != nil {
		return err
	}
	lines, err := ldb.StdinPipe()
	if err != nil {
		return err
	}
	if err := errors.Join(dump.Start(), ldb.Start()); err != nil {
		return err
	}
	log.Printf("    ldb load")
	err = hexLines(bufio.NewReaderSize(pairs, 1<<20), lines)
	return errors.Join(err, lines.Close(), dump.Wait(), ldb.Wait())
}

// hexLines turns pairs as dump writes them into lines as ldb reads them.
func hexLines(pairs io.Reader, lines io.Writer) error {
	out := bufio.NewWriterSize(lines, 1<<20)
	field := func() ([]byte, error) {
		var length [4]byte
		if _, err := io.ReadFull(pairs, length[:]); err != nil {
			return nil, err
		}
		bytes := make([]byte, binary.LittleEndian.Uint32(length[:]))
		_, err := io.ReadFull(pairs, bytes)
		return bytes, err
	}
	for {
		key, err := field()
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		value, err := field()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "0x%x ==> 0x%x\n", key, value)
	}
}
