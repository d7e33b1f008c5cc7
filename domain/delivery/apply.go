package delivery

import (
	"fmt"
	"time"
)

// Fold rebuilds a delivery from its stream.
func Fold(changes []Change) (Delivery, error) {
	var d Delivery
	for _, c := range changes {
		if err := d.Apply(c); err != nil {
			return Delivery{}, err
		}
	}
	return d, nil
}

// Apply moves the state by one change. It fails on a change that no command
// could have decided in this state: the stream is then not to be trusted.
func (d *Delivery) Apply(c Change) error {
	if scheduled, ok := c.(Scheduled); ok {
		return d.begin(scheduled)
	}
	if !d.mayTake(c) {
		return fmt.Errorf("delivery %s: %T cannot follow at version %d (%s)", d.ID, c, d.Version, d.Status)
	}
	switch c := c.(type) {
	case AttemptSucceeded:
		d.Attempts, d.Abandonments = c.Attempt.Number, 0
		return d.move(StatusSucceeded, time.Time{}, c.At)
	case AttemptFailed:
		d.Attempts, d.Abandonments = c.Attempt.Number, 0
		d.Failures++
		return d.move(StatusRetrying, c.NextAt, c.At)
	case AttemptAbandoned:
		d.Attempts = c.Number
		d.Abandonments++
		return d.move(StatusRetrying, c.NextAt, c.At)
	case Parked:
		return d.move(StatusParked, time.Time{}, c.At)
	case Released:
		// Due since it was scheduled, so that a lane takes up its oldest first; now, if a clock that was set back has that yet to come.
		due := d.CreatedAt
		if c.At.Before(due) {
			due = c.At
		}
		return d.move(StatusPending, due, c.At)
	case DeadLettered:
		return d.move(StatusDeadLetter, time.Time{}, c.At)
	case RetryRequested:
		d.Failures, d.Abandonments = 0, 0
		return d.move(StatusPending, c.At, c.At)
	case Cancelled:
		return d.move(StatusCancelled, time.Time{}, c.At)
	default:
		return fmt.Errorf("delivery: cannot apply %T", c)
	}
}

func (d *Delivery) begin(c Scheduled) error {
	if d.Version != 0 {
		return fmt.Errorf("delivery %s: scheduled twice", d.ID)
	}
	*d = Delivery{
		ID: c.ID, Tenant: c.Tenant, EventID: c.EventID, EventType: c.EventType,
		SubscriptionID: c.SubscriptionID, SubscriptionVersion: c.SubscriptionVersion,
		BodyNumber: c.BodyNumber, Warnings: c.Warnings,
		Status: StatusPending, Version: 1, DueAt: c.At, CreatedAt: c.At, UpdatedAt: c.At,
	}
	return nil
}

// mayTake checks a change against what the commands decide, as far as the table of statuses does not.
func (d *Delivery) mayTake(c Change) bool {
	// An attempt that failed without a next one is followed by the dead letter, and by nothing else.
	spent := d.Status == StatusRetrying && d.DueAt.IsZero()
	if _, dead := c.(DeadLettered); dead || spent {
		return dead && spent
	}
	isNext := func(number int) bool { return number == d.Attempts+1 && d.Status.MayBecome(StatusRetrying) }
	switch c := c.(type) {
	case AttemptSucceeded:
		return isNext(c.Attempt.Number) && c.Attempt.Succeeded()
	case AttemptFailed:
		return isNext(c.Attempt.Number) && !c.Attempt.Succeeded() &&
			(c.NextAt.IsZero() || !c.NextAt.Before(c.At) && !c.Attempt.Gone())
	case AttemptAbandoned:
		return isNext(c.Number) && !c.NextAt.Before(c.At)
	case Released:
		return d.Status == StatusParked
	case RetryRequested:
		return d.Status.IsRetryable()
	default:
		return true
	}
}

func (d *Delivery) move(next Status, due, now time.Time) error {
	if d.Version == 0 || !d.Status.MayBecome(next) {
		return fmt.Errorf("delivery %s: %s cannot become %s", d.ID, d.Status, next)
	}
	d.Status, d.DueAt, d.UpdatedAt = next, due, now
	d.Version++
	return nil
}
