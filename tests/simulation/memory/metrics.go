package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ordinavo/webhooks/application/metrics"
)

const metricsGroup = "metrics"

// counted is how many attempts there are of a kind.
type counted struct {
	metrics.Key
	attempts int64
}

// MetricsOffsets has one shard.
func (s *Store) MetricsOffsets(ctx context.Context) ([]int64, error) {
	done, err := s.read(ctx)
	defer done()
	at, _ := s.offsets.get(keyOf("", metricsGroup, TopicDeliveries))
	return []int64{at}, err
}

// NextAttempts reads records of deliveries; see metrics.Store.
func (s *Store) NextAttempts(ctx context.Context, _ int, after int64, limit int) (attempts []metrics.Attempt, last int64, read int, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, r := range s.after(after) {
		if r.topic != TopicDeliveries || read == limit {
			continue
		}
		read, last = read+1, r.position
		k := keyOf(r.tenant, strings.TrimPrefix(r.stream, deliveryStream))
		d, found := s.open.get(k)
		if !found {
			d, found = s.closed.get(k)
		}
		a := metrics.Attempt{Tenant: r.tenant, SubscriptionID: d.SubscriptionID, EventType: d.EventType}
		if found && a.Of(r.delivery) {
			attempts = append(attempts, a)
		}
	}
	return attempts, last, read, err
}

// MoveMetricsOffset is false when somebody else has moved it.
func (s *Store) MoveMetricsOffset(ctx context.Context, _ int, from, to int64) (moved bool, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		k := keyOf("", metricsGroup, TopicDeliveries)
		at, _ := s.offsets.get(k)
		if moved = at == from; moved {
			s.offsets.put(tx, k, to)
		}
		return nil
	})
	return moved, err
}

// AddAttempts adds to the counts.
func (s *Store) AddAttempts(ctx context.Context, counts map[metrics.Key]int64) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		for k, n := range counts {
			row := keyOf(k.Tenant, fmt.Sprintf("%020d", k.Minute), fmt.Sprint(k.SubscriptionID, " ", k.EventType, " ", k.Outcome, " ", k.Bucket))
			before, _ := s.attempts.get(row)
			s.attempts.put(tx, row, counted{k, before.attempts + n})
		}
		return nil
	})
}

// AttemptCells sums counts up; see metrics.Reader.
func (s *Store) AttemptCells(ctx context.Context, q metrics.Query, limit int) (cells []metrics.Cell, err error) {
	done, err := s.read(ctx)
	defer done()
	sums := map[metrics.Cell]int64{}
	since, until := q.Since.Unix()/60, q.Until.Unix()/60
	for _, c := range s.attempts.under(string(q.Tenant)) {
		if c.Minute >= since && c.Minute < until && (q.SubscriptionID == "" || c.SubscriptionID == q.SubscriptionID) {
			sums[metrics.Cell{Slot: (c.Minute - since) / int64(q.Interval/metrics.Grain), SubscriptionID: c.SubscriptionID, EventType: c.EventType, Outcome: c.Outcome, Bucket: c.Bucket}] += c.attempts
		}
	}
	for cell, n := range sums {
		cell.Count = n
		cells = append(cells, cell)
	}
	slices.SortFunc(cells, func(a, b metrics.Cell) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), strings.Compare(a.SubscriptionID, b.SubscriptionID), strings.Compare(string(a.EventType), string(b.EventType)),
			strings.Compare(string(a.Outcome), string(b.Outcome)), a.Bucket-b.Bucket)
	})
	return cells[:min(len(cells), limit)], err
}
