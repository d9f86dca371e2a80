package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"oracle/v1/internal/records"
	"oracle/v1/internal/v1"
)

// broken gives the versions that do not hold up: commit info, root, every node, and the hash of all against the commit info.
func brokenOf(t *testing.T, path string, versions []int64) (out []int64) {
	t.Helper()
	db, err := v1.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	j := job{db: db}
	for _, v := range versions {
		if err := j.examine(v); err != nil {
			out = append(out, v)
		}
	}
	return out
}

func (j *job) examine(v int64) error {
	ci, err := j.commitInfo(v)
	if err != nil {
		return err
	}
	if ci.Version != v {
		return fmt.Errorf("commit info of %d", ci.Version)
	}
	seen := map[string]bool{}
	for _, s := range ci.StoreInfos {
		if s.CommitId.Version == 0 {
			continue
		}
		if seen[s.Name] {
			return fmt.Errorf("%s twice", s.Name)
		}
		seen[s.Name] = true
		j.store = s.Name
		all, root, err := records.Walk(j.get, v)
		if err != nil {
			return err
		}
		hash, err := records.Verify(all)
		if err != nil {
			return err
		}
		if root.Kind == "missing" || !bytes.Equal(hash, s.CommitId.Hash) {
			return fmt.Errorf("%s: %s %x", s.Name, root.Kind, hash)
		}
	}
	return nil
}

func TestEveryKindBreaksTheVersionsThatItNamesAndNoOthers(t *testing.T) {
	// What a walk through the records cannot see, or takes for a fault of its own.
	unseen := []string{"overlong-varint", "latest-ahead"}
	fitted := map[string]bool{}
	for i, set := range []string{"idle", "pruned", "mixed", "legacy", "mixed-pruned"} {
		seed := int64(i + 1)
		from := filepath.Join("..", "..", "..", "fixtures", set, "application.db")
		db, err := v1.OpenReadOnly(from)
		if err != nil {
			t.Fatal(err)
		}
		versions, err := (&job{db: db}).committed()
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
		pruned := brokenOf(t, from, versions)
		versions = slices.DeleteFunc(versions, func(v int64) bool { return slices.Contains(pruned, v) })
		for _, k := range kinds() {
			if i > 2 && !strings.HasPrefix(k.name, "legacy") { // the others have been seen
				continue
			}
			plant := func(dir string) *job {
				j := &job{dir: filepath.Join(dir, "application.db"), backend: "goleveldb", seed: seed}
				if err := j.run(from, k); err != nil {
					t.Logf("%s %s: %v", set, k.name, err)
					return nil
				}
				return j
			}
			j := plant(t.TempDir())
			if j == nil {
				continue
			}
			fitted[k.name] = true
			if set == "mixed" {
				again := plant(t.TempDir())
				j.out.Path, again.out.Path = "", ""
				a, _ := json.Marshal(j.out)
				b, _ := json.Marshal(again.out)
				if !bytes.Equal(a, b) {
					t.Errorf("%s %s seed %d: not the same when planted again:\n%s\n%s", set, k.name, seed, a, b)
				}
			}
			if k.files != nil || slices.Contains(unseen, k.name) {
				continue
			}
			// Older versions that pruning left by half may be named too.
			want := slices.DeleteFunc(slices.Clone(j.out.Expect.Versions), func(v int64) bool { return !slices.Contains(versions, v) })
			if got := brokenOf(t, j.dir, versions); !slices.Equal(got, want) {
				t.Errorf("%s %s seed %d: broken are %v, expected %v (%s %v)", set, k.name, seed, got, want, j.out.Store, j.out.Expect.Nodes)
			}
			if s := j.out.Expect.Sound; s != nil && j.out.Expect.Latest > 0 && *s == slices.Contains(want, j.out.Expect.Latest) {
				t.Errorf("%s %s seed %d: sound is %v, broken are %v", set, k.name, seed, *s, want)
			}
		}
	}
	for _, k := range kinds() {
		if !fitted[k.name] {
			t.Errorf("%s fits none of the sets", k.name)
		}
	}
}
