package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// damage damages something, or ends the check where that cannot be.
func (w *world) damage(d delivery.Delivery, what Damage) (done bool) {
	w.Helper()
	done, err := w.Damage(w.ctx, d, what)
	w.ok(err, "damage "+string(what))
	return done
}

var unreadableChecks = []Check{
	{"unreadable/a body that is damaged keeps no other from being leased", func(w *world) {
		for _, what := range []Damage{NoBody, Body} {
			s := w.subscribe(acme, nil)
			before, bad, after, elsewhere := w.schedule(s, at(0), ""), w.schedule(s, at(1), ""), w.schedule(s, at(2), ""), w.schedule(w.subscribe(other, nil), at(3), "")
			if !w.damage(bad, what) {
				continue
			}
			leased := w.lease(leasing{now: at(3)}).Leased
			equal(w, "leased", idsOf(leased), []string{before.ID, bad.ID, after.ID, elsewhere.ID})
			for _, l := range leased {
				if (l.Unreadable != nil) != (l.Delivery.ID == bad.ID) || l.Unreadable != nil && !errors.Is(l.Unreadable, dispatch.ErrUnreadable) {
					w.Errorf("%s: %s is unreadable: %v", what, l.Delivery.ID, l.Unreadable)
				}
			}
			_, err := w.Body(w.ctx, bad)
			equal(w, "read, its body is unreadable", errors.Is(err, dispatch.ErrUnreadable) && strings.Contains(err.Error(), bad.EventID), true)
			w.saved(w.moved(bad, "inc_1", recorded(failure(at(4), 0), at(4))))
		}
	}},
	{"unreadable/a status that nobody knows keeps no other from being leased", func(w *world) {
		s := w.subscribe(acme, nil)
		bad, good := w.schedule(s, at(0), ""), w.schedule(s, at(1), "")
		if !w.damage(bad, Status) {
			return
		}
		leased := w.lease(leasing{now: at(1)}).Leased
		equal(w, "leased", idsOf(leased), []string{bad.ID, good.ID})
		equal(w, "the damaged one is unreadable", errors.Is(leased[0].Unreadable, dispatch.ErrUnreadable), true)
		equal(w, "the other is unreadable", leased[1].Unreadable, nil)
		orphans, err := w.Orphans(w.ctx, at(100), time.Time{}, 10)
		w.ok(err, "look for orphans")
		equal(w, "orphans", len(orphans), 2)
		equal(w, "the status", w.laneState(laneOf(s)).Status, subscription.StatusActive)
		listed, err := w.Deliveries(w.ctx, queries.DeliveryFilter{Tenant: acme, Limit: 10})
		w.ok(err, "list deliveries")
		equal(w, "listed", len(listed), 2)
	}},
	{"unreadable/a subscription's row is read from its stream", func(w *world) {
		s := w.subscribe(acme, nil)
		s = w.resume(w.pause(s, at(0)), at(0))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(0)), "end the sweep")
		d := w.schedule(s, at(1), "")
		if !w.damage(d, State) {
			return
		}
		leased := w.lease(leasing{now: at(1)}).Leased
		equal(w, "leased", idsOf(leased), []string{d.ID})
		equal(w, "the subscription", *leased[0].Subscription, s)
		equal(w, "unreadable", leased[0].Unreadable, nil)
		equal(w, "the status", w.laneState(laneOf(s)).Status, subscription.StatusActive)
		orphans, err := w.Orphans(w.ctx, at(100), time.Time{}, 10)
		w.ok(err, "look for orphans")
		equal(w, "an orphan's schedule", orphans[0].Schedule, s.RetrySchedule)
		list, err := w.ListSubscriptions(w.ctx, acme, "", 10)
		w.ok(err, "list subscriptions")
		equal(w, "the list", list, []subscription.Subscription{s})
	}},
	{"unreadable/a subscription of which nothing can be read keeps no other from being leased", func(w *world) {
		s, fine := w.subscribe(acme, nil), w.subscribe(acme, nil)
		bad, good := w.schedule(s, at(0), ""), w.schedule(fine, at(1), "")
		if !w.damage(bad, State) || !w.damage(bad, Stream) {
			return
		}
		leased := w.lease(leasing{now: at(1)}).Leased
		equal(w, "leased", idsOf(leased), []string{bad.ID, good.ID})
		equal(w, "the damaged one is unreadable", errors.Is(leased[0].Unreadable, dispatch.ErrUnreadable), true)
		equal(w, "the other is unreadable", leased[1].Unreadable, nil)
		orphans, err := w.Orphans(w.ctx, at(100), time.Time{}, 10)
		w.ok(err, "look for orphans")
		equal(w, "orphans", len(orphans), 2)
	}},
	{"unreadable/a subscription whose row is not there keeps nothing from being taken over", func(w *world) {
		s, fine := w.subscribe(acme, nil), w.subscribe(acme, nil)
		bad, good := w.schedule(s, at(0), "inc_dead"), w.schedule(fine, at(1), "inc_dead")
		if !w.damage(bad, NoState) {
			return
		}
		w.orphans(at(100), bad, good)
		orphans, err := w.Orphans(w.ctx, at(100), time.Time{}, 10)
		w.ok(err, "look for orphans")
		for _, o := range orphans {
			w.stands(w.saved(w.moved(o.Delivery, o.Lease, func(d delivery.Delivery) ([]delivery.Change, error) {
				return d.Abandon(o.Schedule, o.LeasedAt, at(100))
			})), false)
		}
		w.orphans(at(100))
	}},
	{"unreadable/a subscription whose stream is damaged is said to be unreadable", func(w *world) {
		s := w.subscribe(acme, nil)
		if !w.damage(w.schedule(s, at(0), ""), Stream) {
			return
		}
		w.ok(w.InTx(w.ctx, func(ctx context.Context) error {
			_, err := w.LoadSubscription(ctx, laneOf(s))
			equal(w, "it is unreadable", errors.Is(err, dispatch.ErrUnreadable), true)
			_, err = w.NoteHealth(ctx, map[dispatch.Lane]dispatch.Ended{laneOf(s): failed}, at(1))
			return err
		}), "go on in the transaction")
	}},
	{"unreadable/a subscription is as its state says, or its stream where that is damaged", func(w *world) {
		s, second := w.subscribe(acme, nil), w.subscribe(acme, nil)
		s = w.pause(s, at(1))
		of, ofSecond := w.schedule(s, at(2), ""), w.schedule(second, at(2), "")
		if !w.damage(of, Stream) || !w.damage(ofSecond, State) {
			return
		}
		for _, want := range []subscription.Subscription{s, second} {
			got, err := w.CurrentSubscription(w.ctx, laneOf(want))
			w.ok(err, "read what is damaged in one place")
			equal(w, "the subscription", got, want)
		}
		w.damage(of, State)
		_, err := w.CurrentSubscription(w.ctx, laneOf(s))
		equal(w, "it is unreadable", errors.Is(err, dispatch.ErrUnreadable), true)
	}},
	{"unreadable/a change that is damaged keeps no other from being read, and the state stands in for it", func(w *world) {
		s, fine := w.subscribe(acme, nil), w.subscribe(acme, nil)
		s = w.pause(s, at(1))
		d := w.schedule(s, at(2), "")
		if !w.damage(d, Stream) {
			return
		}
		changes, _, err := w.Governing(w.ctx, 0, 1<<60, 100, nil)
		w.ok(err, "read the changes")
		equal(w, "changes", len(changes), 3)
		for _, c := range changes {
			bad := c.SubscriptionID == s.ID
			equal(w, "unreadable", []bool{c.Unreadable != nil, c.Change == nil}, []bool{bad, bad})
		}
		equal(w, "versions", []int64{changes[0].Version, changes[1].Version, changes[2].Version}, []int64{1, 1, 2})
		for _, position := range []int64{changes[2].Position, changes[2].Position + 1} { // before it was paused, and after that
			at, lost, err := w.SubscriptionsAt(w.ctx, []tenant.ID{acme}, position)
			w.ok(err, "read the subscriptions")
			equal(w, "the subscriptions", at, []subscription.Subscription{s, fine})
			equal(w, "what is lost", len(lost), 0)
		}
		w.damage(w.schedule(fine, at(2), ""), State)
		whole, lost, err := w.SubscriptionsAt(w.ctx, []tenant.ID{acme}, 1<<60)
		w.ok(err, "read the subscriptions, one of which has a damaged state")
		equal(w, "the subscriptions", whole, []subscription.Subscription{s, fine})
		equal(w, "what is lost", len(lost), 0)
	}},
	{"unreadable/a change of a subscription that is damaged as a whole keeps no other from being read", func(w *world) {
		s, fine := w.subscribe(acme, nil), w.subscribe(acme, nil)
		d := w.schedule(s, at(2), "")
		if !w.damage(d, Stream) || !w.damage(d, State) {
			return
		}
		changes, _, err := w.Governing(w.ctx, 0, 1<<60, 100, nil)
		w.ok(err, "read the changes")
		equal(w, "unreadable", []bool{changes[0].Unreadable != nil, changes[1].Unreadable != nil}, []bool{true, false})
		w.accept(acme, event.TargetImported, at(2))
		paused := w.pause(fine, at(3))
		for position, want := range map[int64]subscription.Subscription{changes[1].Position + 1: fine, 1 << 60: paused} {
			there, lost, err := w.SubscriptionsAt(w.ctx, []tenant.ID{acme}, position)
			w.ok(err, "read the subscriptions")
			equal(w, "the subscriptions", there, []subscription.Subscription{want})
			equal(w, "what is lost", lost, []dispatch.Lane{laneOf(s)})
		}
		equal(w, "the subscriptions that are listed", w.listed(acme), []string{paused.ID})
	}},
	{"unreadable/a job that is damaged is stopped, and keeps no other from being worked on", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "")
		bad, fine := w.job(acme, job.Filter{Statuses: delivery.RetryableStatuses()}), w.job(other, job.Filter{Statuses: delivery.RetryableStatuses()})
		if !w.damage(d, Jobs) {
			return
		}
		now, stopped := at(100), 0
		worker := w.workerAt(w.Store, &now)
		for range 4 {
			if _, err := worker.Step(w.ctx); err != nil {
				equal(w, "it says which one", strings.Contains(err.Error(), bad.ID), true)
				stopped++
			}
		}
		equal(w, "times that it was told of", stopped, 1)
		equal(w, "how the other has ended", w.readJob(fine).Status, job.Succeeded)
		equal(w, "how it has ended", w.readJob(bad).Status, job.Failed)
		list, err := w.Jobs(w.ctx, acme, "", 10)
		w.ok(err, "list the jobs")
		equal(w, "jobs", []any{len(list), list[0].ID, list[0].Reason == ""}, []any{1, bad.ID, false})
	}},
	{"unreadable/an event that is damaged keeps no other from being fanned out", func(w *world) {
		s := w.subscribe(acme, nil)
		bad, good := w.schedule(s, at(0), ""), w.schedule(s, at(1), "")
		whole := []intake.Accepted{w.loadEvent(bad), w.loadEvent(good)}
		if !w.damage(bad, Event) {
			return
		}
		loaded, err := w.Events(w.ctx, []intake.EventKey{whole[0].Key(), whole[1].Key()})
		w.ok(err, "load events")
		equal(w, "events", len(loaded), 2)
		equal(w, "it is unreadable", errors.Is(loaded[0].Unreadable, dispatch.ErrUnreadable) && strings.Contains(loaded[0].Unreadable.Error(), bad.EventID), true)
		equal(w, "its key", loaded[0].Key(), whole[0].Key())
		equal(w, "its type", loaded[0].Type, whole[0].Type)
		equal(w, "when it was accepted", loaded[0].At, whole[0].At)
		equal(w, "the other", loaded[1], whole[1])
	}},
	{"unreadable/events know the record that names them, and their order in it", func(w *world) {
		third, theirs, second, first := w.event(acme, event.TargetImported, at(0)), w.event(other, event.TargetImported, at(0)),
			w.event(acme, event.TargetImported, at(0)), w.event(acme, event.TargetImported, at(0))
		events := []intake.Accepted{first, theirs, second, third}
		w.ok(w.AppendEvents(w.ctx, events), "append events")
		events = append(events, w.accept(acme, event.TargetImported, at(1)), w.accept(other, event.TargetImported, at(1)))
		w.setAside(acme, second.ID, "odd")
		w.ok(w.retry(acme, second.ID, at(2)), "retry an event")
		named := map[int64][]intake.EventKey{}
		for _, e := range events {
			position := w.held(e.TenantID, e.ID).Position
			named[position] = append(named[position], e.Key())
		}
		equal(w, "records at least", len(named) >= 4, true)
		for position, want := range named {
			got, err := w.NamedBy(w.ctx, position)
			w.ok(err, "find a record's events")
			equal(w, "its events", got, want)
		}
		none, err := w.NamedBy(w.ctx, 1<<40)
		w.ok(err, "look for the events of no record")
		equal(w, "of no record", len(none), 0)
	}},
	{"unreadable/what waits for a turn is found by what is kept with the events when their names are damaged", func(w *world) {
		first, theirs := w.event(acme, event.TargetImported, at(0)), w.event(other, event.TargetImported, at(0))
		second, third := w.event(acme, event.TargetImported, at(0)), w.event(acme, event.TargetImported, at(0))
		w.ok(w.AppendEvents(w.ctx, []intake.Accepted{first, theirs, second, third}), "append events")
		w.accept(acme, event.TargetImported, at(1))
		waits := w.deferred(w.held(acme, second.ID))
		waits.Events = append(waits.Events, w.deferred(w.held(acme, third.ID)).Events...)
		gone := fanout.Deferred{Tenant: acme, Position: 1 << 40, Events: []fanout.Named{{Place: 2, ID: "evt_gone"}}}
		w.ok(w.Schedule(w.ctx, fanout.Plan{Deferred: []fanout.Deferred{waits, gone}}, func(bool) {}), "defer events")
		for _, what := range []Damage{Waits, WaitsNot} {
			if !w.damage(delivery.Delivery{Tenant: acme, EventID: second.ID}, what) {
				return
			}
			parts, err := w.DeferredOf(w.ctx, acme, 10)
			w.ok(err, "list what waits")
			for i := range parts {
				equal(w, "it is unreadable", parts[i].Unreadable != nil, true)
				parts[i].Unreadable = nil
			}
			nameless := fanout.Deferred{Tenant: acme, Position: gone.Position, Events: []fanout.Named{{Place: 2}}}
			equal(w, string(what)+": what waits", parts, []fanout.Deferred{waits, nameless})
		}
		none, err := w.Events(w.ctx, []intake.EventKey{{Tenant: acme}})
		w.ok(err, "load the event without a name")
		equal(w, "events without a name", len(none), 0)
		rest := waits
		rest.Events = waits.Events[1:]
		w.ok(w.turn(w.ctx, gone), "take what is gone")
		w.ok(w.turn(w.ctx, waits, rest), "take the first")
		w.waiting(acme, rest)
	}},
	{"unreadable/a record that is damaged stops neither the counts nor the stream", func(w *world) {
		s := w.subscribe(acme, nil)
		bad, good := w.schedule(s, at(0), ""), w.schedule(s, at(0), "")
		bad = w.saved(w.moved(bad, "", recorded(failure(at(1), 500), at(1))))
		bad = w.saved(w.moved(bad, "", recorded(success(at(60)), at(60))))
		w.saved(w.moved(good, "", recorded(success(at(61)), at(61))))
		if !w.damage(bad, Record) {
			return
		}
		_, err := metrics.NewProjection(w.Store, func() time.Time { return at(100) }).Step(w.ctx)
		w.ok(err, "count")
		counted := int64(0)
		for _, c := range w.cells(acme, "", time.Hour) {
			counted += c.Count
		}
		equal(w, "attempts", counted, 2)
		key, goodKey := live.Key{Tenant: acme, DeliveryID: bad.ID}, live.Key{Tenant: acme, DeliveryID: good.ID}
		streams, err := w.DeliveryStreams(w.ctx, map[live.Key]int64{key: bad.Version, goodKey: 2})
		w.ok(err, "read streams")
		_, known := streams[key]
		equal(w, "what can be read", []int{len(streams[key]), len(streams[goodKey])}, []int{int(bad.Version) - 1, 2})
		equal(w, "known", known, true)
		ends, err := w.LastAttempts(w.ctx, acme, map[string]int64{bad.ID: bad.Version, good.ID: 2})
		w.ok(err, "read last attempts")
		equal(w, "the last attempts", []bool{ends[bad.ID] != nil, ends[good.ID] != nil}, []bool{false, true})
	}},
	{"unreadable/a body that is damaged keeps its event from nothing", func(w *world) {
		s := w.subscribe(acme, nil)
		bad, good := w.schedule(s, at(0), ""), w.schedule(s, at(1), "")
		if !w.damage(bad, Body) {
			return
		}
		bodies, err := w.EventBodies(w.ctx, acme, []string{bad.EventID, good.EventID})
		w.ok(err, "read bodies")
		equal(w, "bodies", []int{len(bodies[bad.EventID]), len(bodies[good.EventID])}, []int{1, 1})
		equal(w, "it is unreadable", errors.Is(bodies[bad.EventID][0].Unreadable, dispatch.ErrUnreadable), true)
		equal(w, "its number", bodies[bad.EventID][0].Number, bad.BodyNumber)
		equal(w, "the other is unreadable", bodies[good.EventID][0].Unreadable, nil)
	}},
	{"unreadable/warnings that are damaged keep nothing from being sent", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "")
		if !w.damage(d, Warnings) {
			return
		}
		leased := w.lease(leasing{now: at(1)}).Leased
		equal(w, "leased", idsOf(leased), []string{d.ID})
		equal(w, "unreadable", leased[0].Unreadable, nil)
		equal(w, "warnings that say so", len(w.read(d).Warnings), 1)
	}},
}
