package postgres

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestStatementsAreKept looks at the statements and plans that the server has of a connection.
func TestStatementsAreKept(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{URL: pgtest.Empty(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	var kept []string
	err = db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		for range 2 {
			kept = nil
			err := tx.query(ctx, func(r pgx.Rows) error {
				var statement string
				err := r.Scan(&statement)
				kept = append(kept, statement)
				return err
			}, `SELECT statement FROM pg_prepared_statements WHERE statement <> $1`, "")
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !slices.Contains(kept, `SELECT statement FROM pg_prepared_statements WHERE statement <> $1`) {
		t.Errorf("kept are %q, %v", kept, err)
	}
}

// TestPlansAreMadeOnce has one statement run often of which a plan for the week looks cheaper than one for all.
func TestPlansAreMadeOnce(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	var kept, custom int
	err := db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		for range 10 {
			if err := tx.query(ctx, func(pgx.Rows) error { return nil }, knownEvents, []string{"t"}, []string{"evt_1"}, weekOf(time.Now())); err != nil {
				return err
			}
		}
		return tx.query(ctx, func(r pgx.Rows) error { return r.Scan(&kept, &custom) },
			`SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1`, knownEvents)
	})
	if err != nil || kept != 10 || custom != 0 {
		t.Errorf("%d calls by the plan that is kept, %d were planned, %v", kept, custom, err)
	}
}

// TestPlansAge follows for how long plans are kept: a second at first, then ever longer, and in a new week as at first.
func TestPlansAge(t *testing.T) {
	t.Parallel()
	thursday := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) // when a week begins
	for name, c := range map[string]struct {
		began time.Time
		want  []int
	}{
		"within a week": {thursday, []int{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}},
		"into the next": {thursday.Add(-100 * time.Second), []int{0, 1, 3, 7, 15, 31, 63, 100, 101, 103, 107, 115, 131, 163, 223, 283}},
	} {
		var p plans
		renewed := []int{}
		for second := range 300 {
			if at := c.began.Add(time.Duration(second) * time.Second); p.tooOld(at, weekOf(at), weekRows{}) {
				renewed = append(renewed, second)
			}
		}
		if !slices.Equal(renewed, c.want) {
			t.Errorf("%s: renewed after %v seconds, want %v", name, renewed, c.want)
		}
	}
}

// TestPlansEndAsRowsDouble adds rows of one kind within a second, beside a million of the other, and some in a new week.
func TestPlansEndAsRowsDouble(t *testing.T) {
	t.Parallel()
	thursday := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	for _, one := range []weekRows{{records: 1}, {events: 1}} {
		var g growth
		var p plans
		var renewed []int64
		for _, at := range []time.Time{thursday.Add(-time.Millisecond), thursday} {
			week := weekOf(at)
			p.tooOld(at, week, g.add(week, weekRows{1e6 * one.events, 1e6 * one.records}))
			for range 1000 {
				if rows := g.add(week, one); p.tooOld(at, week, rows) {
					renewed = append(renewed, rows.records*one.records+rows.events*one.events)
				}
			}
		}
		if want := []int64{101, 303, 707, 101, 303, 707}; !slices.Equal(renewed, want) {
			t.Errorf("renewed with %v rows, want %v", renewed, want)
		}
	}
}
