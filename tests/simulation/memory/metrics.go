package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// counted is how many attempts there are of a kind.
type counted struct {
	metrics.Key
	generation metrics.Generation
	attempts   int64
}

func metricsGroup(g metrics.Generation) key {
	return keyOf("", fmt.Sprint("metrics/", g), records.TopicDeliveries)
}

// generations are those of the counts; a new store has the first.
func (s *Store) generations() (live, newest metrics.Generation) {
	state, _ := s.projections.get(keyOf("", "metrics"))
	return 1 + state.live, 1 + state.newest
}

func (s *Store) setGenerations(tx *tx, live, newest metrics.Generation) {
	s.projections.put(tx, keyOf("", "metrics"), storedProjection{live - 1, newest - 1})
	for _, k := range slices.Clone(s.offsets.keys) {
		if strings.HasPrefix(k[1], "metrics/") && k != metricsGroup(live) && k != metricsGroup(newest) {
			s.offsets.drop(tx, k)
		}
	}
}

// MetricsOffset is how far the log is counted in a generation; see metrics.Store.
func (s *Store) MetricsOffset(ctx context.Context, of metrics.Generation) (metrics.Generation, int64, error) {
	done, err := s.read(ctx)
	defer done()
	if live, _ := s.generations(); of == metrics.Live {
		of = live
	}
	at, _ := s.offsets.get(metricsGroup(of))
	return of, at, err
}

// BeginGeneration makes a new one beside the live one; see metrics.RebuildStore.
func (s *Store) BeginGeneration(ctx context.Context) (begun metrics.Generation, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		live, newest := s.generations()
		begun = newest + 1
		s.setGenerations(tx, live, begun)
		return nil
	})
	return begun, err
}

// GoLive makes the generation live once it is counted as far as the live one; see metrics.RebuildStore.
func (s *Store) GoLive(ctx context.Context, g metrics.Generation) (is bool, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		live, newest := s.generations()
		if newest != g {
			return metrics.ErrSuperseded
		}
		before, _ := s.offsets.get(metricsGroup(live))
		after, _ := s.offsets.get(metricsGroup(g))
		if is = after >= before; is {
			s.setGenerations(tx, g, g)
		}
		return nil
	})
	return is, err
}

// NextAttempts reads records of deliveries; see metrics.Store.
func (s *Store) NextAttempts(ctx context.Context, after int64, limit int) (attempts []metrics.Attempt, last int64, read int, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, r := range s.after(after) {
		if r.topic != records.TopicDeliveries || read == limit {
			continue
		}
		read, last = read+1, r.position
		k := keyOf(r.tenant, strings.TrimPrefix(r.stream, deliveryStream))
		d, found := s.open.get(k)
		if !found {
			d, found = s.closed.get(k)
		}
		if end, ok := delivery.EndOf(r.delivery); ok && found {
			attempts = append(attempts, metrics.Attempt{Tenant: r.tenant, SubscriptionID: d.SubscriptionID, EventType: d.EventType, End: end})
		}
	}
	return attempts, last, read, err
}

// MoveMetricsOffset moves a generation's offset; see metrics.Store.
func (s *Store) MoveMetricsOffset(ctx context.Context, of metrics.Generation, from, to int64) (moved bool, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		live, newest := s.generations()
		at, _ := s.offsets.get(metricsGroup(of))
		if moved = at == from && (of == live || of == newest); moved {
			s.offsets.put(tx, metricsGroup(of), to)
		}
		return nil
	})
	return moved, err
}

// AddAttempts adds to the counts.
func (s *Store) AddAttempts(ctx context.Context, to metrics.Generation, counts map[metrics.Key]int64) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		for k, n := range counts {
			row := keyOf(k.Tenant, fmt.Sprintf("%020d", k.Minute), fmt.Sprint(to, " ", k.SubscriptionID, " ", k.EventType, " ", k.Outcome, " ", k.Bucket))
			before, _ := s.attempts.get(row)
			s.attempts.put(tx, row, counted{k, to, before.attempts + n})
		}
		return nil
	})
}

func cellOf(q metrics.Query, k metrics.Key, slot int64) metrics.Cell {
	cell := metrics.Cell{Slot: slot, Bucket: k.Bucket}
	if !q.Together.Subscriptions {
		cell.SubscriptionID = k.SubscriptionID
	}
	if !q.Together.Types {
		cell.EventType = k.EventType
	}
	if !q.Together.Outcomes {
		cell.Outcome = k.Outcome
	}
	return cell
}

// AttemptCells sums counts up; see metrics.Reader.
func (s *Store) AttemptCells(ctx context.Context, q metrics.Query, limit int) (cells []metrics.Cell, err error) {
	done, err := s.read(ctx)
	defer done()
	sums := map[metrics.Cell]int64{}
	since, until := q.Since.Unix()/60, q.Until.Unix()/60
	live, _ := s.generations()
	for _, c := range s.attempts.under(string(q.Tenant)) {
		if c.generation == live && c.Minute >= since && c.Minute < until && (q.SubscriptionID == "" || c.SubscriptionID == q.SubscriptionID) {
			sums[cellOf(q, c.Key, (c.Minute-since)/int64(q.Interval/metrics.Grain))] += c.attempts
		}
	}
	for cell, n := range sums {
		cell.Count = n
		cells = append(cells, cell)
	}
	slices.SortFunc(cells, metrics.Cell.Compare) // so that a seed repeats
	return cells[:min(len(cells), limit)], err
}
