package storetest

import (
	"maps"
	"slices"
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var leaseChecks = []Check{
	{"lease/brings all that an attempt takes", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		answer := w.lease(dispatch.LeaseRequest{Now: at(0)})
		body, err := w.Body(w.ctx, d)
		w.ok(err, "read the body")
		equal(w, "leased", answer.Leased, []dispatch.Leased{{
			Delivery: d, Subscription: s, Body: body, TraceParent: anActor.TraceParent, AcceptedAt: at(0), Lease: "inc_1",
		}})
		w.stands(d, true)
	}},
	{"lease/only what is due", func(w *world) {
		s := w.subscribe(acme, nil)
		now, soon := w.schedule(s, at(0), ""), w.schedule(s, at(5), "")
		w.schedule(s, at(9), "")
		answer := w.lease(dispatch.LeaseRequest{Now: at(4.999999)})
		equal(w, "leased", idsOf(answer.Leased), []string{now.ID})
		equal(w, "next due", answer.NextDue, at(5))
		equal(w, "backlog", len(answer.Behind) > 0, false)
		answer = w.lease(dispatch.LeaseRequest{Now: at(5)})
		equal(w, "leased at the very moment", idsOf(answer.Leased), []string{soon.ID})
		equal(w, "next due", answer.NextDue, at(9))
	}},
	{"lease/nothing is due and nothing will be", func(w *world) {
		s := w.subscribe(acme, nil)
		w.schedule(s, at(0), "inc_2")
		equal(w, "the answer", w.lease(dispatch.LeaseRequest{Now: at(9)}), dispatch.LeaseAnswer{})
	}},
	{"lease/next due is the earliest of all lanes", func(w *world) {
		a, b, c := w.subscribe(acme, nil), w.subscribe(other, nil), w.subscribe(acme, nil)
		w.schedule(a, at(30), "")
		w.schedule(b, at(20), "")
		w.schedule(c, at(1), "")
		w.schedule(c, at(10), "")
		equal(w, "next due", w.lease(dispatch.LeaseRequest{Now: at(0)}).NextDue, at(1))
		answer := w.lease(dispatch.LeaseRequest{Now: at(1)})
		equal(w, "next due, in a lane that gave something", answer.NextDue, at(10))
	}},
	{"lease/oldest first within a lane", func(w *world) {
		s := w.subscribe(acme, nil)
		late, early, later := w.schedule(s, at(2), ""), w.schedule(s, at(1), ""), w.schedule(s, at(3), "")
		equal(w, "the first", idsOf(w.lease(dispatch.LeaseRequest{Now: at(9), Limit: 1}).Leased), []string{early.ID})
		equal(w, "the others", idsOf(w.lease(dispatch.LeaseRequest{Now: at(9)}).Leased), []string{late.ID, later.ID})
	}},
	{"lease/the limit", func(w *world) {
		s := w.subscribe(acme, nil)
		for range 5 {
			w.schedule(s, at(0), "")
		}
		answer := w.lease(dispatch.LeaseRequest{Now: at(0), Limit: 3})
		equal(w, "leased", len(answer.Leased), 3)
		equal(w, "backlog", len(answer.Behind) > 0, true)
		answer = w.lease(dispatch.LeaseRequest{Now: at(0), Limit: 3})
		equal(w, "leased of the rest", len(answer.Leased), 2)
		equal(w, "backlog of the rest", len(answer.Behind) > 0, false)
	}},
	{"lease/a lane's own limit counts what is in flight", func(w *world) {
		s := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 3 })
		for range 5 {
			w.schedule(s, at(0), "")
		}
		lease := func(inFlight, want int, backlog bool) {
			w.Helper()
			answer := w.lease(dispatch.LeaseRequest{Now: at(0), InFlight: map[dispatch.Lane]int{laneOf(s): inFlight}})
			equal(w, "leased", len(answer.Leased), want)
			equal(w, "backlog", len(answer.Behind) > 0, backlog)
		}
		lease(3, 0, true)
		lease(4, 0, true)
		lease(1, 2, true)
		lease(0, 3, false)
	}},
	{"lease/names the lanes that it left behind", func(w *world) {
		narrow := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 1 })
		done, paused, swept, later := w.subscribe(other, nil), w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(acme, nil)
		for _, s := range []subscription.Subscription{narrow, narrow, done, paused, swept} {
			w.schedule(s, at(0), "")
		}
		w.schedule(later, at(60), "")
		w.pause(paused, at(0))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(0)), "end the sweep")
		w.pause(swept, at(0))
		answer := w.lease(dispatch.LeaseRequest{Now: at(1)})
		equal(w, "leased", len(answer.Leased), 2)
		equal(w, "left behind", answer.Behind, map[dispatch.Lane]bool{laneOf(narrow): true})
		equal(w, "next due", answer.NextDue, at(60))
	}},
	{"lease/names the lanes that it did not come to", func(w *world) {
		first, second, third := w.subscribe(acme, nil), w.subscribe(other, nil), w.subscribe(acme, nil)
		for _, s := range []subscription.Subscription{first, second, third} {
			w.schedule(s, at(0), "")
		}
		answer := w.lease(dispatch.LeaseRequest{Now: at(1), Limit: 1, After: laneOf(first)})
		equal(w, "leased", answer.Leased[0].Lane(), laneOf(second))
		equal(w, "left behind", answer.Behind, map[dispatch.Lane]bool{laneOf(first): true, laneOf(third): true})
	}},
	{"lease/a receiver that is spared gets what the request says", func(w *world) {
		spared, shut, well := w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(other, nil)
		for range 3 {
			w.schedule(spared, at(0), "")
			w.schedule(shut, at(0), "")
			w.schedule(well, at(0), "")
		}
		answer := w.lease(dispatch.LeaseRequest{Now: at(0), Limits: map[dispatch.Lane]int{laneOf(spared): 2, laneOf(shut): 0}, InFlight: map[dispatch.Lane]int{laneOf(spared): 1}})
		counts := map[dispatch.Lane]int{}
		for _, l := range answer.Leased {
			counts[l.Lane()]++
		}
		equal(w, "leased", counts, map[dispatch.Lane]int{laneOf(spared): 1, laneOf(well): 3})
		equal(w, "behind", answer.Behind, map[dispatch.Lane]bool{laneOf(spared): true, laneOf(shut): true})
	}},
	{"lease/the limit is shared out over the lanes", func(w *world) {
		lanes := map[string]int{}
		for _, n := range []int{50, 1, 50, 2} {
			s := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 100 })
			for range n {
				w.schedule(s, at(0), "")
			}
		}
		for _, l := range w.lease(dispatch.LeaseRequest{Now: at(0), Limit: 40}).Leased {
			lanes[l.Delivery.SubscriptionID]++
		}
		equal(w, "lanes that got something", len(lanes), 4)
		for lane, n := range lanes {
			if n > 30 {
				w.Errorf("lane %s got %d of 40", lane, n)
			}
		}
	}},
	{"lease/no lane is always last", func(w *world) {
		want := map[string]int{}
		for range 5 {
			s := w.subscribe(acme, nil)
			want[s.ID] = 2
			for range 4 {
				w.schedule(s, at(0), "")
			}
		}
		got, after := map[string]int{}, dispatch.Lane{}
		for range 5 {
			leased := w.lease(dispatch.LeaseRequest{Now: at(0), Limit: 2, After: after}).Leased
			if len(leased) != 2 {
				w.Fatalf("leased %d, want 2", len(leased))
			}
			for _, l := range leased {
				got[l.Delivery.SubscriptionID]++
				after = l.Lane()
			}
		}
		equal(w, "leased of each lane", got, want)
	}},
	{"lease/lanes that are swept wait", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		w.resume(w.pause(s, at(1)), at(1))
		answer := w.lease(dispatch.LeaseRequest{Now: at(2)})
		equal(w, "the answer", answer, dispatch.LeaseAnswer{})
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(2)), "end the sweep")
		equal(w, "leased when it has ended", idsOf(w.lease(dispatch.LeaseRequest{Now: at(2)}).Leased), []string{d.ID})
	}},
	{"lease/lanes that are not active wait", func(w *world) {
		s := w.subscribe(acme, nil)
		w.schedule(s, at(0), "")
		s = w.pause(s, at(1))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(1)), "end the sweep")
		equal(w, "the answer", w.lease(dispatch.LeaseRequest{Now: at(2)}), dispatch.LeaseAnswer{})
		w.resume(s, at(3))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(3)), "end the sweep")
		equal(w, "leased once it is active", len(w.lease(dispatch.LeaseRequest{Now: at(3)}).Leased), 1)
	}},
	{"lease/nothing is leased twice", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		equal(w, "leased", idsOf(w.lease(dispatch.LeaseRequest{Now: at(0)}).Leased), []string{d.ID})
		equal(w, "leased by another", w.lease(dispatch.LeaseRequest{Now: at(1e6), Lease: "inc_2"}).Leased, nil)
		equal(w, "leased again", w.lease(dispatch.LeaseRequest{Now: at(1e6)}).Leased, nil)
	}},
	{"lease/two lessees never share one", leaseConcurrently},
	{"lease/what is given back is due again", func(w *world) {
		s := w.subscribe(acme, nil)
		d, kept := w.schedule(s, at(0), ""), w.schedule(s, at(1), "")
		leased := w.lease(dispatch.LeaseRequest{Now: at(1)}).Leased
		w.ok(w.GiveBack(w.ctx, "inc_2", leased), "give back what another holds")
		w.stands(d, true)
		w.ok(w.GiveBack(w.ctx, "inc_1", leased[:1]), "give back")
		w.stands(d, false)
		w.stands(kept, true)
		equal(w, "leased again", idsOf(w.lease(dispatch.LeaseRequest{Now: at(1), Lease: "inc_2"}).Leased), []string{d.ID})
	}},
}

func leaseConcurrently(w *world) {
	const deliveries, lessees = 60, 4
	want := map[string]int{}
	for range 3 {
		s := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 256 })
		for range deliveries / 3 {
			want[w.schedule(s, at(0), "").ID] = 1
		}
	}
	var mu sync.Mutex
	got := map[string]int{}
	var failed error
	var wait sync.WaitGroup
	for i := range lessees {
		wait.Go(func() {
			for range deliveries {
				answer, err := w.LeaseDue(w.ctx, dispatch.LeaseRequest{Lease: "inc_" + string(rune('a'+i)), Now: at(1), Limit: 2})
				mu.Lock()
				for _, l := range answer.Leased {
					got[l.Delivery.ID]++
				}
				if err != nil {
					failed = err
				}
				mu.Unlock()
				if err != nil || len(answer.Leased) == 0 {
					return
				}
			}
		})
	}
	wait.Wait()
	w.ok(failed, "lease concurrently")
	if !maps.Equal(got, want) {
		w.Errorf("%d deliveries were leased, want each of %d once: %v", len(got), deliveries, slices.Sorted(maps.Values(got)))
	}
}
