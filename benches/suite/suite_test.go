package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestStepsAreTakenFromTheReportWholeOrOnALine(t *testing.T) {
	for _, report := range []string{
		`{"outcome":"done","steps":[{"step":"snapshot","seconds":0.1},{"step":"restore","seconds":2}]}`,
		"{\n \"steps\": [\n  {\"step\": \"snapshot\", \"seconds\": 0.1}, {\"step\": \"restore\", \"seconds\": 2}\n ]\n}\n",
		"job begins\n" + `{"steps":[{"step":"snapshot","seconds":0.1},{"step":"restore","seconds":2}]}` + "\n",
	} {
		if got := stepsReported([]byte(report)); len(got) != 2 || got[1] != (step{"restore", 2}) {
			t.Errorf("%q: %v", report, got)
		}
	}
	if got := stepsReported([]byte("Done.\n12\n{}\n")); got != nil {
		t.Errorf("steps out of nothing: %v", got)
	}
}

func TestMedianOfEvenAndOdd(t *testing.T) {
	costs := []cost{{wall: 5}, {wall: 1}, {wall: 2}, {wall: 4}}
	if got := median(costs, wallOf); got != 3 {
		t.Error(got)
	}
	if got := median(costs[:3], wallOf); got != 2 {
		t.Error(got)
	}
}

