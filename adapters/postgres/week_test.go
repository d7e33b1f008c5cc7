package postgres

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestWeeksAreCountedAlike compares what is computed here and in SQL.
func TestWeeksAreCountedAlike(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{URL: pgtest.URL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	monday := time.UnixMicro(2960 * week.Microseconds())
	for _, at := range []time.Time{time.UnixMicro(math.MinInt64), time.UnixMicro(-1), time.UnixMicro(0), monday.Add(-time.Microsecond), monday, time.UnixMicro(math.MaxInt64)} {
		for status, want := range map[delivery.Status]int16{delivery.StatusSucceeded: weekOf(at), delivery.StatusCancelled: weekOf(at), delivery.StatusDeadLetter: 0} {
			var got int16
			if err := db.Query(t.Context(), func(r pgx.Rows) error { return r.Scan(&got) },
				`SELECT (`+weekClosed+`)::smallint FROM (VALUES ($1::text, $2::bigint)) AS v (status, updated_at)`, status, at.UnixMicro()); err != nil || got != want {
				t.Errorf("%s at %s goes to week %d, want %d, %v", status, at, got, want, err)
			}
		}
	}
}

// TestAWeekThatSomebodyHasJustMadeIsFound by a connection that found none before, in a transaction that had begun by then.
func TestAWeekThatSomebodyHasJustMadeIsFound(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), db.config.URL)
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	const table, week = "records", 7000
	late, other := connect(), connect()
	does := func(by *pgx.Conn, sql string, args ...any) {
		t.Helper()
		_, err := by.Exec(t.Context(), sql, args...)
		pgtest.Check(t, err)
	}
	does(late, makeWeek, table, week-1) // and knows its way from then on
	does(late, fmt.Sprintf(missingWeeks, table), week, week)
	does(late, `BEGIN`)
	does(late, `SELECT 1`)
	does(other, makeWeek, table, week)
	does(late, fmt.Sprintf(hearOfParts, table))
	does(late, makeWeek, table, week)
	does(late, `COMMIT`)
}
