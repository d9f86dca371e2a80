// suite measures storeshift side by side with the Go migration (migration.Manager of store/v2, unchanged), in one session,
// alternating, and writes RESULTS.md, picture.svg and a line of ratios to HISTORY.tsv. It owns what is measured and how
// it is put; benches/run.sh builds what it needs and calls it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ofV0 makes a set of legacy nodes of the keys and values of m1.
const ofV0 = "mkv0 -stores 10 -versions 8 -keys 100000 -updates 20000 -val-min 8 -val-max 300 -large 0 -every 1000 -changesets 7 -cache 2000000"

// sets are the databases and what makes them: a program, or several in turn on the same directory.
var sets = map[string]string{
	"medium":      "mkv1 -stores 10 -versions 40 -keys 100000 -genesis 10 -updates 20000 -extra 5",
	"k100":        "mkbig -keys 100000",
	"m1":          "mkbig -keys 1000000",
	"m10":         "mkbig -keys 10000000",
	"skew":        "mkbig -keys 1000000 -skew 0.95",
	"values":      "mkbig -keys 16000 -val-max 65536 -val-log -large 30 -updates 2000",
	"scattered":   "mkbig -keys 1000000 -skew 0.95 -scatter 500 -versions 1",
	"genesis":     "mkbig -keys 100000 -versions 1", // what history and versions10k begin with
	"history":     "mkbig -keys 100000 -versions 201 -updates 1000",
	"versions10k": "mkbig -keys 100000 -versions 10001 -updates 50",
	"legacy":      ofV0,
	"m1-pebble":   "convert -backend pebbledb" + of + "m1",
	"m1-rocks":    "ldb load" + of + "m1",
	"mixed":       ofV0 + then + "mkv1 -continue -versions 8 -every 1000 -changesets 8 -extra 0",
}

const then = " then "

// of makes a set the copy of another one, on another engine.
const of = " of "

// known are the parts, in the order in which they are measured.
var known = []string{"warm", "cold", "picture", "curves", "formats", "engines", "limits", "sync", "resume", "reads", "micro"}

var about = map[string]string{
	"medium":    "1 M keys, 40 versions",
	"k100":      "100 k keys",
	"m1":        "1 M keys",
	"m10":       "10 M keys",
	"skew":      "1 M keys, 95 % in one store",
	"values":    "values of 8 B to 4 MiB",
	"scattered": "1 M keys, 95 % in one store, last written in any of 500 versions",
	"m1-pebble": "the same on PebbleDB",
	"m1-rocks":  "the same on RocksDB, written by 7.8",
	"legacy":    "IAVL 0.19: 8 versions",
	"mixed":     "IAVL 0.19, then 1.2: 8 versions of each",
}

type suite struct {
	data, oracle, storeshift, reads, tests, out, side string
	scratch                                           string
	runs                                              int
	large, json                                       bool
	cgroup                                            string
	last                                              map[string]cost // run of Go and of storeshift with a warm cache, for the picture
	synced                                            *later          // of the set history, for HISTORY.tsv; nil if not measured
	text                                              strings.Builder
}

