package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var subscriptionChecks = []Check{
	{"subscriptions/the stored state is the fold of the stream after every change", func(w *world) {
		s := w.subscribe(acme, nil)
		w.subscriptionStands(s)
		for _, decide := range everyCommand(w) {
			s = w.change(s, decide)
			w.subscriptionStands(s)
		}
	}},
	{"subscriptions/a stream that moved on is in conflict", func(w *world) {
		s := w.subscribe(acme, nil)
		rename := func(name string, from subscription.Subscription) error {
			wanted := from.Settings
			wanted.Name = name
			changes, err := from.Update(wanted, at(1))
			w.ok(err, "decide on a new name")
			_, err = w.appended(from, changes)
			return err
		}
		w.ok(rename("first", s), "append the first change")
		w.refused(rename("second", s), problem.Conflict, "append to the version that was")
		created := subscription.Create(s.ID, acme, settings(), "sec_2", at(2))
		_, err := w.appended(subscription.Subscription{}, created)
		w.refused(err, problem.Conflict, "create it again")
		got, err := w.LoadSubscription(w.ctx, laneOf(s))
		w.ok(err, "load it")
		equal(w, "the name", got.Name, "first")
		equal(w, "the version", got.Version, int64(2))
	}},
	{"subscriptions/of several at once, one changes the stream", func(w *world) {
		s := w.subscribe(acme, nil)
		changes, err := s.Pause("", at(1))
		w.ok(err, "decide to pause")
		after := s
		w.ok(after.Apply(changes[0]), "apply it")
		var wait sync.WaitGroup
		answers := make([]error, 4)
		for i := range answers {
			wait.Go(func() { answers[i] = w.AppendSubscription(w.ctx, s, after, changes, anActor) })
		}
		wait.Wait()
		won := 0
		for _, err := range answers {
			if err == nil {
				won++
			} else {
				w.refused(err, problem.Conflict, "append second")
			}
		}
		equal(w, "winners", won, 1)
		w.subscriptionStands(after)
	}},
	{"subscriptions/of several who change what is there, each changes what the last one left", func(w *world) {
		s := w.subscribe(acme, nil)
		var wait sync.WaitGroup
		answers := make([]error, 8)
		for i := range answers {
			wait.Go(func() {
				answers[i] = w.InTx(w.ctx, func(ctx context.Context) error { return w.toggle(ctx, laneOf(s)) })
			})
		}
		wait.Wait()
		for _, err := range answers {
			w.ok(err, "change it, whatever it is")
		}
		after, err := w.CurrentSubscription(w.ctx, laneOf(s))
		w.ok(err, "read the state")
		equal(w, "changes", after.Version, s.Version+int64(len(answers)))
	}},
	{"subscriptions/a transaction reads the state that it has left", func(w *world) {
		s := w.subscribe(acme, nil)
		rolledBack := errors.New("rolled back")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			changes, err := s.Pause("", at(1))
			w.ok(err, "decide to pause")
			after := s
			w.ok(after.Apply(changes[0]), "apply it")
			w.ok(w.AppendSubscription(ctx, s, after, changes, anActor), "append it")
			current, err := w.CurrentSubscription(ctx, laneOf(s))
			w.ok(err, "read the state")
			equal(w, "the state in the transaction", current, after)
			current, err = w.SubscriptionToChange(ctx, laneOf(s))
			w.ok(err, "read it to change it")
			equal(w, "the state to change in the transaction", current, after)
			return rolledBack
		})
		equal(w, "it was rolled back", errors.Is(err, rolledBack), true)
		w.subscriptionStands(s)
	}},
	{"subscriptions/a stream cannot begin in its middle", func(w *world) {
		s := w.subscribe(acme, nil)
		s.Tenant = other
		changes, err := s.Pause("", at(1))
		w.ok(err, "decide to pause")
		_, err = w.appended(s, changes)
		w.refused(err, problem.Conflict, "append to a stream that is not there")
		_, err = w.LoadSubscription(w.ctx, laneOf(s))
		w.refused(err, problem.NotFound, "load what was not begun")
		_, err = w.CurrentSubscription(w.ctx, laneOf(s))
		w.refused(err, problem.NotFound, "read the state of what was not begun")
		_, err = w.SubscriptionToChange(w.ctx, laneOf(s))
		w.refused(err, problem.NotFound, "change what was not begun")
		equal(w, "subscriptions of the other tenant", w.listed(other), nil)
	}},
	{"subscriptions/list and count", func(w *world) {
		var all []string
		for range 5 {
			all = append([]string{w.subscribe(acme, nil).ID}, all...)
		}
		w.subscribe(other, nil)
		gone := w.subscribe(acme, nil)
		w.delete(gone, at(1))
		equal(w, "all, newest first", w.listed(acme), all)
		page, err := w.ListSubscriptions(w.ctx, acme, all[1], 2)
		w.ok(err, "list the next page")
		equal(w, "the page behind the second", []string{page[0].ID, page[1].ID}, all[2:4])
		count, err := w.CountSubscriptions(w.ctx, acme)
		w.ok(err, "count")
		equal(w, "the count", count, 5)
	}},
	{"subscriptions/who counts them before there is one more counts all", func(w *world) {
		const quota = 3
		var wait sync.WaitGroup
		answers := make([]error, 12)
		for i := range answers {
			changes := subscription.Create(w.id("sub_"), acme, settings(), w.id("sec_"), at(0))
			created, err := subscription.Fold(changes)
			w.ok(err, "fold a new subscription")
			wait.Go(func() {
				answers[i] = w.InTx(w.ctx, func(ctx context.Context) error {
					if n, err := w.CountSubscriptions(ctx, acme); err != nil || n >= quota {
						return err
					}
					return w.AppendSubscription(ctx, subscription.Subscription{}, created, changes, anActor)
				})
			})
		}
		wait.Wait()
		for _, err := range answers {
			w.ok(err, "count, and create one of several at once")
		}
		equal(w, "subscriptions", len(w.listed(acme)), quota)
	}},
	{"subscriptions/travel in time", func(w *world) {
		w.subscribe(other, nil)
		s := w.subscribe(acme, nil)
		paused := w.pause(s, at(1))
		second := w.subscribe(acme, nil)
		w.delete(paused, at(2))
		positions := w.positions(acme)
		if len(positions) != 4 {
			w.Fatalf("%d changes of one tenant, want 4", len(positions))
		}
		for i, want := range [][]subscription.Subscription{nil, {s}, {paused}, {paused, second}, {second}} {
			upTo := positions[len(positions)-1] + 1
			if i < len(positions) {
				upTo = positions[i]
			}
			got, _, err := w.SubscriptionsAt(w.ctx, []tenant.ID{acme}, upTo)
			w.ok(err, "read subscriptions at a position")
			equal(w, "subscriptions at a position", got, want)
		}
	}},
	{"subscriptions/travel in time past more changes than are looked at", func(w *world) {
		s, second := w.subscribe(acme, nil), w.subscribe(acme, nil)
		deleted := w.resume(w.pause(w.subscribe(acme, nil), at(0)), at(0))
		elsewhere := w.pause(w.subscribe(other, nil), at(0))
		at0 := w.accept(acme, event.TargetImported, at(0))
		w.change(second, func(second subscription.Subscription) (changes []subscription.Change, err error) {
			for range records.ChangesSince / 2 {
				changes = append(changes, subscription.Paused{At: at(1)}, subscription.Resumed{At: at(1)})
			}
			return changes, nil
		})
		w.delete(deleted, at(2))
		got, err := w.Event(w.ctx, acme, at0.ID)
		w.ok(err, "read the event")
		there, lost, err := w.SubscriptionsAt(w.ctx, []tenant.ID{other, acme}, got.Position)
		w.ok(err, "read subscriptions of two tenants at the event")
		equal(w, "subscriptions at the event", there, []subscription.Subscription{s, second, deleted, elsewhere})
		equal(w, "what is lost", len(lost), 0)
	}},
	{"subscriptions/events and subscriptions share one order", func(w *world) {
		before := w.subscribe(acme, nil)
		e := w.accept(acme, event.TargetImported, at(0))
		w.subscribe(acme, nil)
		got, err := w.Event(w.ctx, acme, e.ID)
		w.ok(err, "read the event")
		there, _, err := w.SubscriptionsAt(w.ctx, []tenant.ID{acme}, got.Position)
		w.ok(err, "read subscriptions at the event")
		equal(w, "subscriptions that govern the event", there, []subscription.Subscription{before})
	}},
	{"subscriptions/windows of changes", func(w *world) {
		s := w.subscribe(acme, nil)
		s = w.pause(s, at(1))
		o := w.subscribe(other, nil)
		w.accept(acme, event.TargetImported, at(1)) // another topic
		s = w.resume(s, at(2))
		all, _, err := w.Governing(w.ctx, 0, 1<<60, 100, nil)
		w.ok(err, "read all changes")
		want := []fanout.SubscriptionChange{
			{Tenant: acme, SubscriptionID: s.ID, Change: subscription.Created{At: at(0), ID: s.ID, Tenant: acme, Settings: settings(), SecretID: s.Secrets.Current}},
			{Tenant: acme, SubscriptionID: s.ID, Change: subscription.Paused{At: at(1), Reason: "maintenance"}},
			{Tenant: other, SubscriptionID: o.ID, Change: subscription.Created{At: at(0), ID: o.ID, Tenant: other, Settings: settings(), SecretID: o.Secrets.Current}},
			{Tenant: acme, SubscriptionID: s.ID, Change: subscription.Resumed{At: at(2)}},
		}
		for i := range min(len(all), len(want)) {
			want[i].Position, want[i].Version = all[i].Position, []int64{1, 2, 1, 3}[i]
			if i > 0 && all[i].Position <= all[i-1].Position {
				w.Errorf("position %d does not follow %d", all[i].Position, all[i-1].Position)
			}
		}
		equal(w, "all changes", all, want)
		window := func(after, upTo int64, limit int, want []fanout.SubscriptionChange) {
			w.Helper()
			got, _, err := w.Governing(w.ctx, after, upTo, limit, nil)
			w.ok(err, "read a window")
			equal(w, "a window", got, want)
		}
		window(all[0].Position, all[2].Position, 100, all[1:3])
		window(all[0].Position, all[3].Position, 2, all[1:3])
		window(all[3].Position, 1<<60, 100, nil)
		window(all[1].Position, all[1].Position, 100, nil)
	}},
	{"subscriptions/changes note the sweep that they ask for", func(w *world) {
		s := w.subscribe(acme, nil)
		w.sweeps(nil)
		s = w.pause(s, at(1))
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Park})
		s = w.resume(s, at(2)) // replaces it
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Release})
		s = w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Disable("gone", at(3)), nil })
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Park})
		s = w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Resume(true, at(4)) })
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Skip})
		s = w.delete(s, at(5))
		w.sweeps(&sweep.Sweep{Lane: laneOf(s), Action: sweep.Cancel})
	}},
	{"subscriptions/a test is noted, found, and changes nothing", func(w *world) {
		s := w.subscribe(acme, nil)
		e := subscriptions.Exchange{
			DeliveryID: w.id("dlv_"), Tenant: acme, EventID: w.id("evt_"), EventType: event.TargetImported, SubscriptionID: s.ID, SubscriptionVersion: s.Version,
			URL: s.URL, Body: []byte(`{"a":"ä"}`), Warnings: []string{"odd"}, At: at(1),
		}
		find := func(want subscriptions.Exchange) {
			w.Helper()
			got, err := w.FindTest(w.ctx, acme, e.DeliveryID)
			w.ok(err, "find the test")
			equal(w, "the test", got, want)
		}
		w.ok(w.NoteTest(w.ctx, e, anActor), "note a test")
		find(e)
		o := success(at(2))
		o.RequestHeaders, o.ResponseBody = map[string]string{"webhook-id": e.EventID}, []byte("ok\xff")
		e.Outcome = &o
		w.ok(w.NoteTestEnd(w.ctx, e), "note what came of it")
		find(e)
		w.subscriptionStands(s)
		equal(w, "changes of subscriptions", len(w.positions(acme)), 1)
		_, err := w.Delivery(w.ctx, acme, e.DeliveryID)
		w.refused(err, problem.NotFound, "read the test as a delivery")
		for owner, id := range map[tenant.ID]string{other: e.DeliveryID, acme: "dlv_none"} {
			_, err = w.FindTest(w.ctx, owner, id)
			w.refused(err, problem.NotFound, "find another's test")
		}
	}},
}

