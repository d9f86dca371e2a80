package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

func median(costs []cost, of func(cost) float64) float64 {
	var x []float64
	for _, c := range costs {
		x = append(x, of(c))
	}
	return middle(x)
}

// middle of numbers; of an even count, between the two.
func middle(of []float64) float64 {
	x := slices.Sorted(slices.Values(of))
	switch n := len(x); {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return x[n/2]
	default:
		return (x[n/2-1] + x[n/2]) / 2
	}
}

// number writes a figure with as many digits as mean something; "-" if there is none.
func number(x float64, digits int) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, x)
}

func walls(costs []cost) string {
	var out []string
	for _, c := range costs {
		out = append(out, number(c.wall, 2))
	}
	return strings.Join(out, ", ")
}

// table is a table in Markdown.
type table struct{ strings.Builder }

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	t.row(strings.Split(strings.Repeat("---,", len(columns)-1)+"---", ",")...)
	return t
}

func (t *table) row(cells ...string) { fmt.Fprintf(t, "| %s |\n", strings.Join(cells, " | ")) }
