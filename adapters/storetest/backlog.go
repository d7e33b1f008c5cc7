package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var backlogChecks = []Check{
	{"backlog/open deliveries are counted by tenant and in all, up to a number", func(w *world) {
		mine, theirs := w.subscribe(acme, nil), w.subscribe(other, nil)
		first := w.schedule(mine, at(0), "inc_1")
		w.schedule(mine, at(0), "")
		w.schedule(w.pause(mine, at(0)), at(0), "") // parked ones take room, too
		w.schedule(theirs, at(0), "")
		counts := func(owner tenant.ID, upTo, want int) {
			w.Helper()
			got, err := w.CountOpen(w.ctx, owner, upTo)
			w.ok(err, "count open deliveries")
			equal(w, "open deliveries", got, want)
		}
		counts(acme, 10, 3)
		counts(other, 10, 1)
		counts("", 10, 4)
		counts(acme, 2, 2)
		counts("", 3, 3)
		counts("nobody", 3, 0)
		w.saved(w.moved(first, "inc_1", recorded(success(at(1)), at(1))))
		counts(acme, 10, 2)
		counts("", 10, 3)
	}},
	{"backlog/the oldest event that is not fanned out", func(w *world) {
		oldest := func(want time.Time) {
			w.Helper()
			got, err := w.OldestUnrouted(w.ctx)
			w.ok(err, "look for what is not fanned out")
			equal(w, "since", got, want)
		}
		oldest(time.Time{})
		first := w.accept(acme, event.TargetImported, at(1))
		w.accept(acme, event.TargetImported, at(2))
		w.subscribe(acme, nil) // another topic's record
		oldest(at(1))
		listed, err := w.Event(w.ctx, acme, first.ID)
		w.ok(err, "read the event")
		w.ok(w.ReachFanOut(w.ctx, listed.Position), "move the fan-out's offset")
		oldest(at(2))
		w.ok(w.ReachFanOut(w.ctx, 1_000_000), "move the fan-out's offset")
		oldest(time.Time{})
	}},
	{"backlog/what an event of a tenant comes to, by the last hour that has any, else by its subscriptions", func(w *world) {
		weighs := func(want map[tenant.ID]float64) {
			w.Helper()
			got, err := w.DeliveriesPerEvent(w.ctx, []tenant.ID{acme, other, "nobody"})
			w.ok(err, "ask what events come to")
			equal(w, "deliveries per event", got, want)
		}
		s := w.subscribe(acme, nil)
		w.subscribe(acme, nil)
		w.pause(w.subscribe(other, nil), at(0))
		w.delete(w.subscribe(other, nil), at(0))
		weighs(map[tenant.ID]float64{acme: 2, other: 1, "nobody": 0})
		w.tallied(acme, event.TargetImported, firstHour, reconciliation.Counted{Deliveries: 1}, s.ID)
		w.tallied(acme, event.TargetImported, firstHour, reconciliation.Counted{}, s.ID)
		weighs(map[tenant.ID]float64{acme: 0.5, other: 1, "nobody": 0})
		w.tallied(acme, event.TargetImported, firstHour.Add(reconciliation.Span), reconciliation.Counted{}, s.ID)
		weighs(map[tenant.ID]float64{acme: 0, other: 1, "nobody": 0})
		for range intake.MostAssumed {
			w.subscribe(other, nil)
		}
		weighs(map[tenant.ID]float64{acme: 0, other: intake.MostAssumed, "nobody": 0})
	}},
	{"backlog/processes count that have said that they live", func(w *world) {
		counts := func(since time.Time, want int) {
			w.Helper()
			got, err := w.CountProcesses(w.ctx, since)
			w.ok(err, "count processes")
			equal(w, "processes", got, want)
		}
		counts(at(100), 0)
		for incarnation, beat := range map[string]float64{"inc_a": 110, "inc_b": 120} {
			w.ok(w.Heartbeat(w.ctx, incarnation, at(beat)), "heartbeat")
		}
		counts(at(100), 2)
		counts(at(110), 2)
		counts(at(111), 1)
		w.ok(w.Heartbeat(w.ctx, "inc_a", at(130)), "heartbeat again")
		counts(at(111), 2)
		counts(at(131), 0)
	}},
	{"quota/a day's events add up, and an earlier day is forgotten", func(w *world) {
		day := at(0).Truncate(24 * time.Hour)
		counts := func(day time.Time, sent, want map[tenant.ID]int) {
			w.Helper()
			got, err := w.CountDay(w.ctx, day, sent)
			w.ok(err, "count the day's events")
			equal(w, "counted", got, want)
		}
		counts(day, map[tenant.ID]int{acme: 0, other: 3}, map[tenant.ID]int{acme: 0, other: 3})
		counts(day, map[tenant.ID]int{acme: 2}, map[tenant.ID]int{acme: 2})
		counts(day, map[tenant.ID]int{acme: 5, other: 0}, map[tenant.ID]int{acme: 7, other: 3})
		counts(day.Add(24*time.Hour), map[tenant.ID]int{acme: 1}, map[tenant.ID]int{acme: 1})
		counts(day, map[tenant.ID]int{acme: 1, other: 1}, map[tenant.ID]int{acme: 2, other: 4}) // as somebody may who began before midnight
		counts(day.Add(9*24*time.Hour), map[tenant.ID]int{acme: 5}, map[tenant.ID]int{acme: 5})
		counts(day, map[tenant.ID]int{acme: 1}, map[tenant.ID]int{acme: 1}) // the clock was days ahead
		counts(day, map[tenant.ID]int{acme: 1}, map[tenant.ID]int{acme: 2})
	}},
	{"quota/what is undone does not count", func(w *world) {
		day, failed := at(0).Truncate(24*time.Hour), errors.New("no")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			if _, err := w.CountDay(ctx, day, map[tenant.ID]int{acme: 9}); err != nil {
				return err
			}
			return failed
		})
		if !errors.Is(err, failed) {
			w.Errorf("got %v", err)
		}
		got, err := w.CountDay(w.ctx, day, map[tenant.ID]int{acme: 1})
		w.ok(err, "count the day's events")
		equal(w, "counted", got, map[tenant.ID]int{acme: 1})
	}},
}
