package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

const (
	goColour    = "#8a94a6"
	shiftColour = "#c2410c"
)

var stepColours = []string{"#7c2d12", "#c2410c", "#f97316", "#fdba74", "#0f766e", "#2dd4bf", "#1d4ed8", "#93c5fd", "#6d28d9", "#c4b5fd"}

// picture draws the last runs of the side-by-side table: time by step, bytes moved and pairs over time, memory over time.
func (s *suite) picture() error {
	if _, ok := s.last["go"]; !ok {
		source, err := s.source(s.side)
		if err != nil {
			return err
		}
		if s.last["go"], err = s.runGo(source, false); err != nil {
			return err
		}
		if s.last["storeshift"], err = s.runStoreshift(source, false, nil); err != nil {
			return err
		}
	}
	golang, shift := s.last["go"], s.last["storeshift"]
	if err := os.WriteFile(filepath.Join(s.out, "picture.svg"), []byte(draw(s.side, golang, shift)), 0o644); err != nil {
		return err
	}
	origin := "sampled from `status.json` (short steps are lost)"
	if shift.reported {
		origin = "as storeshift reports them"
	}
	fmt.Fprintf(&s.text, "\n## Over time\n\n![Time by step, throughput and memory of both](picture.svg)\n\nThe last run of each on set `%s` with a warm cache, sampled every %d ms from `/proc` and `status.json`. Steps of storeshift %s:\n\n", s.side, samplePeriod.Milliseconds(), origin)
	t := newTable("step", "s", "of all")
	for _, x := range shift.steps {
		t.row(x.Name, number(x.Seconds, 2), number(100*x.Seconds/shift.wall, 0)+" %")
	}
	s.text.WriteString(t.String())
	return nil
}

// point of a curve.
type point struct{ x, y float64 }

type curve struct {
	name, colour, dash string
	points             []point
}

// rate gives how fast something grew, over half a second around each sample.
func rate(samples []sample, of func(sample) (float64, bool)) (out []point) {
	const around = 2
	for i := range samples {
		a, b := samples[max(0, i-around)], samples[min(len(samples)-1, i+around)]
		from, ok := of(a)
		to, ok2 := of(b)
		if ok && ok2 && b.seconds > a.seconds {
			out = append(out, point{samples[i].seconds, math.Max(0, to-from) / (b.seconds - a.seconds)})
		}
	}
	return out
}

