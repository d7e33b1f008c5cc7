package storetest

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var leaseChecks = []Check{
	{"lease/brings all that an attempt takes", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		answer := w.lease(leasing{now: at(0)})
		body, err := w.Body(w.ctx, d)
		w.ok(err, "read the body")
		equal(w, "leased", answer.Leased, []dispatch.Leased{{
			Delivery: d, Subscription: &s, Body: body, TraceParent: anActor.TraceParent, AcceptedAt: at(0), Lease: "inc_1",
		}})
		equal(w, "the lane", answer.Lanes, map[dispatch.Lane]dispatch.LaneRest{laneOf(s): {MaxInFlight: 16, Weight: 1}})
		w.stands(d, true)
	}},
	{"lease/brings each delivery its own body of the event's", func(w *world) {
		s, e := w.subscribe(acme, nil), w.event(acme, event.VisitReportApproved, at(0))
		plan, want := fanout.Plan{}, map[string]string{}
		for number := 1; number <= 3; number++ {
			planned := w.planned(s, e, at(float64(number)), "")
			first := planned.Changes[0].(delivery.Scheduled)
			first.BodyNumber = number
			planned.Changes = delivery.Schedule(first)
			var err error
			planned.Delivery, err = delivery.Fold(planned.Changes)
			w.ok(err, "fold a new delivery")
			body := fanout.Body{Tenant: acme, EventID: e.ID, Number: number, Bytes: fmt.Appendf(nil, "body %d", number)}
			plan.Scheduled, plan.Bodies = append(plan.Scheduled, planned), append(plan.Bodies, body)
			want[first.ID] = string(body.Bytes)
		}
		w.ok(w.AppendEvents(w.ctx, []intake.Accepted{e}), "append an event")
		theirs := w.event(other, event.VisitReportApproved, at(0))
		theirs.ID = e.ID
		alien := w.planned(w.subscribe(other, nil), theirs, at(4), "")
		plan.Scheduled = append(plan.Scheduled, alien)
		plan.Bodies = append(plan.Bodies, fanout.Body{Tenant: other, EventID: e.ID, Number: 1, Bytes: []byte("another tenant's")})
		want[alien.Delivery.ID] = "another tenant's"
		w.ok(w.AppendEvents(w.ctx, []intake.Accepted{theirs}), "append another tenant's event of the same ID")
		w.ok(w.Schedule(w.ctx, plan, func(bool) {}), "schedule their deliveries")
		leased, read := map[string]string{}, map[string]string{}
		for _, l := range w.lease(leasing{now: at(9)}).Leased {
			body, err := w.Body(w.ctx, l.Delivery)
			w.ok(err, "read a body")
			leased[l.Delivery.ID], read[l.Delivery.ID] = string(l.Body), string(body)
		}
		equal(w, "bodies that are leased", leased, want)
		equal(w, "bodies that are read", read, want)
	}},
	{"look/only what is due becomes ready", func(w *world) {
		s := w.subscribe(acme, nil)
		now, soon := w.schedule(s, at(0), ""), w.later(s, at(5))
		w.later(s, at(9))
		answer := w.lease(leasing{now: at(4.999999)})
		equal(w, "leased", idsOf(answer.Leased), []string{now.ID})
		equal(w, "next due", answer.NextDue, at(5))
		equal(w, "has more", answer.more(), map[dispatch.Lane]bool{})
		answer = w.lease(leasing{now: at(5)})
		equal(w, "leased at the very moment", idsOf(answer.Leased), []string{soon.ID})
		equal(w, "next due", answer.NextDue, at(9))
	}},
	{"look/names the lanes in which something fell due", func(w *world) {
		s := w.subscribe(acme, nil)
		w.later(s, at(5))
		w.later(w.subscribe(other, nil), at(6))
		equal(w, "found", w.look(dispatch.LookRequest{Now: at(5)}), dispatch.LookAnswer{Fallen: []dispatch.Lane{laneOf(s)}, NextDue: at(6)})
		equal(w, "found again", w.look(dispatch.LookRequest{Now: at(5)}), dispatch.LookAnswer{NextDue: at(6)})
	}},
	{"look/nothing is due and nothing will be", func(w *world) {
		s := w.subscribe(acme, nil)
		w.schedule(s, at(0), "inc_2")
		equal(w, "found", w.look(dispatch.LookRequest{Now: at(9), Lanes: 10}), dispatch.LookAnswer{})
		equal(w, "leased", w.lease(leasing{now: at(9)}).Leased, nil)
	}},
	{"look/next due is the earliest of all lanes", func(w *world) {
		a, b, c := w.subscribe(acme, nil), w.subscribe(other, nil), w.subscribe(acme, nil)
		w.later(a, at(30))
		w.later(b, at(20))
		w.later(c, at(1))
		w.later(c, at(10))
		equal(w, "next due", w.look(dispatch.LookRequest{Now: at(0)}).NextDue, at(1))
		equal(w, "next due, when something fell due", w.look(dispatch.LookRequest{Now: at(1)}).NextDue, at(10))
	}},
	{"look/falls due in the order of the due times, so many at once", func(w *world) {
		s := w.subscribe(acme, nil)
		var saved []dispatch.Saved
		for i := range 501 {
			d := w.schedule(s, at(-60), "inc_9")
			saved = append(saved, w.moved(d, "inc_9", recorded(failure(at(float64(500-i)-60), 500), at(float64(500-i)-60))))
		}
		_, err := w.Save(w.ctx, saved)
		w.ok(err, "save failures")
		first := w.look(dispatch.LookRequest{Now: at(3600)})
		equal(w, "fell due", len(first.Fallen), 500)
		equal(w, "the rest is due", !first.NextDue.After(at(3600)) && !first.NextDue.IsZero(), true)
		equal(w, "fell due then", len(w.look(dispatch.LookRequest{Now: at(3600)}).Fallen), 1)
	}},
	{"look/walks the lanes in order, as many as are asked for", func(w *world) {
		var want []dispatch.Lane
		for i := range 5 {
			s := w.subscribe([]tenant.ID{acme, other}[i%2], nil)
			want = append(want, laneOf(s))
			for range 3 {
				w.schedule(s, at(0), "")
			}
		}
		w.later(w.subscribe(acme, nil), at(60))
		w.schedule(w.subscribe(acme, nil), at(0), "inc_2")
		equal(w, "the first two", w.look(dispatch.LookRequest{Now: at(0), Lanes: 2}).Ready, want[:2])
		equal(w, "the next two", w.look(dispatch.LookRequest{Now: at(0), Lanes: 2, After: want[1].SubscriptionID}).Ready, want[2:4])
		equal(w, "the last", w.look(dispatch.LookRequest{Now: at(0), Lanes: 2, After: want[3].SubscriptionID}).Ready, want[4:])
	}},
	{"lease/oldest first within a lane", func(w *world) {
		s := w.subscribe(acme, nil)
		late, early, later := w.schedule(s, at(2), ""), w.schedule(s, at(1), ""), w.later(s, at(3))
		equal(w, "the first", idsOf(w.lease(leasing{now: at(9), slots: 1}).Leased), []string{early.ID})
		equal(w, "the others", idsOf(w.lease(leasing{now: at(9)}).Leased), []string{late.ID, later.ID})
	}},
	{"lease/no more than asked for", func(w *world) {
		s := w.subscribe(acme, nil)
		for range 5 {
			w.schedule(s, at(0), "")
		}
		answer := w.lease(leasing{now: at(0), slots: 3})
		equal(w, "leased", len(answer.Leased), 3)
		equal(w, "has more", answer.more(), map[dispatch.Lane]bool{laneOf(s): true})
		answer = w.lease(leasing{now: at(0), slots: 3})
		equal(w, "leased of the rest", len(answer.Leased), 2)
		equal(w, "has more than the rest", answer.more(), map[dispatch.Lane]bool{})
	}},
	{"lease/a lane's own limit counts what is out", func(w *world) {
		s := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 3 })
		for range 5 {
			w.schedule(s, at(0), "")
		}
		lease := func(out, want int, more bool) {
			w.Helper()
			answer := w.lease(leasing{now: at(0), out: map[dispatch.Lane]int{laneOf(s): out}})
			equal(w, "leased", len(answer.Leased), want)
			equal(w, "the lane", answer.Lanes, map[dispatch.Lane]dispatch.LaneRest{laneOf(s): {MaxInFlight: 3, Weight: 1, More: more}})
		}
		lease(3, 0, true)
		lease(4, 0, true)
		lease(1, 2, true)
		lease(0, 3, false)
	}},
	{"lease/each lane has a limit of its own", func(w *world) {
		narrow, wide := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 1 }), w.subscribe(acme, nil)
		for range 3 {
			w.schedule(narrow, at(0), "")
			w.schedule(wide, at(0), "")
		}
		leased := map[dispatch.Lane]int{}
		for _, l := range w.lease(leasing{now: at(0)}).Leased {
			leased[dispatch.LaneOf(l.Delivery)]++
		}
		equal(w, "leased of each", leased, map[dispatch.Lane]int{laneOf(narrow): 1, laneOf(wide): 3})
	}},
	{"lease/as many more than the lane's limit as are asked for ahead", func(w *world) {
		s := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 3 })
		var all []string
		for range 9 {
			all = append(all, w.schedule(s, at(0), "").ID)
		}
		lease := func(asked dispatch.Asked, want ...string) {
			w.Helper()
			asked.Lane, asked.Slots = laneOf(s), max(asked.Slots, 1)
			answer, err := w.LeaseReady(w.ctx, dispatch.LeaseRequest{Lease: "inc_1", Now: at(0), Lanes: []dispatch.Asked{asked}})
			w.ok(err, "lease")
			equal(w, "leased", idsOf(answer.Leased), want)
		}
		lease(dispatch.Asked{Slots: 9, Out: -1}, all[:4]...)
		lease(dispatch.Asked{Slots: 9, Out: 3})
		lease(dispatch.Asked{Slots: 2, Out: -5}, all[4:6]...)
		lease(dispatch.Asked{Slots: 9}, all[6:]...)
	}},
	{"lease/tells the weight of each lane's tenant", func(w *world) {
		weight := 7
		_, err := w.ChangeTenant(w.ctx, acme, access.TenantChange{Weight: &weight})
		w.ok(err, "change a weight")
		heavy, light := w.subscribe(acme, nil), w.subscribe(other, nil)
		w.schedule(heavy, at(0), "")
		w.schedule(light, at(0), "")
		equal(w, "the lanes", w.lease(leasing{now: at(0)}).Lanes,
			map[dispatch.Lane]dispatch.LaneRest{laneOf(heavy): {MaxInFlight: 16, Weight: 7}, laneOf(light): {MaxInFlight: 16, Weight: 1}})
	}},
	{"lease/only from the lanes that are asked", func(w *world) {
		asked, not := w.subscribe(acme, nil), w.subscribe(acme, nil)
		d := w.schedule(asked, at(0), "")
		w.schedule(not, at(0), "")
		empty := w.subscribe(acme, nil)
		answer, err := w.LeaseReady(w.ctx, dispatch.LeaseRequest{Lease: "inc_1", Now: at(0), Lanes: []dispatch.Asked{
			{Lane: laneOf(asked), Slots: 9}, {Lane: laneOf(empty), Slots: 9}, {Lane: dispatch.Lane{Tenant: other, SubscriptionID: not.ID}, Slots: 9}}})
		w.ok(err, "lease")
		equal(w, "leased", idsOf(answer.Leased), []string{d.ID})
		equal(w, "the lanes", answer.Lanes, map[dispatch.Lane]dispatch.LaneRest{laneOf(asked): {MaxInFlight: 16, Weight: 1}, laneOf(empty): {MaxInFlight: 16, Weight: 1}})
	}},
	{"lease/lanes that are swept wait", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		w.resume(w.pause(s, at(1)), at(1))
		equal(w, "the answer", w.lease(leasing{now: at(2)}).LeaseAnswer, dispatch.LeaseAnswer{Lanes: map[dispatch.Lane]dispatch.LaneRest{}})
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(2)), "end the sweep")
		equal(w, "leased when it has ended", idsOf(w.lease(leasing{now: at(2)}).Leased), []string{d.ID})
	}},
	{"lease/lanes that are not active wait", func(w *world) {
		s := w.subscribe(acme, nil)
		w.schedule(s, at(0), "")
		s = w.pause(s, at(1))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(1)), "end the sweep")
		equal(w, "the answer", w.lease(leasing{now: at(2)}).LeaseAnswer, dispatch.LeaseAnswer{Lanes: map[dispatch.Lane]dispatch.LaneRest{}})
		w.resume(s, at(3))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(3)), "end the sweep")
		equal(w, "leased once it is active", len(w.lease(leasing{now: at(3)}).Leased), 1)
	}},
	{"lease/nothing is leased twice", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		equal(w, "leased", idsOf(w.lease(leasing{now: at(0)}).Leased), []string{d.ID})
		for _, by := range []string{"inc_1", "inc_2"} {
			answer, err := w.LeaseReady(w.ctx, dispatch.LeaseRequest{Lease: by, Now: at(1e6), Lanes: []dispatch.Asked{{Lane: laneOf(s), Slots: 9}}})
			w.ok(err, "lease")
			equal(w, "leased again", answer.Leased, nil)
		}
	}},
	{"lease/two lessees never share one", leaseConcurrently},
	{"lease/what is given back is ready again", func(w *world) {
		s := w.subscribe(acme, nil)
		d, kept := w.schedule(s, at(0), ""), w.schedule(s, at(1), "")
		leased := w.lease(leasing{now: at(1)}).Leased
		w.ok(w.GiveBack(w.ctx, "inc_2", leased), "give back what another holds")
		w.stands(d, true)
		w.ok(w.GiveBack(w.ctx, "inc_1", leased[:1]), "give back")
		w.stands(d, false)
		w.stands(kept, true)
		equal(w, "leased again", idsOf(w.lease(leasing{now: at(1), by: "inc_2"}).Leased), []string{d.ID})
	}},
	{"lease/what is given back late is not what was leased again since", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "")
		leased := w.lease(leasing{now: at(1)}).Leased
		again := w.saved(w.moved(d, "inc_1", recorded(failure(at(1), 503), at(1))))
		equal(w, "leased again", idsOf(w.lease(leasing{now: again.DueAt}).Leased), []string{d.ID})
		w.ok(w.GiveBack(w.ctx, "inc_1", leased), "give back what was leased first")
		w.stands(again, true)
	}},
}

func leaseConcurrently(w *world) {
	const deliveries, lessees = 60, 4
	want := map[string]int{}
	var asked []dispatch.Asked
	for range 3 {
		s := w.subscribe(acme, func(s *subscription.Settings) { s.MaxInFlight = 256 })
		asked = append(asked, dispatch.Asked{Lane: laneOf(s), Slots: 2})
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
				answer, err := w.LeaseReady(w.ctx, dispatch.LeaseRequest{Lease: "inc_" + string(rune('a'+i)), Now: at(1), Lanes: asked})
				mu.Lock()
				for _, l := range answer.Leased {
					got[l.Delivery.ID]++
				}
				if err != nil {
					failed = err
				}
				mu.Unlock()
				if err != nil || len(leased{LeaseAnswer: answer}.more()) == 0 {
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
