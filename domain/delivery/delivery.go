// Package delivery is one event on its way to one subscription: an event-sourced
// aggregate. Commands decide and return changes; Apply folds changes into state.
package delivery

import (
	"time"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Delivery is the state that the stream's changes lead to.
type Delivery struct {
	ID                  string
	Tenant              tenant.ID
	EventID             string
	EventType           event.Type
	SubscriptionID      string
	SubscriptionVersion int64 // of the subscription that rendered it
	// BodyNumber names the rendered body among those of the event.
	BodyNumber int
	Warnings   []string
	Status     Status
	// Version is the number of changes in the stream; an append expects it.
	Version int64
	// Attempts counts those made, the abandoned ones too.
	Attempts int
	// Failures counts those in the current run through the retry schedule.
	Failures int
	// Abandonments counts the attempts in a row whose lease ran out.
	Abandonments int
	// DueAt is when the next attempt may start; zero when the delivery is closed or parked.
	DueAt     time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Schedule begins a delivery that is due at once.
func Schedule(s Scheduled) []Change { return []Change{s} }

// ScheduleParked begins a delivery that waits until its subscription is resumed.
func ScheduleParked(s Scheduled, reason string) []Change {
	return []Change{s, Parked{At: s.At, Reason: reason}}
}

// Record decides what an attempt's outcome means. Jitter is in [0, 1).
func (d Delivery) Record(o Outcome, schedule []time.Duration, jitter float64, now time.Time) ([]Change, error) {
	if !d.Status.MayBecome(StatusRetrying) {
		return nil, d.illegal("record an attempt of")
	}
	attempt := Attempt{Number: d.Attempts + 1, Outcome: o}
	if o.Succeeded() {
		return []Change{AttemptSucceeded{At: now, Attempt: attempt}}, nil
	}
	if o.Gone() {
		return []Change{AttemptFailed{At: now, Attempt: attempt}, DeadLettered{At: now, Reason: ReasonGone}}, nil
	}
	delay, again := NextDelay(schedule, d.Failures, o.RetryAfter, jitter)
	if !again {
		return []Change{AttemptFailed{At: now, Attempt: attempt}, DeadLettered{At: now, Reason: ReasonExhausted}}, nil
	}
	return []Change{AttemptFailed{At: now, Attempt: attempt, NextAt: now.Add(delay)}}, nil
}

// Abandon gives up on an attempt whose lease ran out: nobody knows whether the
// receiver got it. The first time it is due again at once; a delivery that keeps
// taking its process down waits longer each time, as if it had failed.
func (d Delivery) Abandon(schedule []time.Duration, startedAt, now time.Time) ([]Change, error) {
	if !d.Status.MayBecome(StatusRetrying) {
		return nil, d.illegal("abandon an attempt of")
	}
	due := now
	if d.Abandonments > 0 && len(schedule) > 0 {
		due = now.Add(schedule[min(d.Abandonments-1, len(schedule)-1)])
	}
	return []Change{AttemptAbandoned{At: now, Number: d.Attempts + 1, StartedAt: startedAt, NextAt: due}}, nil
}

// Park sets the delivery aside while its subscription takes nothing.
func (d Delivery) Park(reason string, now time.Time) ([]Change, error) {
	if !d.Status.MayBecome(StatusParked) {
		return nil, d.illegal("park")
	}
	return []Change{Parked{At: now, Reason: reason}}, nil
}

// Release makes a parked delivery due.
func (d Delivery) Release(now time.Time) ([]Change, error) {
	if d.Status != StatusParked {
		return nil, d.illegal("release")
	}
	return []Change{Released{At: now}}, nil
}

// MaxAttempts is how many attempts a delivery may have had when another is asked for. Whoever looks at the delivery reads all of them, with
// what the receiver has answered.
const MaxAttempts = 1000

// IsSpent reports whether the delivery has been attempted as often as may be asked for.
func (d Delivery) IsSpent() bool { return d.Attempts >= MaxAttempts }

// RequestRetry asks for another attempt now; the retry schedule starts anew.
func (d Delivery) RequestRetry(now time.Time) ([]Change, error) {
	if !d.Status.IsRetryable() {
		return nil, d.illegal("retry")
	}
	if d.IsSpent() {
		return nil, problem.New(problem.Conflict, "Delivery %s has been attempted %d times, and is not attempted again: a replay with the mode rerender makes a new one.", d.ID, d.Attempts)
	}
	return []Change{RetryRequested{At: now}}, nil
}

// Cancel ends a delivery that is not closed yet.
func (d Delivery) Cancel(reason string, now time.Time) ([]Change, error) {
	if !d.Status.MayBecome(StatusCancelled) {
		return nil, d.illegal("cancel")
	}
	return []Change{Cancelled{At: now, Reason: reason}}, nil
}

func (d Delivery) illegal(what string) error {
	return problem.New(problem.Conflict, "Delivery %s is %s: one cannot %s it now.", d.ID, d.Status, what)
}
