package dispatch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/operational"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// laneEnd is what a step's attempts at one URL say about a lane.
type laneEnd struct {
	Ended
	subscription *subscription.Subscription
	goneToEvent  bool // the receiver said so to an event that is not operational
}

// tell disables subscriptions whose receiver is gone or has only failed for days, and accepts the operational events of the
// step. Attempts at operational events make none, lest the service talk to itself.
func (d *Dispatcher) tell(ctx context.Context, outcomes []settled, now time.Time) error {
	lanes := map[Lane]*laneEnd{}
	for _, r := range outcomes {
		l, of := lanes[r.Leased.Lane()], r.Leased.Subscription
		if l == nil || l.URL != of.URL && l.subscription.Version < of.Version { // what an earlier URL answered says nothing of a later one
			l = &laneEnd{Ended: Ended{URL: of.URL}, subscription: of}
			lanes[r.Leased.Lane()] = l
		}
		if l.URL == of.URL {
			l.note(r.Result)
		}
	}
	told, err := d.noteHealth(ctx, lanes, now)
	if err != nil {
		return err
	}
	for _, r := range outcomes {
		if r.After.Status != delivery.StatusDeadLetter || r.After.EventType.IsOperational() {
			continue
		}
		e, err := operational.DeadLettered(*r.Leased.Subscription, r.After, deadLetterReason(r.Changes), r.Outcome, r.Saved.TraceParent)
		if err != nil {
			return err
		}
		told = append(told, e)
	}
	return operational.Accept(ctx, d.store, told)
}

func (l *laneEnd) note(r Result) {
	business := !r.Leased.Delivery.EventType.IsOperational()
	l.Succeeded = l.Succeeded || r.Outcome.Succeeded() || r.madeUp
	if business && !r.Outcome.Succeeded() {
		l.Failures++
	}
	l.Gone = l.Gone || r.Outcome.Gone()
	l.goneToEvent = l.goneToEvent || business && r.Outcome.Gone()
}

func deadLetterReason(changes []delivery.Change) string {
	for _, c := range changes {
		if dead, ok := c.(delivery.DeadLettered); ok {
			return dead.Reason
		}
	}
	return ""
}

// noteHealth takes the lanes in the same order in all processes, so that two that disable the same ones cannot deadlock.
func (d *Dispatcher) noteHealth(ctx context.Context, lanes map[Lane]*laneEnd, now time.Time) (told []intake.Accepted, err error) {
	ended := make(map[Lane]Ended, len(lanes))
	for lane, l := range lanes {
		ended[lane] = l.Ended
	}
	health, err := d.store.NoteHealth(ctx, ended, now)
	if err != nil {
		return nil, fmt.Errorf("note the lanes' health: %w", err)
	}
	for _, lane := range slices.SortedFunc(maps.Keys(lanes), Lane.Compare) {
		of, err := d.react(ctx, lane, lanes[lane], health[lane], now)
		if err != nil {
			return nil, err
		}
		told = append(told, of...)
	}
	return told, nil
}

// react does what a lane's health calls for, and returns what to tell its tenant's admins.
func (d *Dispatcher) react(ctx context.Context, lane Lane, l *laneEnd, h Health, now time.Time) (told []intake.Accepted, err error) {
	if h.Reached {
		e, err := operational.Failing(*l.subscription, h.Failures, h.FailingSince, now)
		if err != nil {
			return nil, err
		}
		told = append(told, e)
	}
	reason, tell := "", false
	switch {
	case l.Gone:
		reason, tell = subscription.ReasonGone, l.goneToEvent
	case !h.FailingSince.IsZero() && now.Sub(h.FailingSince) >= subscription.FailingTooLong:
		reason, tell = subscription.ReasonFailing, h.Failures > 0
	default:
		return told, nil
	}
	disabled, err := d.disabler.Disable(ctx, lane, l.URL, reason)
	if err != nil {
		err = fmt.Errorf("disable subscription %s: %w", lane.SubscriptionID, err)
	}
	if errors.Is(err, ErrUnreadable) { // it keeps nobody's outcomes from being recorded; the next of its own tries again
		d.undisabled = errors.Join(d.undisabled, err)
		return told, nil
	}
	if err != nil {
		return nil, err
	}
	if disabled == nil || !tell {
		return told, nil
	}
	e, err := operational.Disabled(*disabled)
	return append(told, e), err
}
