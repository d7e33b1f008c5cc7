package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// Result is an attempt that ended.
type Result struct {
	Leased  Leased
	Outcome delivery.Outcome
	madeUp  bool // a success of the same receiver ended after it, and may have been recorded before it
}

// recorded is what to tell of outcomes once they are committed.
type recorded struct {
	ended map[delivery.Status]int // terminal ones
	stale []string                // deliveries of which an outcome was refused
	due   time.Time               // of the earliest retry; zero for none
}

// settled is an outcome and what it made of its delivery.
type settled struct {
	Result
	Saved
}

// record writes the outcomes of attempts, and tells the tenants' admins what went wrong. Of one delivery there may be two: one that came
// too late, and the one of who leased it since.
func (d *Dispatcher) record(ctx context.Context) (r recorded, err error) {
	d.undisabled = nil
	for len(d.unsaved) < maxRecordedAtOnce && len(d.done) > 0 { // also what came while SQLite's writer was waited for
		d.unsaved = append(d.unsaved, <-d.done)
	}
	if len(d.unsaved) == 0 {
		return r, nil
	}
	now := d.now()
	results, saved := make([]Result, 0, len(d.unsaved)), make([]Saved, 0, len(d.unsaved))
	for _, of := range d.unsaved {
		if s, err := d.decide(of, now); err == nil {
			results, saved = append(results, of), append(saved, s)
		} else { // an outcome that cannot follow must not hold up the others for ever
			r.stale = append(r.stale, of.Leased.Delivery.ID)
		}
	}
	stale, err := d.store.Save(ctx, saved)
	if err != nil {
		return recorded{}, fmt.Errorf("save outcomes: %w", err)
	}
	r.ended = map[delivery.Status]int{}
	told := make([]settled, 0, len(saved))
	for place, s := range saved {
		if slices.Contains(stale, place) {
			r.stale = append(r.stale, s.Before.ID)
			continue
		}
		told = append(told, settled{results[place], s})
		if s.After.Status.IsTerminal() {
			r.ended[s.After.Status]++
		} else if !s.After.DueAt.IsZero() {
			r.due = earlier(r.due, s.After.DueAt)
		}
	}
	return r, d.tell(ctx, told, now)
}

func (d *Dispatcher) decide(r Result, now time.Time) (Saved, error) {
	before := r.Leased.Delivery
	changes, err := before.Record(r.Outcome, r.Leased.Subscription.RetrySchedule, d.jitter(), now)
	if err != nil {
		return Saved{}, err
	}
	s, err := Move(before, changes)
	s.Lease, s.TraceParent = r.Leased.Lease, r.Leased.TraceParent
	return s, err
}

// Move is the delivery moved by changes decided on it, held by nobody and without a trace.
func Move(before delivery.Delivery, changes []delivery.Change) (Saved, error) {
	after := before
	for _, c := range changes {
		if err := after.Apply(c); err != nil {
			return Saved{}, err
		}
	}
	return Saved{Before: before, After: after, Changes: changes}, nil
}
