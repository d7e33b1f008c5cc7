package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var turnChecks = []Check{
	{"turns/what waits is listed oldest first, by tenant", func(w *world) {
		waits := map[tenant.ID]bool{}
		equal(w, "nobody waits", w.deferring(w.ctx, acme, other), waits)
		w.nextTurn("", "")
		w.waiting(acme)
		first, second := w.left(acme, "evt_a", "evt_b"), w.left(acme, "evt_c")
		theirs := w.left(other, "evt_a")
		w.waiting(acme, first, second)
		w.waiting(other, theirs)
		w.waiting("nobody")
		limited, err := w.DeferredOf(w.ctx, acme, 1)
		w.ok(err, "list what waits")
		equal(w, "no more than asked for", limited, []fanout.Deferred{first})
		equal(w, "who waits, of those asked for", w.deferring(w.ctx, acme, "nobody"), map[tenant.ID]bool{acme: true})
	}},
	{"turns/they go round", func(w *world) {
		w.left(acme, "evt_a")
		w.nextTurn("", acme)
		w.nextTurn(acme, acme)
		w.left(other, "evt_a")
		w.nextTurn("", acme)
		w.nextTurn(acme, other)
		w.nextTurn("azalea", other)
		w.nextTurn(other, acme)
		w.nextTurn("zebra", acme)
	}},
	{"turns/one takes some of the events, and the rest wait on", func(w *world) {
		all := w.left(acme, "evt_a", "evt_b", "evt_c")
		later := w.left(acme, "evt_d")
		rest := all
		rest.Events = all.Events[1:]
		w.ok(w.turn(w.ctx, all, rest), "take one of three events")
		w.waiting(acme, rest, later)
		w.ok(w.turn(w.ctx, rest), "take the others")
		w.waiting(acme, later)
		w.ok(w.turn(w.ctx, later), "take the last")
		w.waiting(acme)
		w.nextTurn("", "")
	}},
	{"turns/what was taken is not taken again", func(w *world) {
		s := w.subscribe(acme, nil)
		waits := w.left(acme, "evt_a", "evt_b")
		w.ok(w.turn(w.ctx, waits), "take the turn")
		again := w.planned(s, w.accept(acme, event.TargetImported, at(0)), at(6), "")
		plan := fanout.Plan{Taken: []fanout.Deferred{waits}, Scheduled: []fanout.Scheduled{again}}
		var told []bool
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			told = nil
			if _, err := w.LaneStates(ctx, []dispatch.Lane{laneOf(s)}); err != nil { // as a turn looks before it schedules
				return err
			}
			return w.Schedule(ctx, plan, func(committed bool) { told = append(told, committed) })
		})
		if err == nil || slices.Contains(told, true) {
			w.Errorf("a turn that was taken gave %v, and who scheduled was told %v", err, told)
		}
		_, err = w.Delivery(w.ctx, acme, again.Delivery.ID)
		w.refused(err, problem.NotFound, "read what the second turn scheduled")
	}},
	{"turns/of many at once one takes the events", func(w *world) {
		waits := w.left(acme, "evt_a")
		took := make([]int, 8)
		var wait sync.WaitGroup
		for i := range took {
			wait.Go(func() {
				err := w.InTx(w.ctx, func(ctx context.Context) error {
					took[i] = 0
					parts, err := w.DeferredOf(ctx, acme, 10)
					if err != nil || len(parts) == 0 {
						return err
					}
					took[i] = 1
					return w.with(ctx, w.T).turn(ctx, parts[0])
				})
				if err != nil {
					w.Errorf("take a turn: %v", err)
				}
			})
		}
		wait.Wait()
		slices.Sort(took)
		equal(w, "who took it", took, []int{0, 0, 0, 0, 0, 0, 0, 1})
		w.waiting(acme)
		equal(w, "waited", waits.Events[0].ID, "evt_a")
	}},
	{"turns/an undone one changes nothing", func(w *world) {
		waits, failed := w.left(acme, "evt_a"), errors.New("no")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			inside := w.with(ctx, w.T)
			w.ok(inside.turn(ctx, waits), "take the turn")
			inside.waiting(acme)
			inside.left(other, "evt_b")
			equal(w, "who waits, seen from inside", w.deferring(ctx, acme, other), map[tenant.ID]bool{other: true})
			return failed
		})
		if !errors.Is(err, failed) {
			w.Errorf("InTx gave %v", err)
		}
		w.waiting(acme, waits)
		w.waiting(other)
	}},
	{"turns/of what time those are that wait", func(w *world) {
		from := func(want map[tenant.ID]time.Time) {
			w.Helper()
			got, err := w.WaitingFrom(w.ctx)
			w.ok(err, "look since when tenants wait")
			equal(w, "waiting from", got, want)
		}
		from(map[tenant.ID]time.Time{})
		leave := func(owner tenant.ID, second float64) fanout.Deferred {
			w.Helper()
			d := w.deferred(w.held(owner, w.accept(owner, event.TargetImported, at(second)).ID))
			w.ok(w.Schedule(w.ctx, fanout.Plan{Deferred: []fanout.Deferred{d}}, func(bool) {}), "defer an event")
			return d
		}
		w.accept(acme, event.TargetImported, at(1))
		oldest := leave(acme, 5)
		leave(acme, 6)
		from(map[tenant.ID]time.Time{acme: at(5)})
		leave(other, 7)
		from(map[tenant.ID]time.Time{acme: at(5), other: at(7)})
		w.ok(w.turn(w.ctx, oldest), "take the turn")
		from(map[tenant.ID]time.Time{acme: at(6), other: at(7)})
	}},
	{"turns/what waits is not fanned out, nor is what comes behind it", func(w *world) {
		batch := []intake.Accepted{w.event(acme, event.TargetImported, at(0)), w.event(acme, event.TargetImported, at(0))}
		w.ok(w.AppendEvents(w.ctx, batch), "append two events")
		ids := []string{batch[0].ID, batch[1].ID, w.accept(acme, event.TargetImported, at(1)).ID, w.accept(acme, event.TargetImported, at(2)).ID}
		theirs := w.accept(other, event.TargetImported, at(1))
		waits, last := w.deferred(w.held(acme, ids[1])), w.deferred(w.held(acme, ids[3]))
		w.ok(w.Schedule(w.ctx, fanout.Plan{Deferred: []fanout.Deferred{waits, last}}, func(bool) {}), "defer the second and the last")
		w.ok(w.ReachFanOut(w.ctx, 1_000_000), "move the fan-out's offset")
		fannedOut := func(what string, n, waiting int) {
			w.Helper()
			equal(w, what, w.fannedOut(acme, ids...), ids[:n])
			events, err := w.EventsAfter(w.ctx, acme, 0, 10)
			w.ok(err, "read events")
			var listed []string
			for _, e := range events {
				listed = append(listed, e.ID)
			}
			equal(w, what+", for catch-up", listed, ids[:n])
			var hour reconciliation.Hour
			if waiting > 0 {
				hour = w.hour(acme)
			}
			equal(w, what+", waiting", hour.Waiting, waiting)
		}
		fannedOut("while the second waits", 1, 3)
		equal(w, "another tenant's", w.fannedOut(other, theirs.ID), []string{theirs.ID})
		oldest, err := w.OldestUnrouted(w.ctx)
		w.ok(err, "look for what fan-out has not come to")
		equal(w, "fan-out has come to all", oldest, time.Time{})
		w.ok(w.turn(w.ctx, waits), "take the turn")
		fannedOut("after its turn", 3, 1)
		w.ok(w.turn(w.ctx, last), "take the last turn")
		fannedOut("after the last turn", 4, 0)
	}},
	{"turns/what waits is not purged", func(w *world) {
		const weeks = 3 * 7 * 24 * 3600 // a store may keep what is of the same week, or of the next
		first, second := w.accept(acme, event.TargetImported, at(0)), w.accept(acme, event.TargetImported, at(weeks))
		waits := w.deferred(w.held(acme, second.ID))
		w.ok(w.Schedule(w.ctx, fanout.Plan{Deferred: []fanout.Deferred{waits}}, func(bool) {}), "defer the second")
		w.ok(w.ReachFanOut(w.ctx, 1_000_000), "move the fan-out's offset")
		purged := func(want ...string) {
			w.Helper()
			for range 9 {
				_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(2 * weeks), Events: at(2 * weeks), Attempts: at(2 * weeks), DeadLetters: at(2 * weeks)}, 100)
				w.ok(err, "purge")
			}
			equal(w, "what is left", w.eventIDs(acme), want)
		}
		purged(second.ID)
		_, err := w.Event(w.ctx, acme, first.ID)
		w.refused(err, problem.NotFound, "read what was purged")
		w.waiting(acme, waits)
		equal(w, "the event", w.loadEvent(delivery.Delivery{Tenant: acme, EventID: second.ID}), second)
		w.ok(w.turn(w.ctx, waits), "take the turn")
		purged()
	}},
	{"turns/an event that was set aside waits in its new place", func(w *world) {
		odd, next := w.accept(acme, event.TargetImported, at(0)), w.accept(acme, event.TargetImported, at(1))
		w.setAside(acme, odd.ID, "odd")
		w.ok(w.retry(acme, odd.ID, at(2)), "retry an event")
		w.ok(w.ReachFanOut(w.ctx, 1_000_000), "move the fan-out's offset")
		waits := w.deferred(w.held(acme, odd.ID))
		w.ok(w.Schedule(w.ctx, fanout.Plan{Deferred: []fanout.Deferred{waits}}, func(bool) {}), "defer it")
		equal(w, "while it waits", w.fannedOut(acme, odd.ID, next.ID), []string{next.ID})
		w.ok(w.turn(w.ctx, waits), "take the turn")
		equal(w, "after its turn", w.fannedOut(acme, odd.ID, next.ID), []string{odd.ID, next.ID})
	}},
	{"turns/processes of this version may defer", func(w *world) {
		w.ok(w.BeginIncarnation(w.ctx, "inc_1", at(0)), "begin an incarnation")
		w.ok(w.Heartbeat(w.ctx, "inc_2", at(0)), "beat")
		may, err := w.MayDefer(w.ctx, at(-60))
		w.ok(err, "look for older processes")
		equal(w, "may defer", may, true)
	}},
}

