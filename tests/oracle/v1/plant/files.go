package main

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"oracle/v1/internal/records"
	"oracle/v1/internal/tables"
	"oracle/v1/internal/v1"
)

// Faults in the files of a goleveldb directory, which nobody opens meanwhile: what is in the log stays there.

var fileKinds = []kind{
	{name: "table-data-byte", finding: "bad-table", sound: either, help: "a byte of a data block of a table is flipped", files: tableByte("data")},
	{name: "table-index-byte", finding: "bad-table", sound: either, help: "a byte of a table's index block is flipped", files: tableByte("index")},
	{name: "table-filter-byte", finding: "bad-table", sound: either, help: "a byte of a table's bloom filter is flipped: who trusts it misses keys", files: tableByte("filter")},
	{name: "table-footer-byte", finding: "bad-table", sound: either, help: "a byte of a table's footer is flipped", files: tableByte("footer")},
	{name: "table-truncated", finding: "bad-table", sound: either, help: "a table lacks its second half", files: tableTruncated},
	{name: "table-missing", finding: "missing-table", sound: either, help: "a table that the manifest names is not there", files: tableMissing},
	{name: "table-exchanged", finding: "bad-table", sound: either, help: "a table is a copy of another one", files: tableExchanged},
	{name: "log-truncated", finding: "torn-log", sound: either, help: "the write-ahead log is cut within its last record, as a power cut leaves it: what was complete is there", files: logTruncated},
	{name: "log-byte", finding: "bad-log", sound: either, help: "a byte in the first half of the write-ahead log is flipped", files: logByte},
	{name: "manifest-byte", finding: "bad-manifest", sound: either, help: "a byte of the manifest is flipped", files: manifestByte},
	{name: "manifest-truncated", finding: "bad-manifest", help: "the manifest is cut within its first record", files: manifestTruncated},
	{name: "current-dangling", finding: "bad-manifest", help: "CURRENT names a manifest that is not there", files: currentDangling},
	{name: "current-missing", finding: "bad-manifest", help: "there is no CURRENT", files: currentMissing},
	{name: "current-garbled", finding: "bad-manifest", help: "CURRENT is zeros", files: currentGarbled},
}

// file gives the name of one of the files that match; not empty ones.
func (j *job) file(pattern string) (string, []byte, error) {
	paths, err := filepath.Glob(filepath.Join(j.dir, pattern))
	if err != nil {
		return "", nil, err
	}
	sort.Strings(paths)
	j.r.Shuffle(len(paths), func(a, b int) { paths[a], paths[b] = paths[b], paths[a] })
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return "", nil, err
		}
		if len(b) > 0 {
			return p, b, nil
		}
	}
	return "", nil, unfit("no %s", pattern)
}

func (j *job) notePlace(path, part string, offset, size int64) {
	j.out.Place = &place{File: filepath.Base(path), Part: part, Offset: offset, Size: size}
	j.out.Expect.File = filepath.Base(path)
	j.out.Note = "which versions break depends on what the file had"
	if j.out.Go == "" {
		j.out.Go = "see README.md"
	}
}

// flipByte flips a bit of one byte of a part of a file.
func (j *job) flipByte(path string, b []byte, part string, offset, size int64) error {
	at := offset + j.r.Int63n(size)
	j.notePlace(path, part, at, size)
	was := b[at]
	b[at] ^= 1 << j.r.Intn(8)
	j.out.Place.Was, j.out.Place.Now = &was, &b[at]
	return os.WriteFile(path, b, 0o644)
}

func tableByte(part string) func(j *job) error {
	return func(j *job) error {
		path, b, err := j.file("*.ldb")
		if err != nil {
			return err
		}
		meta, index, err := tables.Footer(b)
		if err != nil {
			return err
		}
		h := index
		switch part {
		case "footer": // the magic at its end, or a handle at its start; not the padding between
			return j.flipByte(path, b, part, int64(len(b)-8+j.r.Intn(2)*(8-tables.FooterLen)), 1+int64(j.r.Intn(2)))
		case "filter":
			hs, err := tables.Handles(b, meta)
			if err != nil {
				return err
			}
			if len(hs) == 0 {
				return unfit("no filter")
			}
			h = hs[0]
		case "data":
			hs, err := tables.Handles(b, index)
			if err != nil {
				return err
			}
			h = hs[j.r.Intn(len(hs))]
			j.notePlace(path, part, 0, 0)
			if err := j.whole(b, h); err != nil {
				return err
			}
			keys := j.out.Place.Keys
			defer func() { j.out.Place.Keys = keys }()
		}
		if err := j.flipByte(path, b, part, int64(h.Offset), int64(h.Size)); err != nil {
			return err
		}
		if part == "filter" {
			j.out.Note = "the data is whole; the checksum of the filter is wrong. A reader that does without filters loses nothing"
		}
		return nil
	}
}

// look reads s/latest before anything is damaged, and closes the database again; the files stay as they are.
func (j *job) look() error {
	db, err := v1.OpenReadOnly(j.dir)
	if err != nil {
		return err
	}
	j.db = db
	j.out.Latest, err = j.latest()
	j.out.Expect.Latest = j.out.Latest
	j.db = nil
	if err != nil {
		return err
	}
	return db.Close()
}

// most keys that are looked for in each version.
const most = 200_000

