package metrics_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
)

func TestEachAttemptIsCountedOnce(t *testing.T) {
	l := newLog()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	p := metrics.NewProjection(l, func() time.Time { return now })
	for i := range 3000 {
		l.attempts = append(l.attempts, metrics.Attempt{Tenant: "acme", SubscriptionID: "sub_1", End: delivery.End{Kind: delivery.KindSucceeded, At: now, Duration: time.Duration(i) * time.Microsecond}})
	}
	if next, err := p.Step(t.Context()); err != nil || next.After(now) {
		t.Fatalf("with more to count it comes again at %s, %v", next, err)
	}
	l.fail = errors.New("the disk is full")
	if _, err := p.Step(t.Context()); !errors.Is(err, l.fail) {
		t.Errorf("got %v", err)
	}
	l.fail = nil
	for range 2 {
		if next, err := p.Step(t.Context()); err != nil || !next.After(now) {
			t.Errorf("with nothing left it comes again at %s, %v", next, err)
		}
	}
	if total := l.shown(); total != 3000 {
		t.Errorf("counted %d of 3000", total)
	}
}

// Whatever the durations: a percentile is within 5% of the one of the sorted list, and merging intervals changes no count.
func TestPercentilesAreNear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		durations := rapid.SliceOfN(rapid.Int64Range(2, 100_000_000), 1, 200).Draw(t, "microseconds")
		buckets := map[int]int64{}
		for _, d := range durations {
			buckets[metrics.BucketOf(time.Duration(d)*time.Microsecond)]++
		}
		var cells summed
		for _, bucket := range slices.Sorted(maps.Keys(buckets)) {
			cells = append(cells, metrics.Cell{SubscriptionID: "sub_1", Bucket: bucket, Count: buckets[bucket]})
		}
		points, err := metrics.Read(context.Background(), cells, metrics.Query{Interval: time.Hour})
		if err != nil || len(points) != 1 || points[0].Count != int64(len(durations)) {
			t.Fatalf("got %+v, %v", points, err)
		}
		slices.Sort(durations)
		for of, got := range map[int]time.Duration{50: points[0].P50, 95: points[0].P95, 99: points[0].P99} {
			want := float64(durations[(len(durations)*of+99)/100-1])
			if near := float64(got.Nanoseconds()) / 1000 / want; near < 0.95 || near > 1.05 {
				t.Fatalf("p%d is %s, of %v µs", of, got, want)
			}
		}
	})
}

type summed []metrics.Cell

func (s summed) AttemptCells(context.Context, metrics.Query, int) ([]metrics.Cell, error) {
	return s, nil
}

func TestTooMuchIsRefused(t *testing.T) {
	if _, err := metrics.Read(t.Context(), make(summed, metrics.MaxCells+1), metrics.Query{}); !problem.Is(err, problem.InvalidRequest) {
		t.Errorf("got %v", err)
	}
}

// silent is a log whose records say nothing of attempts until a position.
type silent struct {
	*log
	upTo int64
}

func (s silent) NextAttempts(ctx context.Context, after int64, limit int) ([]metrics.Attempt, int64, int, error) {
	attempts, last, read, err := s.log.NextAttempts(ctx, after, limit)
	return attempts[min(len(attempts), int(max(0, s.upTo-after))):], last, read, err
}

// Records that are not about attempts, or whose delivery is gone, hold up none of those behind them.
func TestRecordsWithoutAttemptsArePassed(t *testing.T) {
	l := newLog()
	l.attempts = make([]metrics.Attempt, 5000)
	p := metrics.NewProjection(silent{l, 4900}, time.Now)
	for range 4 {
		if _, err := p.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if total := l.shown(); total != 100 {
		t.Errorf("counted %d of 100", total)
	}
}

// overtaken is a log that another process counts at the same time.
type overtaken struct{ *log }

func (overtaken) MoveMetricsOffset(context.Context, metrics.Generation, int64, int64) (bool, error) {
	return false, nil
}

// While another process counts, this one stands by, which is no failure.
func TestWhoIsOvertakenStandsBy(t *testing.T) {
	l, now := newLog(), time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	l.attempts = make([]metrics.Attempt, 5)
	next, err := metrics.NewProjection(overtaken{l}, func() time.Time { return now }).Step(t.Context())
	if err != nil || next.Sub(now) != 15*time.Second || l.shown() != 0 {
		t.Errorf("next at %s, %v; counted %d", next, err, l.shown())
	}
}

// A store may list cells in any order, and outcomes that callers know by one word in several.
func TestCellsComeInAnyOrder(t *testing.T) {
	cell := func(outcome delivery.Kind, bucket int, count int64) metrics.Cell {
		return metrics.Cell{SubscriptionID: "sub_1", Outcome: outcome, Bucket: bucket, Count: count}
	}
	points, err := metrics.Read(t.Context(), summed{cell(delivery.KindConnectionLost, 80, 1), cell(delivery.KindTimeout, 5, 7), cell(delivery.KindConnectionRefused, 8, 99)}, metrics.Query{})
	if err != nil || len(points) != 2 || points[0].Count != 100 || points[0].P50 != metrics.DurationOf(8) || points[0].P99 != metrics.DurationOf(8) || points[1].Count != 7 {
		t.Errorf("got %+v, %v", points, err)
	}
}
