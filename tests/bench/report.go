package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// The limits' names among the figures.
const (
	limitA = "limit A: sign and post"
	limitB = "limit B: the same with its rows on PostgreSQL"
)

// figure is one line of the table. Ratios are taken within a round: of a value and the limit measured just before.
type figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	OverA  []float64 `json:"overLimitA,omitempty"`
	OverB  []float64 `json:"overLimitB,omitempty"`
}

func (f *figure) median() float64 { return median(f.Values) }

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// report collects the figures of a run.
type report struct{ figures []*figure }

func (r *report) find(name string) *figure {
	for _, f := range r.figures {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// add notes a value of a figure that may have more of other rounds.
func (r *report) add(name, unit string, value float64) *figure {
	f := r.find(name)
	if f == nil {
		f = &figure{Name: name, Unit: unit}
		r.figures = append(r.figures, f)
	}
	f.Values = append(f.Values, value)
	fmt.Printf("  %-68s %10.2f %s\n", name, value, unit)
	return f
}

// rate is add for deliveries a second, with their ratios to the limits.
func (r *report) rate(name string, value float64) {
	f := r.add(name, "1/s", value)
	if a := r.last(limitA); a > 0 {
		f.OverA = append(f.OverA, value/a)
	}
	if b := r.last(limitB); b > 0 {
		f.OverB = append(f.OverB, value/b)
	}
}

// last is the newest value of a figure; 0 for none.
func (r *report) last(name string) float64 {
	if f := r.find(name); f != nil {
		return f.Values[len(f.Values)-1]
	}
	return 0
}

func (r *report) print(to io.Writer) {
	_, _ = fmt.Fprintf(to, "\n%-68s %10s %10s %10s %-5s %6s %6s\n", "", "minimum", "median", "maximum", "", "× A", "× B")
	for _, f := range r.figures {
		_, _ = fmt.Fprintf(to, "%-68s %10.2f %10.2f %10.2f %-5s %6s %6s\n",
			f.Name, slices.Min(f.Values), f.median(), slices.Max(f.Values), f.Unit, ratio(f.OverA), ratio(f.OverB))
	}
	_, _ = fmt.Fprintf(to, "\n%-88s %10s %8s %8s\n", "bar", "measured", "must", "aim")
	for _, j := range r.judge() {
		_, _ = fmt.Fprintf(to, "%-88s %10s %8s %8s  %s\n", j.Bar, j.Measured, j.Must, j.Aim, j.Verdict)
	}
}

func ratio(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", median(values))
}

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(map[string]any{"figures": r.figures, "bars": r.judge()}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

// name joins the parts of a figure's name.
func name(s setup, parts ...string) string { return s.String() + ", " + strings.Join(parts, ": ") }
