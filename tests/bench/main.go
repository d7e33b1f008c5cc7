// Command bench measures the service as a whole: the real binary, real requests, a real receiver, in one run.
// Its figures are for comparing with each other; these machines are shared.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// figure is one line of the table.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// report collects the figures of a run.
type report struct{ figures []figure }

func (r *report) add(unit string, value float64, name string, args ...any) {
	f := figure{fmt.Sprintf(name, args...), value, unit}
	r.figures = append(r.figures, f)
	fmt.Printf("%-58s %12.2f %s\n", f.Name, f.Value, f.Unit)
}

func main() {
	seconds := flag.Int("seconds", 20, "how long latency is measured")
	events := flag.Int("events", 20000, "how many events throughput is measured with")
	databases := flag.String("databases", "SQLite,PostgreSQL", "which databases are measured")
	out := flag.String("out", "bench.json", "where the figures go")
	flag.Parse()
	if err := run(context.Background(), strings.Split(*databases, ","), *seconds, *events, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, databases []string, seconds, events int, out string) error {
	var r report
	target, err := newReceiver()
	if err != nil {
		return err
	}
	defer target.close()
	limit, err := bareLoop(ctx, target, events)
	if err != nil {
		return fmt.Errorf("bare loop: %w", err)
	}
	r.add("1/s", limit, "limit A: a bare loop that signs and posts")
	l, err := newLab(ctx, slices.Contains(databases, "PostgreSQL"))
	if err != nil {
		return err
	}
	defer l.close()
	for _, step := range []struct {
		name string
		run  func(context.Context, *report, *service, *receiver) error
	}{
		{"latency", func(ctx context.Context, r *report, s *service, rc *receiver) error {
			return latency(ctx, r, s, rc, 50, time.Duration(seconds)*time.Second)
		}},
		{"batched", func(ctx context.Context, r *report, s *service, rc *receiver) error {
			return throughput(ctx, r, s, rc, limit, events, 100, 8)
		}},
		{"one by one", func(ctx context.Context, r *report, s *service, rc *receiver) error {
			return throughput(ctx, r, s, rc, limit, events, 1, 64)
		}},
	} {
		for _, kind := range databases {
			if err := l.withService(ctx, kind, func(s *service) error { return step.run(ctx, &r, s, target) }); err != nil {
				return fmt.Errorf("%s, %s: %w", kind, step.name, err)
			}
		}
	}
	text, err := json.MarshalIndent(r.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o600)
}