// everyCommand calls each command once, in an order in which each changes something.
func everyCommand(w *world) []func(subscription.Subscription) ([]subscription.Change, error) {
	type sub = subscription.Subscription
	return []func(sub) ([]subscription.Change, error){
		func(s sub) ([]subscription.Change, error) {
			wanted := s.Settings
			wanted.URL, wanted.EventTypes, wanted.SourceSystem = "https://new.example.com", subscription.Filter{"billing.*", "target.imported"}, "datev"
			wanted.RetrySchedule, wanted.MaxInFlight = []time.Duration{time.Second}, 3
			return s.Update(wanted, at(1))
		},
		func(s sub) ([]subscription.Change, error) { return s.RotateSecret(w.id("sec_"), time.Hour, at(2)) },
		func(s sub) ([]subscription.Change, error) { return s.CompleteRotation(at(3)) },
		func(s sub) ([]subscription.Change, error) { return s.RotateSecret(w.id("sec_"), 0, at(4)) },
		func(s sub) ([]subscription.Change, error) { return s.Pause("maintenance", at(5)) },
		func(s sub) ([]subscription.Change, error) { return s.Resume(true, at(6)) },
		func(s sub) ([]subscription.Change, error) { return s.Disable("gone", at(7)), nil },
		func(s sub) ([]subscription.Change, error) { return s.Resume(false, at(8)) },
		func(s sub) ([]subscription.Change, error) { return s.Delete(at(9)) },
	}
}