// within gives the versions that need one of the records. The database must be whole.
func (j *job) within(there map[string]bool) ([]int64, error) {
	db, err := v1.OpenReadOnly(j.dir)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	j.db = db
	defer func() { j.db = nil }()
	stores, err := j.stores(j.out.Latest)
	if err != nil {
		return nil, err
	}
	hit := map[int64]bool{}
	all, err := j.committed()
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		hit[v] = v <= j.out.Latest && there[string(infoKey(v))]
	}
	hit[j.out.Latest] = hit[j.out.Latest] || there["s/latest"]
	seen := 0
	for _, j.store = range stores {
		vs, err := j.versions()
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			nodes, err := j.walk(v)
			if err != nil {
				return nil, err
			}
			if seen += len(nodes); seen > most {
				return nil, nil
			}
			hit[v] = hit[v] || there[string(append(j.prefix(), records.Key(v, 1)...))] || there[string(append(j.prefix(), records.LegacyRootKey(v)...))]
			for _, f := range nodes {
				hit[v] = hit[v] || there[string(append(j.prefix(), f.Key()...))]
			}
		}
	}
	j.store = ""
	out := []int64{}
	for v, h := range hit {
		if h {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out, nil
}

// userKeys of blocks of a table.
func userKeys(file []byte, hs []tables.Handle) (there map[string]bool, first, last string, err error) {
	there = map[string]bool{}
	for _, h := range hs {
		block, err := tables.Block(file, h)
		if err != nil {
			return nil, "", "", err
		}
		keys, _, err := tables.Entries(block)
		if err != nil {
			return nil, "", "", err
		}
		for _, k := range keys {
			last = string(k[:len(k)-8])
			if there[last] = true; first == "" {
				first = last
			}
		}
	}
	return there, first, last, nil
}

// whole notes the keys of blocks of a table, or of all, and which versions need them.
func (j *job) whole(b []byte, hs ...tables.Handle) error {
	if len(hs) == 0 {
		_, index, err := tables.Footer(b)
		if err != nil {
			return err
		}
		if hs, err = tables.Handles(b, index); err != nil {
			return err
		}
	}
	there, first, last, err := userKeys(b, hs)
	if err != nil {
		return err
	}
	j.out.Place.Keys = []string{hex.EncodeToString([]byte(first)), hex.EncodeToString([]byte(last))}
	j.out.Expect.Versions, err = j.within(there)
	return err
}

func tableTruncated(j *job) error {
	path, b, err := j.file("*.ldb")
	if err != nil {
		return err
	}
	j.notePlace(path, "end", int64(len(b)/2), int64(len(b)-len(b)/2))
	if err := j.whole(b); err != nil {
		return err
	}
	return os.Truncate(path, int64(len(b)/2))
}

func tableMissing(j *job) error {
	path, b, err := j.file("*.ldb")
	if err != nil {
		return err
	}
	j.notePlace(path, "all", 0, int64(len(b)))
	if err := j.whole(b); err != nil {
		return err
	}
	return os.Remove(path)
}

func tableExchanged(j *job) error {
	path, b, err := j.file("*.ldb")
	if err != nil {
		return err
	}
	for range 50 {
		other, c, err := j.file("*.ldb")
		if err != nil {
			return err
		}
		if other == path {
			continue
		}
		j.notePlace(path, "all", 0, int64(len(b)))
		if err := j.whole(b); err != nil {
			return err
		}
		j.out.Note = "every checksum is right; the file is " + filepath.Base(other) + ", and its size and keys are not what the manifest says"
		return os.WriteFile(path, c, 0o644)
	}
	return unfit("only one table")
}

func logTruncated(j *job) error {
	path, b, err := j.file("*.log")
	if err != nil {
		return err
	}
	cut := min(4, len(b)/2)
	j.notePlace(path, "end", int64(len(b)-cut), int64(cut))
	j.out.Go = "opens, without the cut record"
	if err := os.Truncate(path, int64(len(b)-cut)); err != nil {
		return err
	}
	latest := j.out.Latest
	if err := j.look(); err != nil {
		return err
	}
	j.out.Expect.Latest, j.out.Latest = j.out.Latest, latest
	j.out.Note = "the last batch in the log is gone: usually that of s/latest, which is then older than the trees"
	return nil
}

func logByte(j *job) error {
	path, b, err := j.file("*.log")
	if err != nil {
		return err
	}
	if len(b) < 64 {
		return unfit("the log is empty")
	}
	return j.flipByte(path, b, "first half", 7, int64(len(b)/2-7))
}

func manifestByte(j *job) error {
	path, b, err := j.manifest()
	if err != nil {
		return err
	}
	return j.flipByte(path, b, "all", 0, int64(len(b)))
}

func manifestTruncated(j *job) error {
	path, b, err := j.manifest()
	if err != nil {
		return err
	}
	j.notePlace(path, "end", 20, int64(len(b)-20))
	return os.Truncate(path, 20)
}

// manifest gives the one that CURRENT names.
func (j *job) manifest() (string, []byte, error) {
	c, err := os.ReadFile(filepath.Join(j.dir, "CURRENT"))
	if err != nil {
		return "", nil, err
	}
	path := filepath.Join(j.dir, strings.TrimSpace(string(c)))
	b, err := os.ReadFile(path)
	return path, b, err
}

func (j *job) current(content []byte) error {
	path := filepath.Join(j.dir, "CURRENT")
	j.notePlace(path, "all", 0, int64(len(content)))
	j.out.Note = "nothing else is wrong"
	if content == nil {
		return os.Remove(path)
	}
	return os.WriteFile(path, content, 0o644)
}

func currentDangling(j *job) error { return j.current([]byte("MANIFEST-999999\n")) }
func currentMissing(j *job) error  { return j.current(nil) }
func currentGarbled(j *job) error  { return j.current(make([]byte, 16)) }
