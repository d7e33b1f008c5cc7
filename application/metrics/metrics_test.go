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
