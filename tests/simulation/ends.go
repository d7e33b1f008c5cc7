package simulation

import (
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// checkEnds is I1 for the way that a delivery took: whatever parked, released, cancelled or gave it up has its reason in
// what came before, in its own stream and in its subscription's.
func (w *world) checkEnds(row memory.Row) {
	of := laneHistory(w.store.SubscriptionStream(laneOfRow(row)))
	var d delivery.Delivery
	gone := false
	for _, placed := range w.store.DeliveryStream(row.Tenant, row.ID) {
		resumed, skipped := of.resumed(placed.Position)
		status := of.before(placed.Position).Status
		switch c := placed.Change.(type) {
		case delivery.Parked:
			if d.Version > 1 && status != subscription.StatusPaused && status != subscription.StatusDisabled {
				w.violate("I1", "%s was parked while its subscription was %s", d.ID, status)
			}
		case delivery.Released:
			w.counts.Released++
			if !resumed || skipped {
				w.violate("I1", "%s was released, and its subscription was not resumed with what was parked", d.ID)
			}
		case delivery.Cancelled:
			if status != subscription.StatusDeleted && (!skipped || d.Status != delivery.StatusParked) {
				w.violate("I1", "%s was cancelled while it was %s: its subscription was %s, not deleted, nor resumed without what was parked", d.ID, d.Status, status)
			}
		case delivery.AttemptFailed:
			s := w.journal.bySpan[c.Attempt.TraceID]
			if s == nil {
				w.violate("I2", "an attempt of %s failed that nobody has made: %+v", d.ID, c.Attempt)
				return
			}
			w.checkNext(d, c, s.schedule)
			if gone = c.Attempt.Gone(); gone {
				w.checkGone(d, s, of.before(placed.Position), of.next(placed.Position))
			}
		case delivery.AttemptAbandoned:
			w.checkAgain(d, c, of.before(placed.Position).RetrySchedule)
		case delivery.DeadLettered:
			if gone != (c.Reason == delivery.ReasonGone) {
				w.violate("I1", "%s was given up since %s (gone: %t)", d.ID, c.Reason, gone)
			}
		}
		must(d.Apply(placed.Change))
	}
}

// checkNext is I5 for what a failure leads to: the next wait, with its jitter, of the schedule by which the attempt was made, or as long as the
// receiver asked for; and the dead letter once the schedule is used up, or the receiver is gone, not before.
func (w *world) checkNext(d delivery.Delivery, c delivery.AttemptFailed, schedule []time.Duration) {
	over := c.Attempt.Gone() || d.Failures >= len(schedule)
	if over || c.NextAt.IsZero() {
		if over != c.NextAt.IsZero() {
			w.violate("I1", "after failure %d of at most %d (%d) %s is to be attempted next at %s", d.Failures+1, len(schedule)+1, c.Attempt.Status, d.ID, c.NextAt)
		}
		return
	}
	asked, wait := c.Attempt.RetryAfter, schedule[d.Failures]
	if next := c.NextAt.Sub(c.At); next < max(asked, wait) || next > max(asked, wait+wait/10) {
		w.violate("I5", "%s is due %s after failure %d; the schedule says %s and the receiver %s", d.ID, next, d.Failures+1, wait, asked)
	}
}

// checkAgain is I5 for an attempt of which nobody knows the end: it is made again at once, and each further time as late as
// its subscription says by then.
func (w *world) checkAgain(d delivery.Delivery, c delivery.AttemptAbandoned, schedule []time.Duration) {
	var wait time.Duration
	if d.Abandonments > 0 {
		wait = schedule[min(d.Abandonments, len(schedule))-1]
	}
	if next := c.NextAt.Sub(c.At); next != wait {
		w.violate("I5", "%s is due %s after it was abandoned %d times, and not %s", d.ID, next, d.Abandonments+1, wait)
	}
}

// checkGone holds a 410 to what it leads to: in the same transaction the subscription is disabled, unless it takes nothing anyway, or
// has another URL than the one that was called.
func (w *world) checkGone(d delivery.Delivery, s *send, before subscription.Subscription, next subscription.Change) {
	w.counts.Gone++
	moved := s != nil && s.url != before.URL
	if _, disabled := next.(subscription.Disabled); !disabled && !moved && before.Status != subscription.StatusDisabled && before.Status != subscription.StatusDeleted {
		w.violate("I1", "the receiver of %s is gone, and its subscription stays %s", d.ID, before.Status)
	}
}

// checkDisabled holds who was disabled since it is gone to having said so, where it was by then.
func (w *world) checkDisabled() {
	gone := map[dispatch.Lane]map[string]bool{}
	for _, s := range w.journal.sends {
		if s.outcome.Gone() {
			if gone[s.lane] == nil {
				gone[s.lane] = map[string]bool{}
			}
			gone[s.lane][s.url] = true
		}
	}
	for _, s := range w.store.States() {
		of := laneHistory(w.store.SubscriptionStream(laneOf(s)))
		for _, placed := range of {
			c, disabled := placed.Change.(subscription.Disabled)
			if disabled && c.Reason == subscription.ReasonGone && !gone[laneOf(s)][of.before(placed.Position).URL] {
				w.violate("I1", "%s was disabled since its receiver is gone, which never said so", s.ID)
			}
		}
	}
}

// countChanges counts what was asked of subscriptions that few runs have.
func (w *world) countChanges() {
	for _, s := range w.store.States() {
		for _, placed := range w.store.SubscriptionStream(laneOf(s)) {
			switch c := placed.Change.(type) {
			case subscription.Paused:
				w.counts.Pauses++
			case subscription.Resumed:
				if c.SkipParked {
					w.counts.Skips++
				}
			}
		}
	}
}

// laneHistory is a subscription's stream, by positions in the log.
type laneHistory []memory.Placed[subscription.Change]

// before is the subscription before the position.
func (h laneHistory) before(position int64) (s subscription.Subscription) {
	for _, c := range h {
		if c.Position < position {
			must(s.Apply(c.Change))
		}
	}
	return s
}

// resumed tells of the last resumption before the position.
func (h laneHistory) resumed(before int64) (resumed, skipped bool) {
	for _, placed := range h {
		if c, is := placed.Change.(subscription.Resumed); is && placed.Position < before {
			resumed, skipped = true, c.SkipParked
		}
	}
	return resumed, skipped
}

// next is the first change behind the position; nil for none.
func (h laneHistory) next(after int64) subscription.Change {
	for _, c := range h {
		if c.Position > after {
			return c.Change
		}
	}
	return nil
}
