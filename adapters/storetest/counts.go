package storetest

import (
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var countChecks = []Check{
	{"counts/what is open by status, and dead letters", func(w *world) {
		mine, beside, theirs := w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(other, nil)
		for i, status := range delivery.Statuses() {
			for n := range i + 1 { // each has a number of its own
				w.inStatus(mine, event.TargetImported, status, float64(n))
			}
			w.inStatus(beside, event.TargetImported, status, 1)
			w.inStatus(theirs, event.TargetImported, status, 1)
		}
		w.counted(laneOf(mine), 10, queries.Counts{
			delivery.StatusPending: {Number: 1}, delivery.StatusDelivering: {Number: 2}, delivery.StatusRetrying: {Number: 3},
			delivery.StatusParked: {Number: 4}, delivery.StatusDeadLetter: {Number: 6},
		})
		w.counted(dispatch.Lane{Tenant: other, SubscriptionID: mine.ID}, 10, queries.Counts{})
		w.counted(dispatch.Lane{Tenant: acme, SubscriptionID: "sub_nowhere"}, 10, queries.Counts{})
	}},
	{"counts/dead letters of a subscription, listed for its tenant alone", func(w *world) {
		mine, beside := w.subscribe(acme, nil), w.subscribe(acme, nil)
		first := w.inStatus(mine, event.TargetImported, delivery.StatusDeadLetter, 1)
		w.inStatus(beside, event.TargetImported, delivery.StatusDeadLetter, 2)
		second := w.inStatus(mine, event.TargetImported, delivery.StatusDeadLetter, 3)
		w.inStatus(mine, event.TargetImported, delivery.StatusSucceeded, 4)
		for owner, want := range map[tenant.ID][]delivery.Delivery{acme: {second, first}, other: nil} {
			got, err := w.Deliveries(w.ctx, queries.DeliveryFilter{Tenant: owner, SubscriptionID: mine.ID, Status: delivery.StatusDeadLetter, Limit: 10})
			w.ok(err, "list dead letters")
			equal(w, "those of "+string(owner), got, want)
		}
	}},
	{"counts/no further than asked for, which they say", func(w *world) {
		s := w.subscribe(acme, nil)
		counted := []delivery.Status{delivery.StatusDelivering, delivery.StatusParked, delivery.StatusDeadLetter, delivery.StatusRetrying}
		for _, status := range counted {
			for n := range 3 {
				w.inStatus(s, event.TargetImported, status, float64(n))
			}
		}
		whole, cut := queries.Counts{}, queries.Counts{}
		for _, status := range counted {
			whole[status], cut[status] = queries.Count{Number: 3}, queries.Count{Number: 2, More: true}
		}
		w.counted(laneOf(s), 3, whole)
		w.counted(laneOf(s), 2, cut)
	}},
	{"counts/of what is due and what waits together", func(w *world) {
		s := w.subscribe(acme, nil)
		for n := range 3 {
			w.inStatus(s, event.TargetImported, delivery.StatusPending, float64(n))
			w.later(s, at(100))
		}
		whole := queries.Counts{delivery.StatusPending: {Number: 3}, delivery.StatusRetrying: {Number: 3}}
		w.counted(laneOf(s), 3, whole)
		w.counted(laneOf(s), 2, queries.Counts{delivery.StatusPending: {Number: 2, More: true}, delivery.StatusRetrying: {Number: 2, More: true}})
		w.look(dispatch.LookRequest{Now: at(100), Lanes: 10})
		w.counted(laneOf(s), 6, whole)
		w.counted(laneOf(s), 5, whole)
	}},
}

// counted holds the lane's counts to what is there. Of the statuses in which a delivery waits, a store may look at too few to say how many have
// which, if that many wait together: it must say that there may be more then.
func (w *world) counted(lane dispatch.Lane, upTo int, want queries.Counts) {
	w.Helper()
	got, err := w.CountDeliveries(w.ctx, lane, upTo)
	w.ok(err, "count deliveries")
	waiting := 0
	for status, there := range want {
		if status.IsClaimable() {
			if waiting += there.Number; there.More {
				waiting++
			}
		}
	}
	for _, status := range delivery.Statuses() {
		counted, there := got[status], want[status]
		unsure := waiting > upTo && status.IsClaimable() && counted.More && counted.Number <= there.Number
		if counted != there && !unsure {
			w.Errorf("%s, up to %d: %+v, want %+v", status, upTo, counted, there)
		}
	}
}
