package main

import (
	"encoding/xml"
	"io"
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
