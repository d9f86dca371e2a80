package main

import (
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// figures are the runs of one set.
type figures struct{ golang, storeshift, floor []cost }

// ratio of the medians, Go to storeshift.
func (f figures) ratio(of func(cost) float64) float64 {
	return median(f.golang, of) / median(f.storeshift, of)
}

func (s *suite) sideBySide(cold bool) (f figures, err error) {
	source, err := s.source(s.side)
	if err != nil {
		return f, err
	}
	for range s.runs {
		for _, x := range []struct {
			to  *[]cost
			run func(string, bool) (cost, error)
		}{
			{&f.golang, s.runGo},
			{&f.storeshift, func(source string, cold bool) (cost, error) { return s.runStoreshift(source, cold, nil) }},
			{&f.floor, s.runFloor},
		} {
			c, err := x.run(source, cold)
			if err != nil {
				return f, err
			}
			*x.to = append(*x.to, c)
		}
	}
	if !cold {
		s.last["go"], s.last["storeshift"] = f.golang[s.runs-1], f.storeshift[s.runs-1]
	}
	title, cache := "Side by side, warm", "in the page cache"
	if cold {
		title, cache = "Side by side, cold", "dropped from the page cache before each run (`posix_fadvise` on its files; nothing else on the machine is dropped)"
	}
	fmt.Fprintf(&s.text, "\n## %s\n\nSet `%s` (`%s`): %.0f keys, %.0f MB. Medians of %d runs, alternating, the source %s.\n\n", title, s.side, sets[s.side],
		f.storeshift[0].pairs, float64(sizeUnder(source))/1e6, s.runs, cache)
	t := newTable("", "wall s", "each run", "CPU s", "peak RSS MiB", "SC MB", "SS MB", "output MB")
	for _, r := range []struct {
		name  string
		costs []cost
	}{{"Go migration", f.golang}, {"storeshift", f.storeshift}} {
		m := func(of func(cost) float64, unit float64, digits int) string {
			return number(median(r.costs, of)/unit, digits)
		}
		t.row(r.name, m(wallOf, 1, 2), walls(r.costs), m(cpuOf, 1, 2), m(rssOf, 1, 0), m(scOf, 1e6, 0), m(ssOf, 1e6, 0), m(sizeOf, 1e6, 0))
	}
	t.row("copy and sync", number(median(f.floor, wallOf), 2), walls(f.floor), number(median(f.floor, cpuOf), 2), "", "", "", "")
	r := func(of func(cost) float64) string { return "**" + number(f.ratio(of), 2) + "**" }
	t.row("**Go : storeshift**", r(wallOf), "", r(cpuOf), r(rssOf), r(scOf), r(ssOf), r(sizeOf))
	t.row("**storeshift : floor**", "**"+number(median(f.storeshift, wallOf)/median(f.floor, wallOf), 2)+"**", "", "", "", "", "", "")
	s.text.WriteString(t.String())
	return f, nil
}

// curves: how cost grows with keys, and with shapes that are out of the ordinary.
func (s *suite) curves() error {
	var rss, wall, cpu []float64
	t, err := s.bySet([]string{"k100", "m1", "m10", "skew", "scattered", "values"}, func(set string, f figures) {
		rss = append(rss, median(f.storeshift, rssOf))
		if slices.Contains([]string{"k100", "m1", "m10"}, set) { // the same shape
			wall, cpu = append(wall, median(f.storeshift, cost.nsPerKey)), append(cpu, median(f.storeshift, cost.cpuPerKey))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(&s.text, "\n## Curves\n\nThe source in the page cache; storeshift: medians of %d runs, Go: one run. Sets of `mkbig`, 8 to 300 byte values unless said otherwise.\n\n%s\n", s.runs, t)
	fmt.Fprintf(&s.text, "From the smallest to the largest number of keys: wall time per key × %.2f, CPU per key × %.2f. Greatest peak RSS : least, over all sets: %.2f.\n",
		wall[len(wall)-1]/wall[0], cpu[len(cpu)-1]/cpu[0], spread(rss))
	return nil
}

// formats: the same number of keys in trees of each format that a source can have.
func (s *suite) formats() error {
	perKey := map[string]float64{}
	t, err := s.bySet([]string{"m1", "legacy", "mixed"}, func(set string, f figures) { perKey[set] = median(f.storeshift, cost.nsPerKey) })
	if err != nil {
		return err
	}
	fmt.Fprintf(&s.text, "\n## Tree formats\n\nAs above; `%s` and `%s`. `m1` is of IAVL 1.x and has 3 versions.\n\n%s\n", sets["legacy"], strings.TrimPrefix(sets["mixed"], ofV0+then), t)
	fmt.Fprintf(&s.text, "Wall time per key, to that of IAVL 1.x: legacy × %.2f, mixed × %.2f.\n", perKey["legacy"]/perKey["m1"], perKey["mixed"]/perKey["m1"])
	return nil
}

// bySet runs storeshift and Go on each set, and gives a table with a row of each.
func (s *suite) bySet(list []string, measured func(set string, f figures)) (*table, error) {
	t := newTable("set", "keys", "source MB", "wall s", "CPU s", "wall ns/key", "CPU ns/key", "peak RSS MiB", "output MB", "Go : storeshift, wall", "CPU")
	for _, set := range list {
		if set == "m10" && !s.large {
			t.row(about[set], "", "", "", "", "", "", "", "", "not run: `make bench-large`", "")
			continue
		}
		source, err := s.source(set)
		if err != nil {
			return nil, err
		}
		log.Printf("    %s", set)
		var f figures
		for range s.runs {
			c, err := s.runStoreshift(source, false, nil)
			if err != nil {
				return nil, err
			}
			f.storeshift = append(f.storeshift, c)
		}
		goes := func(of func(cost) float64) string { return "Go's binding is cgo" }
		if !strings.HasSuffix(set, "-rocks") {
			c, err := s.runGo(source, false)
			if err != nil {
				return nil, err
			}
			f.golang = append(f.golang, c)
			goes = func(of func(cost) float64) string { return number(f.ratio(of), 2) }
		}
		m := func(of func(cost) float64, digits int) string { return number(median(f.storeshift, of), digits) }
		t.row(about[set], number(f.storeshift[0].pairs, 0), number(float64(sizeUnder(source))/1e6, 0), m(wallOf, 2), m(cpuOf, 2),
			m(cost.nsPerKey, 0), m(cost.cpuPerKey, 0), m(rssOf, 0), number(median(f.storeshift, sizeOf)/1e6, 0), goes(wallOf), goes(cpuOf))
		measured(set, f)
	}
	return t, nil
}

func spread(x []float64) float64 {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range x {
		low, high = min(low, v), max(high, v)
	}
	return high / low
}

const limitMiB = 512

// limits: one core, and one core with little memory.
func (s *suite) limits() error {
	source, err := s.source(s.side)
	if err != nil {
		return err
	}
	oneCore := []string{"taskset", "-c", "0"}
	little, how, done, err := s.littleMemory()
	if err != nil {
		return err
	}
	defer done()
	t := newTable("", "wall s", "CPU s", "peak RSS MiB", "wall : unlimited", "CPU : unlimited")
	var free []cost
	for _, x := range []struct {
		name   string
		before []string
	}{{"unlimited", nil}, {"one core", oneCore}, {fmt.Sprintf("one core, %d MiB", limitMiB), append(oneCore, little...)}} {
		var costs []cost
		failed := ""
		for range s.runs {
			c, err := s.runStoreshift(source, false, x.before)
			var exit *exec.ExitError
			if errors.As(err, &exit) { // a result, and not the end of the suite
				log.Print(err)
				failed = exit.Error()
				break
			}
			if err != nil {
				return err
			}
			costs = append(costs, c)
		}
		if failed != "" {
			t.row(x.name, "failed: "+failed, "", "", "", "")
			continue
		}
		if x.before == nil {
			free = costs
		}
		m := func(of func(cost) float64) float64 { return median(costs, of) }
		t.row(x.name, number(m(wallOf), 2), number(m(cpuOf), 2), number(m(rssOf), 0), number(m(wallOf)/median(free, wallOf), 2), number(m(cpuOf)/median(free, cpuOf), 2))
	}
	fmt.Fprintf(&s.text, "\n## Limits\n\nstoreshift on set `%s`, medians of %d runs, the source in the page cache. One core: `taskset -c 0`. Memory: %s.\n\n%s", s.side, s.runs, how, t)
	return nil
}

// littleMemory gives what is to precede a command so that it has little memory, and says how.
func (s *suite) littleMemory() (before []string, how string, done func(), err error) {
	if s.cgroup == "" {
		// Address space would count what RocksDB only reserves; data counts private memory that may be written.
		return []string{"prlimit", fmt.Sprintf("--data=%d", limitMiB<<20)}, fmt.Sprintf("`prlimit --data=%d MiB` (private memory; no cgroup was given, so the page cache is not limited)", limitMiB), func() {}, nil
	}
	file, none := filepath.Join(s.cgroup, "memory.max"), "max"
	if _, err := os.Stat(file); err != nil {
		file, none = filepath.Join(s.cgroup, "memory.limit_in_bytes"), "-1"
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(limitMiB<<20)), 0o644); err != nil {
		return nil, "", nil, err
	}
	enter := `echo $$ >"$0/cgroup.procs" && exec "$@"`
	return []string{"sh", "-c", enter, s.cgroup}, fmt.Sprintf("a cgroup of %d MiB, page cache included", limitMiB),
		func() { check(os.WriteFile(file, []byte(none), 0o644)) }, nil
}

// readsOfResult: what the files of a finished target are worth to those who read them.
func (s *suite) readsOfResult() error {
	source, err := s.source(s.side)
	if err != nil {
		return err
	}
	if _, err := s.runStoreshift(source, false, nil); err != nil {
		return err
	}
	cmd := exec.CommandContext(untilStopped, s.reads, s.target(), filepath.Join(s.scratch, "reads"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	shapes := newTable("", "", "MB", "files", "levels used", "files at level 0", "compaction debt MB")
	reads := newTable("", "", "point read ns", "scan ns per record", "target : this, points", "target : this, scans")
	type pair struct{ point, scan float64 }
	var target pair
	var records []string
	names := map[string]string{"target": "target", "ordered": "filled in key order", "mixed": "filled in mixed order"}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Split(line, "\t")
		if len(f) < 4 {
			return fmt.Errorf("not a figure: %s", line)
		}
		engine, x := strings.ToUpper(f[1]), make([]float64, len(f))
		for i := range f {
			x[i], _ = strconv.ParseFloat(f[i], 64)
		}
		switch f[0] {
		case "shape":
			shapes.row(engine, names[f[2]], number(x[3]/1e6, 1), f[4], f[5], f[6], number(x[7]/1e6, 1))
		case "records":
			records = append(records, fmt.Sprintf("%s has %s records, %s of them read", engine, f[2], f[3]))
		case "reads":
			p := pair{x[3], x[4]}
			if f[2] == "target" {
				target = p
			}
			reads.row(engine, names[f[2]], f[3], f[4], number(target.point/p.point, 2), number(target.scan/p.scan, 2))
		}
	}
	fmt.Fprintf(&s.text, "\n## Final shape\n\nA finished target of set `%s`, against the same pairs written in batches of 1000 with compaction on and left alone until\nnothing is left to compact; the same options everywhere (32 MiB of block cache), medians of 5 rounds, alternating. Below 1.00 the target is\nfaster. Scans are of 100 records. %s. Sizes against Go's output are in the first table.\n\n%s\n%s", s.side, strings.Join(records, "; "), shapes, reads)
	return nil
}
