package main

import (
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// measured is a figure of a measurement test; a test may take it several times.
type measured struct {
	name, unit string
	values     []float64
}

// micro: hot steps by themselves, as measurement tests of the library see them.
func (s *suite) micro() error {
	// One at a time: they would share the cores.
	out, err := exec.CommandContext(untilStopped, s.tests, "--ignored", "--nocapture", "--test-threads", "1", "speed").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	list, err := measuredIn(string(out))
	if err != nil {
		return err
	}
	t := newTable("step", "median", "unit", "times measured")
	for _, m := range list {
		x := middle(m.values)
		t.row(m.name, number(x, digits(x)), m.unit, strconv.Itoa(len(m.values)))
	}
	fmt.Fprintf(&s.text, "\n## Hot steps\n\nMeasured by tests of the library, one after the other: `cargo test --release --lib -- --ignored --nocapture --test-threads 1 speed`.\n\n%s", t)
	return nil
}

// measuredIn gives the figures of lines "measured <tab> name <tab> number <tab> unit", in the order in which they first come.
// Other lines are for people. Before the first line of a test stands the test's name, without a line break.
func measuredIn(output string) (list []measured, err error) {
	for _, line := range strings.Split(output, "\n") {
		before, rest, ok := strings.Cut(line, "measured\t")
		if !ok || before != "" && !strings.HasSuffix(before, " ... ") {
			continue
		}
		f := strings.Split(rest, "\t")
		if len(f) != 3 || f[0] == "" {
			return nil, fmt.Errorf("not name, number, unit: %q", line)
		}
		x, err := strconv.ParseFloat(f[1], 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("not a number: %q", line)
		}
		i := slices.IndexFunc(list, func(m measured) bool { return m.name == f[0] && m.unit == f[2] })
		if i < 0 {
			i, list = len(list), append(list, measured{name: f[0], unit: f[2]})
		}
		list[i].values = append(list[i].values, x)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no test measured anything:\n%s", output)
	}
	return list, nil
}

// digits that mean something: three or so.
func digits(x float64) int {
	switch x = math.Abs(x); {
	case x >= 100:
		return 0
	case x >= 10:
		return 1
	}
	return 2
}