// toggle pauses a subscription, or resumes one that is paused.
func (w *world) toggle(ctx context.Context, lane dispatch.Lane) error {
	now, err := w.SubscriptionToChange(ctx, lane)
	if err != nil {
		return err
	}
	decide := func() ([]subscription.Change, error) { return now.Pause("", at(1)) }
	if now.Status == subscription.StatusPaused {
		decide = func() ([]subscription.Change, error) { return now.Resume(false, at(1)) }
	}
	changes, err := decide()
	if err != nil {
		return err
	}
	after := now
	if err := after.Apply(changes[0]); err != nil {
		return err
	}
	return w.AppendSubscription(ctx, now, after, changes, anActor)
}

// subscriptionStands checks stream and state.
func (w *world) subscriptionStands(want subscription.Subscription) {
	w.Helper()
	folded, err := w.LoadSubscription(w.ctx, laneOf(want))
	w.ok(err, "fold the stream")
	equal(w, "the fold of the stream", folded, want)
	current, err := w.CurrentSubscription(w.ctx, laneOf(want))
	w.ok(err, "read the state")
	equal(w, "the state beside the stream", current, want)
	list, err := w.ListSubscriptions(w.ctx, want.Tenant, "", 10)
	w.ok(err, "list subscriptions")
	if want.Status == subscription.StatusDeleted {
		equal(w, "the list without what was deleted", len(list), 0)
		equal(w, "the status", w.laneState(laneOf(want)).Status, subscription.StatusDeleted)
		return
	}
	equal(w, "the stored state", list, []subscription.Subscription{want})
}