func TestThePictureIsWellFormedEvenOfRunsTooShortToSample(t *testing.T) {
	shift := cost{wall: 2, steps: []step{{"read & prove <all>", 2}}, samples: []sample{{seconds: 0.1, rss: 10}, {seconds: 0.2, rss: 30, read: 1e6}}}
	for _, c := range []cost{shift, {wall: 0.01}} {
		d := xml.NewDecoder(strings.NewReader(draw("any", cost{wall: 3}, c)))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestFiguresOfMeasurementTestsAreFoundAmongOtherLines(t *testing.T) {
	output := "\nrunning 2 tests\ntest speed::a ... measured\tleaf hash, 100 B value\t212\tns\nof which measured\tnothing\n" +
		"measured\tinner hash\t180.5\tns\nmeasured\tleaf hash, 100 B value\t220\tns\nok\ntest speed::b ... ok\n"
	got, err := measuredIn(output)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if m := got[0]; m.name != "leaf hash, 100 B value" || m.unit != "ns" || !slices.Equal(m.values, []float64{212, 220}) {
		t.Error(m)
	}
	if m := got[1]; m.name != "inner hash" || !slices.Equal(m.values, []float64{180.5}) {
		t.Error(m)
	}
}

func TestAFigureThatCannotBeReadIsAnError(t *testing.T) {
	for _, output := range []string{"", "running 1 test\n", "measured\tleaf hash\t212\n", "measured\tleaf hash\tfast\tns\n", "measured\tleaf hash\tNaN\tns\n", "measured\t\t1\tns\n", "measured\ta\tb\t1\tns\n"} {
		if got, err := measuredIn(output); err == nil {
			t.Errorf("%q: %v", output, got)
		}
	}
}

func TestNodesOfVersionsAfterTheFirstAreAddedUp(t *testing.T) {
	if got, err := nodesAfter(9, []byte("3\t100\n9\t1000\n10\t20\n11\t4\n")); err != nil || got != 24 {
		t.Error(got, err)
	}
	for _, lines := range []string{"", "9\t10\n", "10\n", "10 5\n", "ten\t5\n", "10\t-5\n"} {
		if got, err := nodesAfter(9, []byte(lines)); err == nil {
			t.Errorf("%q: %v", lines, got)
		}
	}
}

func TestChangesAreCountedAndACutFileIsNot(t *testing.T) {
	put := func(key, value string) string {
		return "\x00" + string(rune(len(key))) + "\x00\x00\x00" + key + string(rune(len(value))) + "\x00\x00\x00" + value
	}
	remove := func(key string) string { return "\x01" + string(rune(len(key))) + "\x00\x00\x00" + key }
	store := func(name string, ops ...string) string {
		return string(rune(len(name))) + "\x00" + name + string(rune(len(ops))) + "\x00\x00\x00" + strings.Join(ops, "")
	}
	version := func(v string, stores ...string) string {
		return v + "\x00\x00\x00\x00\x00\x00\x00" + string(rune(len(stores))) + "\x00\x00\x00" + strings.Join(stores, "")
	}
	file := version("\x02", store("bank", put("a", "1"), remove("b")), store("acc")) + version("\x03", store("acc", put("", "")))
	if got, err := changesIn(strings.NewReader(file)); err != nil || got != 3 {
		t.Error(got, err)
	}
	if got, err := changesIn(strings.NewReader("")); err != nil || got != 0 {
		t.Error(got, err)
	}
	whole := len(version("\x02", store("bank", put("a", "1"), remove("b")), store("acc")))
	for n := 1; n < len(file); n++ {
		if got, err := changesIn(bytes.NewReader([]byte(file[:n]))); n != whole && err == nil {
			t.Errorf("%d bytes: %v", n, got)
		}
	}
}

func TestWhatIsExpectedTellsKeysAndNodesOfTheLastVersion(t *testing.T) {
	var l later
	first, err := l.expect([]byte(`{"versions": [
		{"version": 7, "app_hash": "aa", "stores": {"bank": {"keys": 100}}},
		{"version": 8, "app_hash": "bb", "stores": {"bank": {"keys": 0}}},
		{"version": 9, "app_hash": "cc", "stores": {"bank": {"keys": 5}, "acc": {"keys": 1}, "empty": {"keys": 0}}}]}`))
	if err != nil || first != 7 || l.versions != 2 || l.first != "aa" || l.last != "cc" || l.keys != 6 || l.keyNodes != 10 {
		t.Error(first, err, l)
	}
	if _, err := l.expect([]byte(`{"versions": [{"version": 7}]}`)); err == nil {
		t.Error("no later versions, no error")
	}
}

// aLater took Go 20 s and storeshift 4 s of wall time, and 2 s of CPU, for 1000 nodes that 100 changes made.
func aLater() *later {
	return &later{set: "history", versions: 10, changes: 100, nodes: 1000, keys: 50, keyNodes: 100,
		golang: []cost{{wall: 23, cpu: 30}}, goFirst: []cost{{wall: 3, cpu: 4}},
		shift: []cost{{wall: 5, cpu: 4}}, shiftFirst: []cost{{wall: 1, cpu: 2}}, shiftLatest: []cost{{wall: 2, cpu: 3}}}
}

func TestAChangeAndANodeCostWhatTheFirstVersionDoesNot(t *testing.T) {
	l := aLater()
	for name, x := range map[string]struct{ got, want float64 }{
		"change": {l.perChange(wallOf), 4e7}, "node": {l.perNode(wallOf), 4e6}, "node, CPU": {l.perNode(cpuOf), 2e6},
		"key restored": {l.perKeyRestored(wallOf), 4e7}, "node restored": {l.perNodeRestored(cpuOf), 3e7},
	} {
		if x.got < x.want*0.999 || x.got > x.want*1.001 {
			t.Errorf("%s: %v, not %v", name, x.got, x.want)
		}
	}
}

func TestALineOfTheHistoryIsShorterWhereLaterVersionsWereNotMeasured(t *testing.T) {
	one := []cost{{wall: 1, cpu: 1, rss: 1, sc: 1, pairs: 1}}
	f := figures{one, one, one}
	const before = 4 // date, commit, set, runs
	if got := historyFields(f, nil); len(got) != len(historyColumns)-3-before {
		t.Error(got)
	}
	got := historyFields(f, aLater())
	if len(got) != len(historyColumns)-before || !slices.Equal(got[len(got)-3:], []string{"5.00", "4000000", "2000000"}) {
		t.Error(got)
	}
}
