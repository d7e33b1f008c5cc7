package storetest

import (
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var claimable = []delivery.Status{delivery.StatusPending, delivery.StatusRetrying}

var sweepChecks = []Check{
	{"sweep/swept are those in a status that nobody holds", func(w *world) {
		s, sibling, stranger := w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(other, nil)
		pending, held := w.schedule(s, at(0), ""), w.schedule(s, at(0), "inc_1")
		retrying := w.saved(w.moved(w.schedule(s, at(0), ""), "", recorded(failure(at(1), 503), at(1))))
		parked := w.saved(w.moved(w.schedule(s, at(0), ""), "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Park("", at(1)) }))
		w.saved(w.moved(w.schedule(s, at(0), ""), "", recorded(success(at(1)), at(1))))
		w.schedule(sibling, at(0), "")
		w.schedule(sibling, at(0), "inc_1")
		w.schedule(stranger, at(0), "inc_1")
		swept := func(statuses []delivery.Status, limit int, want ...delivery.Delivery) {
			w.Helper()
			got, count, err := w.Swept(w.ctx, laneOf(s), statuses, limit)
			w.ok(err, "read what is swept")
			equal(w, "swept", got, want)
			equal(w, "held", count, 1)
		}
		swept(claimable, 10, pending, retrying)
		swept(claimable, 1, pending)
		swept([]delivery.Status{delivery.StatusParked}, 10, parked)
		swept([]delivery.Status{delivery.StatusPending, delivery.StatusDelivering, delivery.StatusRetrying, delivery.StatusParked}, 10, pending, retrying, parked)
		w.stands(held, true)
	}},
	{"sweep/the one that waits longest is next", func(w *world) {
		first, second := w.subscribe(acme, nil), w.subscribe(other, nil)
		second = w.pause(second, at(2))
		first = w.pause(first, at(1))
		next := w.nextSweep()
		equal(w, "next", next, sweep.Sweep{Lane: laneOf(first), Action: sweep.Park})
		w.ok(w.EndSweep(w.ctx, next, false, at(3)), "put it behind the others")
		equal(w, "next after it was put back", w.nextSweep().Lane, laneOf(second))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(4)), "end the other")
		equal(w, "next again", w.nextSweep(), next)
		w.ok(w.EndSweep(w.ctx, next, true, at(5)), "end it")
		w.sweeps(nil)
	}},
	{"sweep/the end of one is its own", func(w *world) {
		first, second := w.pause(w.subscribe(acme, nil), at(1)), w.pause(w.subscribe(acme, nil), at(2))
		third := w.pause(w.subscribe(other, nil), at(3))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), false, at(4)), "put the first behind the others")
		for _, s := range []subscription.Subscription{second, third, first} {
			equal(w, "next", w.nextSweep(), sweep.Sweep{Lane: laneOf(s), Action: sweep.Park})
			w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(5)), "end it")
		}
		w.sweeps(nil)
	}},
	{"sweep/one that was replaced meanwhile stays", func(w *world) {
		s := w.pause(w.subscribe(acme, nil), at(1))
		parking := w.nextSweep()
		w.pause(w.subscribe(other, nil), at(2.5))
		w.resume(s, at(2))
		w.ok(w.EndSweep(w.ctx, parking, true, at(3)), "end the sweep that was")
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Release})
		w.ok(w.EndSweep(w.ctx, parking, false, at(3)), "put the sweep that was behind the others")
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Release})
	}},
	{"sweep/a plan notes one, unless a later change has", func(w *world) {
		idle, paused := w.subscribe(acme, nil), w.pause(w.subscribe(acme, nil), at(1))
		plan := fanout.Plan{Sweeps: []sweep.Sweep{{Lane: laneOf(idle), Action: sweep.Cancel}, {Lane: laneOf(paused), Action: sweep.Release}}}
		w.ok(w.Schedule(w.ctx, plan, func(bool) {}), "schedule")
		equal(w, "next", w.nextSweep(), sweep.Sweep{Lane: laneOf(idle), Action: sweep.Cancel})
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(2)), "end it")
		equal(w, "the other", w.nextSweep(), sweep.Sweep{Lane: laneOf(paused), Action: sweep.Park})
	}},
	{"sweep/whether what was parked was skipped is kept until the next change of status", func(w *world) {
		s := w.pause(w.subscribe(acme, nil), at(1))
		s = w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Resume(true, at(2)) })
		equal(w, "skipped", s.SkippedParked, true)
		w.subscriptionStands(s)
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(2)), "end the skip")
		s = w.resume(w.pause(s, at(3)), at(4))
		equal(w, "skipped when it was resumed without that", s.SkippedParked, false)
		w.subscriptionStands(s)
	}},
	{"sweep/who pauses waits until what was to be skipped is", func(w *world) {
		skipping := func() subscription.Subscription {
			s := w.pause(w.subscribe(acme, nil), at(1))
			return w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Resume(true, at(2)) })
		}
		s := skipping()
		pausing, err := s.Pause("", at(3))
		w.ok(err, "decide to pause")
		if _, err := w.appended(s, pausing); !problem.Is(err, problem.Conflict) {
			w.Errorf("a pause beside a skip gave %v", err)
		}
		w.subscriptionStands(s)
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Skip})
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(4)), "end the skip")
		w.pause(s, at(5))
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Park})
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(6)), "end the pause's")
		disabled := w.change(skipping(), func(s subscription.Subscription) ([]subscription.Change, error) { return s.Disable("410", at(3)), nil })
		w.sweeps(&sweep.Sweep{Lane: laneOf(disabled), Action: sweep.Park})
		deleted := w.change(skipping(), func(s subscription.Subscription) ([]subscription.Change, error) { return s.Delete(at(2)) })
		w.ok(w.EndSweep(w.ctx, sweep.Sweep{Lane: laneOf(disabled), Action: sweep.Park}, true, at(7)), "end the one of what is disabled")
		w.sweeps(&sweep.Sweep{Lane: laneOf(deleted), Action: sweep.Cancel})
	}},
	{"sweep/the lanes' states are those of now", func(w *world) {
		idle, paused, stranger := w.subscribe(acme, nil), w.pause(w.subscribe(acme, nil), at(1)), w.subscribe(other, nil)
		unknown := dispatch.Lane{Tenant: acme, SubscriptionID: stranger.ID}
		got, err := w.LaneStates(w.ctx, []dispatch.Lane{laneOf(idle), laneOf(paused), unknown})
		w.ok(err, "read the states")
		equal(w, "states", got, map[dispatch.Lane]fanout.LaneState{
			laneOf(idle):   {Status: subscription.StatusActive, Version: 1},
			laneOf(paused): {Status: subscription.StatusPaused, Version: 2, Sweeping: true},
		})
		w.upsert(acme, named("acme"))
		contexts, both, err := w.ResolveFor(w.ctx, []fanout.Lookup{{Tenant: acme, SourceSystem: "sap", References: all12}}, []dispatch.Lane{laneOf(paused), unknown})
		w.ok(err, "resolve, and read the states")
		equal(w, "what was resolved", contexts, []payload.Context{resolved("acme", "sap")})
		equal(w, "states", both, map[dispatch.Lane]fanout.LaneState{laneOf(paused): got[laneOf(paused)]})
	}},
}

func (w *world) nextSweep() sweep.Sweep {
	w.Helper()
	next, found, err := w.NextSweep(w.ctx)
	w.ok(err, "read the next sweep")
	if !found {
		w.Fatalf("no sweep is noted")
	}
	return next
}
