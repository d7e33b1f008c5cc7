// Command bench measures the service as a whole: the real binary, real requests, a real receiver, in one run.
// Machines are shared and differ, so its figures are for comparing with each other, above all with the two limits that
// it measures beside them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// options of a run.
type options struct {
	quick      bool
	rounds     int
	events     int
	databases  string
	only       string
	out        string
	pprof      string
	statements bool
}

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "the main figures alone, with fewer events and in one round")
	flag.IntVar(&o.rounds, "rounds", 0, "how often what is repeated is measured (default 3; 1 with -quick)")
	flag.IntVar(&o.events, "events", 0, "deliveries of each measurement of throughput (default 50000; 10000 with -quick)")
	flag.StringVar(&o.databases, "databases", "SQLite,PostgreSQL,PostgreSQL×3", "which are measured; ×3 is three processes")
	flag.StringVar(&o.only, "only", "", "run the scenarios whose names contain this, beside the limits")
	flag.StringVar(&o.out, "out", "bench.json", "where the figures go")
	flag.StringVar(&o.pprof, "pprof", "", "a folder for profiles of the service, one for each measurement of throughput")
	flag.BoolVar(&o.statements, "statements", false, "print what cost PostgreSQL most time and room after each measurement of throughput")
	bare := flag.String("bare", "", "for this program's own use: sign and post to this URL")
	flag.Parse()
	o.defaults()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o, *bare)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o *options) defaults() {
	if o.rounds == 0 {
		o.rounds = pick(o.quick, 1, 3)
	}
	if o.events == 0 {
		o.events = pick(o.quick, 10000, 50000)
	}
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func run(ctx context.Context, o options, bare string) error {
	if bare != "" {
		return bareLoop(ctx, bare, o.events)
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	failures := b.runAll(ctx)
	b.report.print(os.Stdout)
	if err := b.report.write(o.out); err != nil {
		return err
	}
	if len(failures) > 0 {
		return errors.New("these failed:\n  " + strings.Join(failures, "\n  "))
	}
	return nil
}