func (w *world) listed(owner tenant.ID) (ids []string) {
	w.Helper()
	list, err := w.ListSubscriptions(w.ctx, owner, "", 1000)
	w.ok(err, "list subscriptions")
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

// positions lists the positions of the changes of a tenant's subscriptions.
func (w *world) positions(owner tenant.ID) (positions []int64) {
	w.Helper()
	changes, _, err := w.Governing(w.ctx, 0, 1<<60, 1000, nil)
	w.ok(err, "read the changes")
	for _, c := range changes {
		if c.Tenant == owner {
			positions = append(positions, c.Position)
		}
	}
	return positions
}

// sweeps checks which sweep is noted; nil for none.
func (w *world) sweeps(want *sweep.Sweep) {
	w.Helper()
	got, found, err := w.NextSweep(w.ctx)
	w.ok(err, "read the next sweep")
	if want == nil {
		equal(w, "a sweep is noted", found, false)
		return
	}
	equal(w, "the sweep", got, *want)
	equal(w, "the lane is swept", w.laneState(want.Lane).Sweeping, true)
}

func (w *world) laneState(lane dispatch.Lane) fanout.LaneState {
	w.Helper()
	states, err := w.LaneStates(w.ctx, []dispatch.Lane{lane})
	w.ok(err, "read the lane's state")
	return states[lane]
}