func main() {
	log.SetFlags(0)
	if len(os.Args) == 5 && os.Args[1] == "copy" {
		check(copyAll(os.Args[2], os.Args[3], os.Args[4]))
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "freshen" {
		check(touchFree())
		return
	}
	s := &suite{last: map[string]cost{}}
	flag.StringVar(&s.data, "data", "", "directory of the sets; made there if they are missing")
	work := flag.String("work", "", "directory for results, on the disk to be measured")
	flag.StringVar(&s.oracle, "oracle", "", "directory of the Go programs")
	flag.StringVar(&s.storeshift, "storeshift", "", "the binary")
	flag.StringVar(&s.reads, "reads", "", "the binary of benches/reads.rs")
	flag.StringVar(&s.tests, "tests", "", "the test binary of the library, for the hot steps")
	flag.StringVar(&s.out, "out", "benches", "where RESULTS.md, HISTORY.tsv and picture.svg go")
	flag.StringVar(&s.side, "set", "medium", "set of the side-by-side table, the picture, the limits and the reads")
	flag.StringVar(&s.cgroup, "cgroup", "", "an empty memory cgroup (v1 or v2) of yours for the limited runs")
	flag.IntVar(&s.runs, "runs", 3, "runs of each")
	flag.BoolVar(&s.large, "large", false, "ten million keys too")
	parts := flag.String("parts", strings.Join(known, ","), "what to measure")
	flag.Parse()
	do := strings.Split(*parts, ",")
	for _, part := range do {
		if !slices.Contains(known, part) {
			log.Fatalf("no part %q; there are %s", part, strings.Join(known, ", "))
		}
	}
	if _, ok := sets[s.side]; !ok || s.runs < 1 || *work == "" || s.data == "" {
		log.Fatal("-set, -runs, -work or -data is wrong")
	}
	if s.tests == "" && slices.Contains(do, "micro") {
		log.Fatal("-tests is needed for micro")
	}
	help, _ := exec.Command(s.storeshift, "run", "--help").CombinedOutput()
	s.json = strings.Contains(string(help), "--json")

	check(os.MkdirAll(*work, 0o755))
	check(os.MkdirAll(s.out, 0o755))
	var err error
	s.scratch, err = os.MkdirTemp(*work, "run")
	check(err)
	err = s.measureAll(do)
	os.RemoveAll(s.scratch)
	check(err)
}

func (s *suite) measureAll(do []string) error {
	began, before := time.Now(), load()
	has := func(part string) bool { return slices.Contains(do, part) }
	var warm []figures
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"warm", func() error { f, err := s.sideBySide(false); warm = append(warm, f); return err }},
		{"cold", func() error { _, err := s.sideBySide(true); return err }},
		{"picture", s.picture},
		{"curves", s.curves},
		{"formats", s.formats},
		{"engines", s.engines},
		{"limits", s.limits},
		{"sync", s.sync},
		{"resume", s.resume},
		{"reads", s.readsOfResult},
		{"micro", s.micro},
	} {
		if !has(part.name) {
			continue
		}
		log.Printf("==> %s", part.name)
		if err := part.run(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	head := &strings.Builder{}
	fmt.Fprintf(head, "# Benchmarks\n\nWritten by `make bench` ([run.sh](run.sh), [suite](suite)); do not edit. [HISTORY.tsv](HISTORY.tsv) has a line of every run.\n\n")
	fmt.Fprintf(head, "- When: %s UTC, %.0f minutes, load before %s, after %s\n", began.UTC().Format("2006-01-02 15:04"), time.Since(began).Minutes(), before, load())
	fmt.Fprintf(head, "- Machine: %s\n- Commit: %s\n", machine(), commit())
	fmt.Fprintf(head, "- Command: `%s`\n", s.command(do))
	fmt.Fprintf(head, "- Go: `gomigrate -from … -to … -ss …`: `migration.Manager` into SC on goleveldb and SS on PebbleDB\n")
	fmt.Fprintf(head, "- storeshift: `storeshift run --source … --target …`: SC and SS on RocksDB, every default; this includes proving the\n  source, reading the whole target back and proving it, which the Go migration does not do\n")
	fmt.Fprintf(head, "- Floor: the source read once, the bytes of the result written once and synced, nothing else\n")
	fmt.Fprintf(head, "- Peak RSS counts file pages a process has mapped. CPU is user and system time. A key is a pair of the migrated version.\n")
	if len(do) < len(known) {
		fmt.Fprintf(head, "- This time only: %s\n", strings.Join(do, ", "))
	}
	result := head.String() + s.text.String()
	if err := os.WriteFile(filepath.Join(s.out, "RESULTS.md"), []byte(result), 0o644); err != nil {
		return err
	}
	fmt.Print(result)
	for _, f := range warm {
		if err := s.record(f); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) command(do []string) string {
	c := fmt.Sprintf("benches/run.sh -set %s -runs %d -parts %s", s.side, s.runs, strings.Join(do, ","))
	if s.large {
		c += " -large"
	}
	return c
}

// source gives the database of a set, and makes it if it is missing.
func (s *suite) source(set string) (string, error) {
	dir := filepath.Join(s.data, set)
	if _, err := os.Stat(filepath.Join(dir, "expected.json")); err != nil {
		log.Printf("==> making %s: %s", set, sets[set])
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
		making := dir + ".making" // of two programs, the first leaves an expected.json too
		if err := os.RemoveAll(making); err != nil {
			return "", err
		}
		if command, original, ok := strings.Cut(sets[set], of); ok {
			if err := s.copyOf(command, original, making); err != nil {
				return "", err
			}
			return filepath.Join(dir, "application.db"), os.Rename(making, dir)
		}
		for _, command := range strings.Split(sets[set], then) {
			words := strings.Fields(command)
			out, err := exec.CommandContext(untilStopped, filepath.Join(s.oracle, words[0]), append(words[1:], "-out", making)...).CombinedOutput()
			if err != nil {
				return "", fmt.Errorf("%s: %w\n%s", command, err, out)
			}
		}
		if err := os.Rename(making, dir); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "application.db"), nil
}

// ready puts the source into the page cache, or out of it.
func ready(source string, cold bool) error {
	if cold {
		return forget(source)
	}
	return recall(source)
}

func (s *suite) target() string { return filepath.Join(s.scratch, "v2") }

// runGo migrates with Go; its output does not stay.
func (s *suite) runGo(source string, cold bool) (cost, error) {
	dir := filepath.Join(s.scratch, "go")
	defer os.RemoveAll(dir)
	if err := ready(source, cold); err != nil {
		return cost{}, err
	}
	sc, ss := filepath.Join(dir, "sc.db"), filepath.Join(dir, "ss")
	backend := "goleveldb"
	if strings.HasSuffix(filepath.Dir(source), "-pebble") {
		backend = "pebbledb"
	}
	c, out, err := measure("", filepath.Join(s.oracle, "gomigrate"), "-from-backend", backend, "-from", source, "-to", sc, "-ss", ss)
	if err != nil {
		return c, err
	}
	if !strings.Contains(string(out), "same as v1") && !strings.Contains(string(out), "same as the IAVL stores of v1") { // cosmos-sdk v0.46 counts memory stores
		return c, fmt.Errorf("the Go migration went wrong:\n%s", out)
	}
	c.sc, c.ss = sizeUnder(sc), sizeUnder(ss)
	log.Printf("go          %7.2f s  CPU %7.2f s  %5.0f MiB", c.wall, c.cpu, c.rss)
	return c, nil
}

// runStoreshift migrates; the target stays until the next run. before is what precedes the command, such as taskset.
func (s *suite) runStoreshift(source string, cold bool, before []string, flags ...string) (cost, error) {
	if err := os.RemoveAll(s.target()); err != nil {
		return cost{}, err
	}
	if err := ready(source, cold); err != nil {
		return cost{}, err
	}
	statusFile := filepath.Join(s.target(), "journal", "status.json")
	command := append(slices.Clone(before), s.storeshift, "run", "--source", source, "--target", s.target())
	if s.json {
		command = append(command, "--json")
	}
	if filepath.Base(filepath.Dir(source)) == "legacy" { // cosmos-sdk v0.46 counts memory stores
		command = append(command, "--leave-out-memory-stores")
	}
	c, out, err := measure(statusFile, append(command, flags...)...)
	if err != nil {
		return c, err
	}
	end := look(0, statusFile).status
	if end == nil || end.Phase != "Done" {
		return c, errors.New("storeshift is not done")
	}
	c.pairs = end.Counts.Total
	if c.steps = stepsReported(out); c.steps != nil {
		c.reported = true
	} else {
		c.steps = stepsSampled(c)
	}
	c.sc, c.ss = sizeUnder(filepath.Join(s.target(), "sc")), sizeUnder(filepath.Join(s.target(), "ss"))
	log.Printf("storeshift  %7.2f s  CPU %7.2f s  %5.0f MiB  %.0f ns/key", c.wall, c.cpu, c.rss, c.nsPerKey())
	return c, nil
}

// runFloor copies as many bytes as the last run of storeshift moved.
func (s *suite) runFloor(source string, cold bool) (cost, error) {
	to := filepath.Join(s.scratch, "copy")
	defer os.Remove(to)
	if err := ready(source, cold); err != nil {
		return cost{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	c, _, err := measure("", self, "copy", source, s.target(), to)
	c.rss = math.NaN() // says nothing
	log.Printf("floor       %7.2f s  CPU %7.2f s", c.wall, c.cpu)
	return c, err
}

func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(b))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

func machine() string {
	first := func(file, pattern string) string {
		b, _ := os.ReadFile(file)
		if m := regexp.MustCompile(pattern).FindSubmatch(b); m != nil {
			return string(m[1])
		}
		return "?"
	}
	kib := 0.0
	fmt.Sscan(first("/proc/meminfo", `MemTotal:\s+(\d+)`), &kib)
	return fmt.Sprintf("%d cores, %s, %.0f GiB, Linux %s", runtime.NumCPU(), first("/proc/cpuinfo", `model name\s*: (.*)`), kib/(1<<20), first("/proc/version", `Linux version (\S+)`))
}

func commit() string {
	b, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	c := strings.TrimSpace(string(b))
	if exec.Command("git", "diff", "--quiet", "HEAD", "--", "src", "Cargo.toml", "Cargo.lock", ".cargo").Run() != nil {
		c += ", with changes"
	}
	return c
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
