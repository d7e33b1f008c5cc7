package simulation

import (
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// checkAnnounced holds the operational events to what they tell of: each delivery of a business event that was given up is told once, a
// subscription that was disabled at most once, and nobody hears twice that a receiver has failed since the same time.
func (w *world) checkAnnounced() {
	given, disabled := map[string]int{}, map[string]int{}
	type failing struct {
		subscription string
		since        time.Time
	}
	failed := map[failing]int{}
	for _, e := range w.everAccepted() {
		switch e.Type {
		case event.DeliveryDeadLettered:
			w.counts.GivenUp++
			given[e.Delivery.ID]++
		case event.SubscriptionDisabled:
			disabled[e.Subscription.ID]++
		case event.SubscriptionFailing:
			w.counts.Failing++
			of := failing{e.Subscription.ID, e.Subscription.FailingSince.UTC()}
			if failed[of]++; failed[of] > 1 {
				w.violate("notice", "that %s fails since %s was told %d times", of.subscription, of.since.Sub(epoch), failed[of])
			}
		}
	}
	for _, row := range w.store.Rows() {
		times := 0
		for _, placed := range w.store.DeliveryStream(row.Tenant, row.ID) {
			if _, dead := placed.Change.(delivery.DeadLettered); dead && !row.EventType.IsOperational() {
				times++
			}
		}
		if given[row.ID] != times {
			w.violate("notice", "%s was given up %d times, and that was told %d times", row.ID, times, given[row.ID])
		}
	}
	for _, s := range w.store.States() {
		times := 0
		for _, placed := range w.store.SubscriptionStream(laneOf(s)) {
			if _, is := placed.Change.(subscription.Disabled); is {
				times++
			}
		}
		silent := false // what says so to an operational event is told nobody
		for _, sent := range w.journal.sends {
			silent = silent || sent.lane == laneOf(s) && sent.outcome.Gone() && sent.operational
		}
		if disabled[s.ID] > times || disabled[s.ID] < times && !silent {
			w.violate("notice", "%s was disabled %d times, and that was told %d times", s.ID, times, disabled[s.ID])
		}
	}
}
