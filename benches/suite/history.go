package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// historyColumns of HISTORY.tsv. New ones go to the end: lines of earlier runs, and of runs that measured less, are shorter.
var historyColumns = []string{"date", "commit", "set", "runs", "wall go:storeshift", "cpu go:storeshift", "rss go:storeshift", "size go:storeshift",
	"wall storeshift:floor", "rss MiB", "wall ns/key", "cpu ns/key", "sync wall go:storeshift", "sync wall ns/node", "sync cpu ns/node"}

// historyFields gives the measured columns of a line; synced is nil where later versions were not measured.
func historyFields(f figures, synced *later) []string {
	m := func(of func(cost) float64) float64 { return median(f.storeshift, of) }
	fields := []string{number(f.ratio(wallOf), 2), number(f.ratio(cpuOf), 2), number(f.ratio(rssOf), 2), number(f.ratio(sizeOf), 2),
		number(m(wallOf)/median(f.floor, wallOf), 2), number(m(rssOf), 0), number(m(cost.nsPerKey), 0), number(m(cost.cpuPerKey), 0)}
	if synced != nil {
		fields = append(fields, number(took(synced.golang, synced.goFirst, wallOf)/took(synced.shift, synced.shiftFirst, wallOf), 2),
			number(synced.perNode(wallOf), 0), number(synced.perNode(cpuOf), 0))
	}
	return fields
}

// record adds a line to HISTORY.tsv.
func (s *suite) record(f figures) error {
	path := filepath.Join(s.out, "HISTORY.tsv")
	text := ""
	if _, err := os.Stat(path); err != nil {
		text = strings.Join(historyColumns, "\t") + "\n"
	}
	line := []string{time.Now().UTC().Format("2006-01-02T15:04Z"), strings.ReplaceAll(commit(), ", with changes", "+"), s.side, fmt.Sprint(s.runs)}
	text += strings.Join(append(line, historyFields(f, s.synced)...), "\t") + "\n"
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.WriteString(file, text)
	return err
}
