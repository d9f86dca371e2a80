package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// resume: how long until a killed run goes on, and how long the commands take that only look.
func (s *suite) resume() error {
	t := newTable("set", "`plan` s", "killed when restored", "`status` s", "first new chunk after s", "last run s", "uninterrupted s")
	list := []string{"m1"}
	if s.large {
		list = append(list, "m10")
	}
	for _, set := range list {
		source, err := s.source(set)
		if err != nil {
			return err
		}
		whole, err := s.runStoreshift(source, false, nil)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(s.target()); err != nil {
			return err
		}
		timed := func(args ...string) (float64, error) {
			c, _, err := measure("", append([]string{s.storeshift}, args...)...)
			return c.wall, err
		}
		plan, err := timed("plan", "--source", source, "--target", s.target())
		if err != nil {
			return err
		}
		at, _, err := s.runUntil(source, func(st status, _ float64) bool { return st.Counts.Restored >= st.Counts.Total/2 })
		if err != nil {
			return err
		}
		show, err := timed("status", "--target", s.target())
		if err != nil {
			return err
		}
		// The counter of a run that goes on begins where the journal is.
		_, first, err := s.runUntil(source, func(st status, least float64) bool { return st.Counts.Restored > least })
		if err != nil {
			return err
		}
		rest, err := s.finish(source)
		if err != nil {
			return err
		}
		t.row(about[set], number(plan, 2), number(100*at.Counts.Restored/at.Counts.Total, 0)+" %", number(show, 2), number(first, 2), number(rest, 2), number(whole.wall, 2))
	}
	fmt.Fprintf(&s.text, "\n## Going on\n\nKilled with `SIGKILL` half-way, started again, killed again at the first new chunk (seen in `status.json`, which is written five times a\nsecond) and started a third time, which runs to its end. One run, the source in the page cache.\n\n%s", t)
	return nil
}

// runUntil starts storeshift and kills it when its status is as wanted; it gives that and the seconds until then. least is
// the number of pairs that this run found restored.
func (s *suite) runUntil(source string, wanted func(st status, least float64) bool) (status, float64, error) {
	file := filepath.Join(s.target(), "journal", "status.json")
	cmd := exec.CommandContext(untilStopped, s.storeshift, "run", "--source", source, "--target", s.target())
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return status{}, 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	least := -1.0
	for time.Since(began) < 10*time.Minute {
		time.Sleep(5 * time.Millisecond)
		st := look(0, file).status
		if st == nil || st.PID != cmd.Process.Pid || st.Counts.Total == 0 || st.Phase != "Restoring" {
			if st != nil && st.PID == cmd.Process.Pid && st.Phase == "Done" {
				break
			}
			continue
		}
		if least < 0 {
			least = st.Counts.Restored
		}
		if wanted(*st, least) {
			return *st, time.Since(began).Seconds(), nil
		}
	}
	return status{}, 0, fmt.Errorf("the run was over before it could be killed: take a larger set")
}

func (s *suite) finish(source string) (float64, error) {
	c, _, err := measure("", s.storeshift, "run", "--source", source, "--target", s.target())
	return c.wall, err
}