func draw(set string, golang, shift cost) string {
	const width, left, right, panel, gap = 900, 80, 20, 150, 62
	longest := math.Max(golang.wall, shift.wall)
	x := func(seconds float64) float64 { return left + seconds/longest*(width-left-right) }
	b := &strings.Builder{}
	text := func(x, y float64, anchor, class, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`+"\n", x, y, anchor, class, escape(s))
	}
	box := func(x, y, w, h float64, colour string) {
		fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, math.Max(w, 0), h, colour)
	}

	// Time by step: one bar each; the legend below.
	y := 40.0
	text(left, y-12, "start", "title", fmt.Sprintf("Time by step, set %s", set))
	text(left-8, y+18, "end", "label", "Go")
	box(left, y, x(golang.wall)-left, 26, goColour)
	text(left+8, y+18, "start", "inside", fmt.Sprintf("migration.Manager in one pass, %.2f s", golang.wall))
	text(left-8, y+52, "end", "label", "storeshift")
	at, legend, row := 0.0, float64(left), y+82
	for i, step := range shift.steps {
		colour := stepColours[i%len(stepColours)]
		box(x(at), y+34, x(at+step.Seconds)-x(at), 26, colour)
		at += step.Seconds
		name := fmt.Sprintf("%s %.2f s", step.Name, step.Seconds)
		w := 22 + 6.4*float64(len(name))
		if legend+w > width-right {
			legend, row = left, row+18
		}
		box(legend, row-9, 10, 10, colour)
		text(legend+14, row, "start", "tick", name)
		legend += w
	}
	text(x(math.Max(at, shift.wall))+6, y+52, "start", "label", fmt.Sprintf("%.2f s, %.1f times as fast", shift.wall, golang.wall/shift.wall))

	of := func(c cost, f func(sample) (float64, bool), unit float64) []point {
		points := rate(c.samples, f)
		for i := range points {
			points[i].y /= unit
		}
		return points
	}
	written := func(s sample) (float64, bool) { return s.written, true }
	read := func(s sample) (float64, bool) { return s.read, true }
	count := func(of func(*status) float64) func(sample) (float64, bool) {
		return func(s sample) (float64, bool) {
			if s.status == nil {
				return 0, false
			}
			return of(s.status), true
		}
	}
	rss := func(c cost) (out []point) {
		for _, s := range c.samples {
			out = append(out, point{s.seconds, s.rss})
		}
		return out
	}
	top := row + 52
	for _, p := range []struct {
		title  string
		curves []curve
	}{
		{"Bytes read and written, MB/s", []curve{
			{"Go, written", goColour, "", of(golang, written, 1e6)}, {"Go, read", goColour, "4 3", of(golang, read, 1e6)},
			{"storeshift, written", shiftColour, "", of(shift, written, 1e6)}, {"storeshift, read", shiftColour, "4 3", of(shift, read, 1e6)}}},
		{"Pairs of storeshift, thousands per second", []curve{
			{"restored", shiftColour, "", of(shift, count(func(s *status) float64 { return s.Counts.Restored }), 1e3)},
			{"read back and proven", "#0f766e", "", of(shift, count(func(s *status) float64 { return s.Counts.Proven }), 1e3)}}},
		{"Memory (RSS), MiB", []curve{{"Go", goColour, "", rss(golang)}, {"storeshift", shiftColour, "", rss(shift)}}},
	} {
		highest := 0.0
		for _, c := range p.curves {
			for _, q := range c.points {
				highest = math.Max(highest, q.y)
			}
		}
		step := tick(highest / 4)
		full := math.Max(step, math.Ceil(highest/step)*step)
		text(left, top-12, "start", "title", p.title)
		for v := 0.0; v <= full+step/2; v += step {
			line := top + panel - v/full*panel
			fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" class="grid"/>`+"\n", left, line, width-right, line)
			text(left-8, line+4, "end", "tick", fmt.Sprintf("%g", v))
		}
		second := tick(longest / 10)
		for v := 0.0; v <= longest; v += second {
			text(x(v), top+panel+16, "middle", "tick", fmt.Sprintf("%g s", math.Round(v*100)/100))
		}
		legend := float64(width - right)
		for i := len(p.curves) - 1; i >= 0; i-- {
			c := p.curves[i]
			legend -= 6.4 * float64(len(c.name))
			text(legend, top-12, "start", "tick", c.name)
			fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="2" stroke-dasharray="%s"/>`+"\n", legend-26, top-16, legend-6, top-16, c.colour, c.dash)
			legend -= 42
		}
		for _, c := range p.curves {
			var at []string
			for _, q := range c.points {
				at = append(at, fmt.Sprintf("%.1f,%.1f", x(q.x), top+panel-q.y/full*panel))
			}
			fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.8" stroke-dasharray="%s"/>`+"\n", strings.Join(at, " "), c.colour, c.dash)
		}
		top += panel + gap
	}
	const style = `text{font-family:sans-serif;fill:#1f2937}.title{font-size:14px;font-weight:bold}.label{font-size:13px}.tick{font-size:11px}.inside{font-size:12px;fill:#fff}.grid{stroke:#e5e7eb}`
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f">`+"\n<style>%s</style>\n"+`<rect width="100%%" height="100%%" fill="#fff"/>`+"\n%s</svg>\n",
		width, top-gap/2, width, top-gap/2, style, b)
}

// tick rounds up to 1, 2 or 5 times a power of ten.
func tick(x float64) float64 {
	if x <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, f := range []float64{1, 2, 5} {
		if f*power >= x {
			return f * power
		}
	}
	return 10 * power
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
