package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// later is a set with many versions, and the runs that apply those after the first.
type later struct {
	set, source string
	versions    int     // after the first
	changes     float64 // in them
	nodes       float64 // tree nodes that they made
	keys        float64 // of the last version
	keyNodes    float64 // and nodes of its trees
	first, last string  // app hashes of the first version and the last

	golang, goFirst                []cost // with all versions; a snapshot of the first alone
	shift, shiftFirst, shiftLatest []cost // the same, and a snapshot of the last alone
}

// took is what the versions after the first took.
func took(with, first []cost, of func(cost) float64) float64 {
	return median(with, of) - median(first, of)
}

// perChange gives nanoseconds of storeshift for a change, perNode for a node that one made.
func (l *later) perChange(of func(cost) float64) float64 {
	return took(l.shift, l.shiftFirst, of) / l.changes * 1e9
}

func (l *later) perNode(of func(cost) float64) float64 {
	return took(l.shift, l.shiftFirst, of) / l.nodes * 1e9
}

// perKeyRestored gives nanoseconds for a key of the last version where nothing but that is migrated, perNodeRestored for a node.
func (l *later) perKeyRestored(of func(cost) float64) float64 {
	return median(l.shiftLatest, of) / l.keys * 1e9
}

func (l *later) perNodeRestored(of func(cost) float64) float64 {
	return median(l.shiftLatest, of) / l.keyNodes * 1e9
}

// openLater opens a set and counts what its versions did. Nodes are counted in the source by the Go program dump, changes in
// what mkbig wrote down.
func (s *suite) openLater(set string) (*later, error) {
	source, err := s.source(set)
	if err != nil {
		return nil, err
	}
	l := &later{set: set, source: source}
	dir := filepath.Dir(source)
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		return nil, err
	}
	begin, err := l.expect(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	file, err := os.Open(filepath.Join(dir, "changesets.bin"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if l.changes, err = changesIn(file); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	out, err := exec.CommandContext(untilStopped, filepath.Join(s.oracle, "dump"), "-nodes", "-from", source).Output()
	if err != nil {
		return nil, fmt.Errorf("dump: %w", err)
	}
	l.nodes, err = nodesAfter(begin, out)
	return l, err
}

// expect takes from expected.json what is in it, and gives the number of the first version.
func (l *later) expect(text []byte) (first int64, err error) {
	var e struct {
		Versions []struct {
			Version int64  `json:"version"`
			AppHash string `json:"app_hash"`
			Stores  map[string]struct {
				Keys float64 `json:"keys"`
			} `json:"stores"`
		} `json:"versions"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return 0, err
	}
	if len(e.Versions) < 2 {
		return 0, fmt.Errorf("%d versions are expected, no later ones", len(e.Versions))
	}
	begin, end := e.Versions[0], e.Versions[len(e.Versions)-1]
	l.versions, l.first, l.last = len(e.Versions)-1, begin.AppHash, end.AppHash
	l.keys, l.keyNodes = 0, 0
	for _, store := range end.Stores {
		l.keys += store.Keys
		l.keyNodes += max(0, 2*store.Keys-1) // each inner node of the tree has two children
	}
	return begin.Version, nil
}
