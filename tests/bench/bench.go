package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// bench is a run.
type bench struct {
	options
	lab      *lab
	receiver *receiver
	report   *report
	setups   []setup
}

// setup is a kind of database and how many processes share it.
type setup struct {
	kind      string
	processes int
}

const (
	kindSQLite   = "SQLite"
	kindPostgres = "PostgreSQL"
)

func (s setup) String() string {
	if s.processes > 1 {
		return fmt.Sprintf("%s×%d", s.kind, s.processes)
	}
	return s.kind
}

var (
	onSQLite    = setup{kindSQLite, 1}
	onPostgres  = setup{kindPostgres, 1}
	onPostgres3 = setup{kindPostgres, 3}
)

func newBench(ctx context.Context, o options) (b *bench, err error) {
	b = &bench{options: o, report: &report{}}
	for _, s := range []setup{onSQLite, onPostgres, onPostgres3} {
		for name := range strings.SplitSeq(o.databases, ",") {
			if name == s.String() {
				b.setups = append(b.setups, s)
			}
		}
	}
	if b.receiver, err = newReceiver(); err != nil {
		return nil, err
	}
	if b.lab, err = newLab(ctx, o); err != nil {
		b.receiver.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	b.receiver.close()
	b.lab.close()
}

// scenario is something to measure.
type scenario struct {
	name   string
	on     []setup
	rounds bool // it is measured in every round, else once after them
	quick  bool // it is part of a quick run
	run    func(ctx context.Context, b *bench, s setup) error
}

// scenarioTimeout bounds a scenario on one database; what hangs must not cost the rest of the run.
const scenarioTimeout = 12 * time.Minute

// scenarios in their order.
func scenarios() (list []scenario) {
	all, single := []setup{onSQLite, onPostgres, onPostgres3}, []setup{onSQLite, onPostgres}
	list = append(list, scenario{"limits", []setup{onPostgres}, true, true, limits})
	for _, w := range workloads {
		list = append(list, scenario{w.name, all, true, w.quick, w.measure})
	}
	return append(list,
		scenario{"latency at 50/s", single, true, true, latencyAt50},
		scenario{"latency at half the maximum", single, true, false, latencyAtHalf},
		scenario{"10,000 subscriptions", single, false, false, manySubscriptions},
		scenario{"receivers down", single, false, false, receiversDown},
		scenario{"hanging endpoint", []setup{onPostgres}, false, false, hangingEndpoint},
		scenario{"kill -9", all, false, false, killed},
		scenario{"transaction in another database", []setup{onPostgres}, false, false, otherDatabase},
		scenario{"snapshot held open", []setup{onPostgres}, false, false, heldSnapshot},
		scenario{"backlog", []setup{onPostgres}, false, false, backlog},
	)
}

// runAll returns what failed; that does not stop the others.
func (b *bench) runAll(ctx context.Context) (failures []string) {
	for round := range b.rounds {
		failures = append(failures, b.runRound(ctx, fmt.Sprintf("round %d of %d", round+1, b.rounds), true)...)
	}
	return append(failures, b.runRound(ctx, "once", false)...)
}

func (b *bench) runRound(ctx context.Context, called string, repeated bool) (failures []string) {
	for _, sc := range scenarios() {
		wanted := sc.name == "limits" || strings.Contains(sc.name, b.only) && (!b.quick || sc.quick || b.only != "")
		if sc.rounds != repeated || !wanted {
			continue
		}
		for _, s := range sc.on {
			if !b.measures(s) || ctx.Err() != nil {
				continue
			}
			fmt.Printf("\n%s  %s, %s (%s)\n", time.Now().Format(time.TimeOnly), s, sc.name, called)
			if err := b.runOne(ctx, sc, s); err != nil {
				failures = append(failures, fmt.Sprintf("%s, %s: %v", s, sc.name, err))
				fmt.Println("  FAILED:", err)
			}
		}
	}
	return failures
}

func (b *bench) runOne(ctx context.Context, sc scenario, s setup) error {
	ctx, cancel := context.WithTimeoutCause(ctx, scenarioTimeout, errors.New("it took too long"))
	defer cancel()
	b.receiver.reset()
	err := sc.run(ctx, b, s)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// measures says whether the setup is among those that were asked for, and can be.
func (b *bench) measures(s setup) bool {
	if s.kind == kindPostgres && b.lab.postgres == nil {
		return false
	}
	for _, asked := range b.setups {
		if asked == s {
			return true
		}
	}
	return false
}

// startPostgres is nil without an error where there is none.
func startPostgres(o options) (*pgtest.Server, error) {
	if !strings.Contains(o.databases, kindPostgres) {
		return nil, nil
	}
	var settings []string
	if o.statements {
		settings = []string{"shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=all", "pg_stat_statements.track_planning=on"}
	}
	server, err := pgtest.Start(settings...)
	if errors.Is(err, pgtest.ErrMissing) {
		fmt.Println("PostgreSQL is left out:", err)
		return nil, nil
	}
	return server, err
}
