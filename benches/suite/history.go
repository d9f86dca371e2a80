package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sync: a snapshot of the first version and all later ones, less a snapshot alone.
func (s *suite) sync() error {
	source, err := s.source("history")
	if err != nil {
		return err
	}
	dir := filepath.Dir(source)
	var expected struct {
		Config struct {
			Updates int `json:"updates_per_version"`
		} `json:"config"`
		Versions []struct {
			AppHash string `json:"app_hash"`
		} `json:"versions"`
	}
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err == nil {
		err = json.Unmarshal(b, &expected)
	}
	if err != nil {
		return err
	}
	versions := len(expected.Versions) - 1
	hash := expected.Versions[versions].AppHash

	goTo := func(flags ...string) (cost, error) {
		to := filepath.Join(s.scratch, "go")
		defer os.RemoveAll(to)
		if err := recall(dir); err != nil {
			return cost{}, err
		}
		c, out, err := measure("", append([]string{filepath.Join(s.oracle, "gomigrate"), "-from", source, "-to", filepath.Join(to, "sc.db"), "-ss", filepath.Join(to, "ss")}, flags...)...)
		if err == nil && !strings.Contains(string(out), hash) {
			err = fmt.Errorf("the Go migration is not at %s:\n%s", hash, out)
		}
		log.Printf("go          %7.2f s  CPU %7.2f s  %5.0f MiB", c.wall, c.cpu, c.rss)
		return c, err
	}
	var golang, goSnapshot, shift, snapshot []cost
	for range s.runs {
		for _, x := range []struct {
			to  *[]cost
			run func() (cost, error)
		}{
			{&golang, func() (cost, error) { return goTo("-height", "1", "-live", filepath.Join(dir, "changesets.bin")) }},
			{&goSnapshot, func() (cost, error) { return goTo() }},
			{&shift, func() (cost, error) { return s.runStoreshift(source, false, nil, "--at", "oldest") }},
			{&snapshot, func() (cost, error) { return s.runStoreshift(source, false, nil) }},
		} {
			c, err := x.run()
			if err != nil {
				return err
			}
			*x.to = append(*x.to, c)
		}
	}
	changes := float64(versions * expected.Config.Updates)
	t := newTable("", "snapshot s", "with versions s", "versions/s", "wall ns/change", "CPU ns/change", "peak RSS MiB")
	row := func(name string, with, without []cost) (wall, cpu float64) {
		wall, cpu = median(with, wallOf)-median(without, wallOf), median(with, cpuOf)-median(without, cpuOf)
		t.row(name, number(median(without, wallOf), 2), number(median(with, wallOf), 2), number(float64(versions)/wall, 0),
			number(wall/changes*1e9, 0), number(cpu/changes*1e9, 0), number(median(with, rssOf), 0))
		return wall, cpu
	}
	goWall, goCPU := row("Go, SC only", golang, goSnapshot)
	wall, cpu := row("storeshift, SC and SS", shift, snapshot)
	t.row("**Go : storeshift**", "", "", "", "**"+number(goWall/wall, 2)+"**", "**"+number(goCPU/cpu, 2)+"**", "")
	fmt.Fprintf(&s.text, "\n## Later versions\n\nSet `history` (`%s`): %d versions of about %d changes after a snapshot of %.0f keys, medians of %d runs, alternating. What the versions\ntook is what a run with them takes longer than a run that only takes a snapshot of the last one. Go gets the changesets as live\nones, and its state storage does not follow; storeshift finds them in the trees and writes SS too. A change costs storeshift\n× %s of what restoring a key does (wall).\n\n%s",
		sets["history"], versions, expected.Config.Updates, snapshot[0].pairs, s.runs, number(wall/changes*1e9/median(snapshot, cost.nsPerKey), 2), t)
	return nil
}

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
