package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const samplePeriod = 100 * time.Millisecond

// untilStopped ends with Ctrl-C, and what is being measured with it, so that the scratch directory can be wiped.
var untilStopped, _ = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)

// sample is what a process had done and held at one time.
type sample struct {
	seconds       float64 // since the start
	rss           float64 // MiB
	read, written float64 // bytes of all read and write calls
	status        *status // storeshift's own, if there was one
}

// status is the part of storeshift's status.json that is of use here.
type status struct {
	PID    int    `json:"pid"`
	Phase  string `json:"phase"`
	Counts struct {
		Total    float64 `json:"pairs_total"`
		Restored float64 `json:"pairs_restored"`
		Proven   float64 `json:"pairs_proven"`
		Bytes    float64 `json:"bytes"`
	} `json:"counts"`
}

// step is a part of a run.
type step struct {
	Name    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

// cost is what one run took and left.
type cost struct {
	wall, cpu float64 // seconds
	rss       float64 // MiB
	sc, ss    int64   // bytes
	pairs     float64
	samples   []sample
	steps     []step
	reported  bool // the steps are storeshift's own, not from samples
}

func (c cost) size() float64      { return float64(c.sc + c.ss) }
func (c cost) nsPerKey() float64  { return c.wall / c.pairs * 1e9 }
func (c cost) cpuPerKey() float64 { return c.cpu / c.pairs * 1e9 }
func wallOf(c cost) float64       { return c.wall }
func cpuOf(c cost) float64        { return c.cpu }
func rssOf(c cost) float64        { return c.rss }
func sizeOf(c cost) float64       { return c.size() }
func scOf(c cost) float64         { return float64(c.sc) }
func ssOf(c cost) float64         { return float64(c.ss) }

// measure runs a command to its end; statusFile, if not empty, is read along.
func measure(statusFile string, command ...string) (cost, []byte, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(untilStopped, command[0], command[1:]...)
	cmd.Stdout = &out
	var errors bytes.Buffer
	cmd.Stderr = &errors
	syscall.Sync() // nobody pays for what another left to write
	freshen()      // nor for what a host took away
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, nil, err
	}
	end := make(chan error, 1)
	go func() { end <- cmd.Wait() }()
	var c cost
	tick := time.NewTicker(samplePeriod)
	defer tick.Stop()
	for {
		select {
		case err := <-end:
			c.wall = time.Since(began).Seconds()
			if err != nil {
				return c, nil, fmt.Errorf("%s: %w\n%s%s", strings.Join(command, " "), err, out.Bytes(), errors.Bytes())
			}
			c.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
			if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
				c.rss = float64(usage.Maxrss) / 1024
			}
			return c, out.Bytes(), nil
		case <-tick.C:
			s := look(cmd.Process.Pid, statusFile)
			s.seconds = time.Since(began).Seconds()
			if s.rss > 0 {
				c.samples = append(c.samples, s)
			}
		}
	}
}

// freshen has a process of its own touch a part of the memory that is free. The host of a virtual machine takes free memory away
// within seconds, and fetching it again was measured to cost up to a second of a run of two, by chance.
func freshen() {
	if self, err := os.Executable(); err == nil {
		// Where it is refused, as under a limit, the runs are as they were.
		_ = exec.CommandContext(untilStopped, self, "freshen").Run()
	}
}

func touchFree() error {
	const most = 5 << 30
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return err
	}
	size := min(most, int(info.Freeram)*int(info.Unit)/2)
	const flags = syscall.MAP_PRIVATE | syscall.MAP_ANONYMOUS | syscall.MAP_POPULATE
	_, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, flags)
	return err
}

func look(pid int, statusFile string) (s sample) {
	// Numbers of the lines "name: number" of a file under /proc; 0 where there is none.
	number := func(file, name string) float64 {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		_, after, ok := strings.Cut("\n"+string(b), "\n"+name+":")
		if fields := strings.Fields(after); ok && len(fields) > 0 {
			x, _ := strconv.ParseFloat(fields[0], 64)
			return x
		}
		return 0
	}
	s.rss = number("status", "VmRSS") / 1024
	s.read, s.written = number("io", "rchar"), number("io", "wchar")
	if b, err := os.ReadFile(statusFile); statusFile != "" && err == nil {
		var st status
		if json.Unmarshal(b, &st) == nil {
			s.status = &st
		}
	}
	return s
}

// stepsReported gives the "steps" of storeshift's JSON report, if it printed one: the whole output or a line of it.
func stepsReported(output []byte) []step {
	for _, text := range append([][]byte{output}, bytes.Split(output, []byte("\n"))...) {
		var report struct {
			Steps []step `json:"steps"`
		}
		if json.Unmarshal(text, &report) == nil && len(report.Steps) > 0 {
			return report.Steps
		}
	}
	return nil
}

// stepsSampled tells from the samples how long storeshift took for what, as far as the status file shows it: it is
// written five times a second, and short steps are lost.
func stepsSampled(c cost) (steps []step) {
	last := 0.0
	until := func(seconds float64, name string) {
		if n := len(steps); n > 0 && steps[n-1].Name == name {
			steps[n-1].Seconds += seconds - last
		} else {
			steps = append(steps, step{name, seconds - last})
		}
		last = seconds
	}
	for _, s := range c.samples {
		name := "opening"
		if s.status != nil {
			name = strings.ToLower(s.status.Phase)
			if n := s.status.Counts; name == "restoring" && n.Proven > 0 {
				name = "restoring and reading back"
				if n.Restored >= n.Total {
					name = "reading back"
				}
			}
		}
		until(s.seconds, name)
	}
	until(c.wall, "closing")
	return steps
}

// forget drops the pages of all files under a directory from the page cache: of these files only, for others on the
// machine measure too. It needs no rights beyond reading.
func forget(directory string) error {
	syscall.Sync()
	return eachFile(directory, func(path string, _ int64) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		const dontNeed = 4
		if _, _, e := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); e != 0 {
			return e
		}
		return nil
	})
}

// recall reads all files under a directory, so that they are in the page cache.
func recall(directory string) error {
	return eachFile(directory, func(path string, _ int64) error { return readInto(path, io.Discard) })
}

// copyAll is the floor: it reads the source once, writes the bytes of the result to one file, and syncs that.
func copyAll(source, result, to string) error {
	if err := recall(source); err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	for _, part := range []string{"sc", "ss"} {
		if err := eachFile(filepath.Join(result, part), func(path string, _ int64) error { return readInto(path, out) }); err != nil {
			return err
		}
	}
	return out.Sync()
}

// readInto copies through memory: the kernel must not be able to share blocks between the files.
func readInto(path string, to io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{f}, make([]byte, 1<<20))
	return err
}

func eachFile(directory string, do func(path string, size int64) error) error {
	return filepath.WalkDir(directory, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return do(path, info.Size())
	})
}

func sizeUnder(directory string) (total int64) {
	_ = eachFile(directory, func(_ string, size int64) error { total += size; return nil })
	return total
}
