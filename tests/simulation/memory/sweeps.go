package memory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
)

// noteSweep leaves a sweep that is noted already as it is.
func (s *Store) noteSweep(tx *tx, w sweep.Sweep) {
	tx.queue = true
	if _, noted := s.sweeps.get(laneKey(w.Lane)); !noted {
		s.sweeps.put(tx, laneKey(w.Lane), storedSweep{action: w.Action})
	}
}

// LaneStates says how the lanes' subscriptions are now.
func (s *Store) LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error) {
	done, err := s.read(ctx)
	defer done()
	states := map[dispatch.Lane]fanout.LaneState{}
	for _, lane := range lanes {
		if row, found := s.subscriptions.get(laneKey(lane)); found {
			_, sweeping := s.sweeps.get(laneKey(lane))
			states[lane] = fanout.LaneState{Status: row.Status, Version: row.Version, Sweeping: sweeping}
		}
	}
	return states, err
}

// ResolveFor does both; see fanout.Store.
func (s *Store) ResolveFor(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
	contexts, err := s.Resolve(ctx, lookups)
	if err != nil {
		return nil, nil, err
	}
	states, err := s.LaneStates(ctx, lanes)
	return contexts, states, err
}

// NextSweep is the sweep that waits longest.
func (s *Store) NextSweep(ctx context.Context) (next sweep.Sweep, found bool, err error) {
	done, err := s.read(ctx)
	defer done()
	var turn time.Time
	for k, row := range s.sweeps.all() {
		if !found || row.turn.Before(turn) {
			next, found, turn = sweep.Sweep{Lane: laneOfKey(k), Action: row.action}, true, row.turn
		}
	}
	return next, found && err == nil, err
}

// Swept lists open deliveries of the lane that nobody holds, and counts those that are held.
func (s *Store) Swept(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) (list []delivery.Delivery, held int, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, q := range s.open.under(string(lane.Tenant)) {
		switch {
		case q.SubscriptionID != lane.SubscriptionID:
		case q.lease != "":
			held++
		case slices.Contains(statuses, q.Status):
			list = append(list, q.Delivery)
		}
	}
	slices.SortStableFunc(list, func(a, b delivery.Delivery) int { return strings.Compare(a.ID, b.ID) })
	return list[:min(len(list), limit)], held, err
}

// EndSweep forgets the sweep, or puts it behind the others. One that was replaced meanwhile stays.
func (s *Store) EndSweep(ctx context.Context, w sweep.Sweep, over bool, now time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		row, noted := s.sweeps.get(laneKey(w.Lane))
		switch {
		case !noted || row.action != w.Action:
		case over:
			s.sweeps.drop(tx, laneKey(w.Lane))
			tx.queue = true
		default:
			s.sweeps.put(tx, laneKey(w.Lane), storedSweep{w.Action, now})
		}
		return nil
	})
}