// deferring is of which of the tenants events wait.
func (w *world) deferring(ctx context.Context, owners ...tenant.ID) map[tenant.ID]bool {
	w.Helper()
	_, deferring, err := w.Governing(ctx, 0, 1<<60, 1000, owners)
	w.ok(err, "look for who waits")
	return deferring
}

// deferred is the event as it is left for a turn, alone of its record.
func (w *world) deferred(e queries.Event) fanout.Deferred {
	return fanout.Deferred{Tenant: e.Tenant, Position: e.Position, Events: []fanout.Named{{Place: w.placeOf(e), ID: e.ID}}}
}

// maxPlaces is how many sequence numbers of events a record has.
const maxPlaces = 1 << 16

func (w *world) placeOf(e queries.Event) int { return int(e.Sequence - e.Position*maxPlaces) }

// left defers events of a record of their own that were never accepted.
func (w *world) left(owner tenant.ID, ids ...string) fanout.Deferred {
	w.Helper()
	*w.lastID++
	d := fanout.Deferred{Tenant: owner, Position: int64(*w.lastID)}
	for i, id := range ids {
		d.Events = append(d.Events, fanout.Named{Place: 2 + i, ID: id})
	}
	w.ok(w.Schedule(w.ctx, fanout.Plan{Deferred: []fanout.Deferred{d}}, func(bool) {}), "defer events")
	return d
}

// turn takes what waits, of which rest waits on.
func (w *world) turn(ctx context.Context, taken fanout.Deferred, rest ...fanout.Deferred) error {
	return w.Schedule(ctx, fanout.Plan{Taken: []fanout.Deferred{taken}, Deferred: rest}, func(bool) {})
}

func (w *world) waiting(owner tenant.ID, want ...fanout.Deferred) {
	w.Helper()
	got, err := w.DeferredOf(w.ctx, owner, 10)
	w.ok(err, "list what waits of "+string(owner))
	equal(w, "what waits of "+string(owner), got, want)
}

func (w *world) nextTurn(after, want tenant.ID) {
	w.Helper()
	got, err := w.NextTurn(w.ctx, after)
	w.ok(err, "look whose turn is next")
	equal(w, "the turn after "+string(after), got, want)
}

// fannedOut is those of the events with which fan-out is done.
func (w *world) fannedOut(owner tenant.ID, ids ...string) (done []string) {
	w.Helper()
	for _, id := range ids {
		is, err := w.FannedOut(w.ctx, w.held(owner, id))
		w.ok(err, "ask for the fan-out")
		if is {
			done = append(done, id)
		}
	}
	return done
}
