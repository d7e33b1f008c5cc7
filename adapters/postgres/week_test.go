package postgres

import (
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
