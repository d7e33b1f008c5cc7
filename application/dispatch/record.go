package dispatch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// result is an attempt that ended.
type result struct {
	leased  Leased
	outcome delivery.Outcome
}

// record writes what came of the attempts that ended, and counts what reached a terminal status.
func (d *Dispatcher) record(ctx context.Context) (ended map[delivery.Status]int, err error) {
	if len(d.unsaved) == 0 {
		return nil, nil
	}
	now := d.now()
	saved := make([]Saved, 0, len(d.unsaved))
	var refused []string
	for _, r := range d.unsaved {
		if s, err := d.decide(r, now); err == nil {
			saved = append(saved, s)
		} else { // an outcome that cannot follow must not hold up the others for ever
			refused = append(refused, r.leased.Delivery.ID)
		}
	}
	stale, err := d.store.Save(ctx, saved)
	if err != nil {
		return nil, fmt.Errorf("save outcomes: %w", err)
	}
	stale = append(stale, refused...)
	for _, id := range stale {
		d.observer.StaleLease(ctx, id)
	}
	ended = map[delivery.Status]int{}
	for _, s := range saved {
		if s.After.Status.IsTerminal() && !slices.Contains(stale, s.Before.ID) {
			ended[s.After.Status]++
		}
	}
	return ended, d.noteHealth(ctx, stale, now)
}

func (d *Dispatcher) decide(r result, now time.Time) (Saved, error) {
	before := r.leased.Delivery
	changes, err := before.Record(r.outcome, r.leased.Subscription.RetrySchedule, d.jitter(), now)
	if err != nil {
		return Saved{}, err
	}
	after, err := Apply(before, changes)
	return Saved{Before: before, After: after, Changes: changes, Lease: r.leased.Lease, TraceParent: r.leased.TraceParent}, err
}

// Apply folds changes into a delivery.
func Apply(d delivery.Delivery, changes []delivery.Change) (delivery.Delivery, error) {
	for _, c := range changes {
		if err := d.Apply(c); err != nil {
			return d, err
		}
	}
	return d, nil
}

// noteHealth disables a subscription whose receiver is gone, or has only failed for days.
func (d *Dispatcher) noteHealth(ctx context.Context, stale []string, now time.Time) error {
	lanes, gone := map[Lane]bool{}, map[Lane]bool{}
	for _, r := range d.unsaved {
		if slices.Contains(stale, r.leased.Delivery.ID) {
			continue
		}
		lanes[r.leased.Lane()] = lanes[r.leased.Lane()] || r.outcome.Succeeded()
		gone[r.leased.Lane()] = gone[r.leased.Lane()] || r.outcome.Gone()
	}
	failingSince, err := d.store.NoteHealth(ctx, lanes, now)
	if err != nil {
		return fmt.Errorf("note the lanes' health: %w", err)
	}
	// One order for all processes, so that two that disable the same lanes do not wait for each other.
	for _, lane := range slices.SortedFunc(maps.Keys(lanes), Lane.Compare) {
		succeeded, reason := lanes[lane], ""
		switch since := failingSince[lane]; {
		case gone[lane]:
			reason = subscription.ReasonGone
		case !succeeded && !since.IsZero() && now.Sub(since) >= subscription.FailingTooLong:
			reason = subscription.ReasonFailing
		default:
			continue
		}
		if err := d.disabler.Disable(ctx, lane, reason); err != nil {
			return fmt.Errorf("disable subscription %s: %w", lane.SubscriptionID, err)
		}
	}
	return nil
}
