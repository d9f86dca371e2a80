package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sync: all later versions after a snapshot of the first one, less a snapshot of the first one alone.
func (s *suite) sync() error {
	t := newTable("set", "", "first version s", "with later ones s", "versions/s", "wall ns/change", "CPU ns/change", "wall ns/node", "CPU ns/node", "peak RSS MiB")
	what := newTable("set", "later versions", "changes", "nodes they made", "nodes/change", "keys restored", "their nodes", "restored: wall ns/key", "CPU ns/key", "wall ns/node", "CPU ns/node")
	var compared strings.Builder
	for _, set := range []string{"history", "versions10k"} {
		log.Printf("    %s", set)
		l, err := s.openLater(set)
		if err != nil {
			return err
		}
		if err := s.runLater(l); err != nil {
			return err
		}
		l.rows(t)
		what.row(set, fmt.Sprint(l.versions), number(l.changes, 0), number(l.nodes, 0), number(l.nodes/l.changes, 2), number(l.keys, 0), number(l.keyNodes, 0),
			number(l.perKeyRestored(wallOf), 0), number(l.perKeyRestored(cpuOf), 0), number(l.perNodeRestored(wallOf), 0), number(l.perNodeRestored(cpuOf), 0))
		ratio := func(a, b func(func(cost) float64) float64, of func(cost) float64) string {
			return number(a(of)/b(of), 2)
		}
		fmt.Fprintf(&compared, "- `%s`: a change costs storeshift × %s of a restored key (CPU × %s), a node that a change made × %s of a restored node (CPU × %s).\n", set,
			ratio(l.perChange, l.perKeyRestored, wallOf), ratio(l.perChange, l.perKeyRestored, cpuOf), ratio(l.perNode, l.perNodeRestored, wallOf), ratio(l.perNode, l.perNodeRestored, cpuOf))
		if set == "history" {
			s.synced = l
		}
	}
	fmt.Fprintf(&s.text, "\n## Later versions\n\nSets `history` (`%s`)\nand `versions10k` (`%s`), medians of %d runs, alternating; Go once on `versions10k`. What\nthe later versions took is what a run with them takes longer than a run on the first version alone (`%s`). Go gets\nthe changesets as live ones, and its state storage does not follow; storeshift finds them in the trees and writes SS too.\n\n%s\n",
		sets["history"], sets["versions10k"], s.runs, sets["genesis"], t)
	fmt.Fprintf(&s.text, "A change makes a path of nodes anew, a restored key has two (an inner one less for each store). Nodes of the later versions are\ncounted in the source (`dump -nodes`), changes in `changesets.bin`. Restored is the last version of the same set, by a run that takes\nnothing else, its start and end included.\n\n%s\n%s", what, &compared)
	return nil
}

// runLater measures a set: Go and storeshift with and without the later versions. Go takes minutes where versions are many.
func (s *suite) runLater(l *later) error {
	genesis, err := s.source("genesis")
	if err != nil {
		return err
	}
	for n := range s.runs {
		for _, x := range []struct {
			to  *[]cost
			run func() (cost, error)
		}{
			{&l.golang, func() (cost, error) {
				return s.goTo(l.source, l.last, "-height", "1", "-live", filepath.Join(filepath.Dir(l.source), "changesets.bin"))
			}},
			{&l.goFirst, func() (cost, error) { return s.goTo(genesis, l.first) }},
			{&l.shift, func() (cost, error) { return s.runStoreshift(l.source, false, nil, "--at", "oldest") }},
			{&l.shiftFirst, func() (cost, error) { return s.runStoreshift(genesis, false, nil, "--app-hash", l.first) }},
			{&l.shiftLatest, func() (cost, error) { return s.runStoreshift(l.source, false, nil, "--app-hash", l.last) }},
		} {
			if l.set == "versions10k" && n > 0 && x.to == &l.golang {
				continue
			}
			c, err := x.run()
			if err != nil {
				return err
			}
			*x.to = append(*x.to, c)
		}
	}
	if got := l.shiftLatest[0].pairs; got != l.keys {
		return fmt.Errorf("the last version of %s has %.0f keys, %.0f were restored", l.set, l.keys, got)
	}
	return nil
}

// goTo migrates with Go, and holds what comes out to an app hash.
func (s *suite) goTo(source, hash string, flags ...string) (cost, error) {
	to := filepath.Join(s.scratch, "go")
	defer os.RemoveAll(to)
	if err := recall(filepath.Dir(source)); err != nil {
		return cost{}, err
	}
	c, out, err := measure("", slices.Concat([]string{filepath.Join(s.oracle, "gomigrate"), "-from", source, "-to", filepath.Join(to, "sc.db"), "-ss", filepath.Join(to, "ss")}, flags)...)
	if err == nil && !strings.Contains(string(out), hash) {
		err = fmt.Errorf("the Go migration is not at %s:\n%s", hash, out)
	}
	log.Printf("go          %7.2f s  CPU %7.2f s  %5.0f MiB", c.wall, c.cpu, c.rss)
	return c, err
}

// rows puts a set into the table of the part.
func (l *later) rows(t *table) {
	row := func(name string, with, first []cost) (wall, cpu float64) {
		wall, cpu = took(with, first, wallOf), took(with, first, cpuOf)
		t.row(l.set, name, number(median(first, wallOf), 2), number(median(with, wallOf), 2), number(float64(l.versions)/wall, 0),
			number(wall/l.changes*1e9, 0), number(cpu/l.changes*1e9, 0), number(wall/l.nodes*1e9, 0), number(cpu/l.nodes*1e9, 0), number(median(with, rssOf), 0))
		return wall, cpu
	}
	goWall, goCPU := row("Go, SC only", l.golang, l.goFirst)
	wall, cpu := row("storeshift, SC and SS", l.shift, l.shiftFirst)
	wallRatio, cpuRatio := "**"+number(goWall/wall, 2)+"**", "**"+number(goCPU/cpu, 2)+"**"
	t.row(l.set, "**Go : storeshift**", "", "", "", wallRatio, cpuRatio, wallRatio, cpuRatio, "")
}
