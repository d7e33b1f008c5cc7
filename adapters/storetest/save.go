package storetest

import (
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

var saveChecks = []Check{
	{"save/from open to open to closed to open again", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "inc_1")
		d = w.saved(w.moved(d, "inc_1", recorded(failure(at(1), 503), at(1))))
		w.stands(d, false)
		if got := w.lease(leasing{now: d.DueAt.Add(-time.Microsecond)}).Leased; len(got) > 0 {
			w.Errorf("a retry was leased before it was due")
		}
		leased := w.lease(leasing{now: d.DueAt}).Leased
		equal(w, "leased when the retry is due", idsOf(leased), []string{d.ID})
		equal(w, "what was leased", leased[0].Delivery, d)
		d = w.saved(w.moved(d, "inc_1", recorded(success(at(40)), at(40))))
		w.stands(d, false)
		d = w.saved(w.moved(w.read(d), "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.RequestRetry(at(50)) }))
		w.stands(d, false)
		leased = w.lease(leasing{now: at(50)}).Leased
		equal(w, "leased after a retry by hand", idsOf(leased), []string{d.ID})
		equal(w, "its trace", leased[0].TraceParent, anActor.TraceParent)
		equal(w, "when its event was accepted", leased[0].AcceptedAt, at(0))
		d = w.saved(w.moved(d, "inc_1", recorded(failure(at(51), 410), at(51))))
		equal(w, "status", d.Status, delivery.StatusDeadLetter)
		w.stands(d, false)
		equal(w, "leased of what is closed", w.lease(leasing{now: at(1e7)}).Leased, nil)
	}},
	{"save/parked, released, cancelled", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		d = w.saved(w.moved(d, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Park("paused", at(1)) }))
		w.stands(d, false)
		equal(w, "leased while it is parked", w.lease(leasing{now: at(9)}).Leased, nil)
		d = w.saved(w.moved(d, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Release(at(2)) }))
		w.stands(d, false)
		d = w.saved(w.moved(d, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Cancel("deleted", at(3)) }))
		w.stands(d, false)
	}},
	{"save/many changes get consecutive versions", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "inc_1")
		d = w.saved(w.moved(d, "inc_1", recorded(failure(at(1), 410), at(1))))
		equal(w, "version after failed and dead_lettered", d.Version, int64(3))
		changes, err := w.DeliveryChanges(w.ctx, acme, d.ID)
		w.ok(err, "read the stream")
		equal(w, "the last two changes", changes[1:], []delivery.Change{
			delivery.AttemptFailed{At: at(1), Attempt: delivery.Attempt{Number: 1, Outcome: failure(at(1), 410)}},
			delivery.DeadLettered{At: at(1), Reason: delivery.ReasonGone},
		})
		w.stands(d, false)
	}},
	{"save/an outcome keeps every byte of the exchange", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "inc_1")
		w.saved(w.moved(d, "inc_1", recorded(success(at(1)), at(2))))
		changes, err := w.DeliveryChanges(w.ctx, acme, d.ID)
		w.ok(err, "read the stream")
		equal(w, "the attempt", changes[1], delivery.Change(delivery.AttemptSucceeded{At: at(2), Attempt: delivery.Attempt{Number: 1, Outcome: success(at(1))}}))
	}},
	{"save/a lease that is another's is stale", func(w *world) {
		s := w.subscribe(acme, nil)
		held, free := w.schedule(s, at(0), "inc_1"), w.schedule(s, at(0), "")
		for _, outcome := range []delivery.Outcome{success(at(1)), failure(at(1), 503), failure(at(1), 410)} {
			w.stale(w.moved(held, "inc_2", recorded(outcome, at(1))))
			w.stale(w.moved(held, "", recorded(outcome, at(1))))
			w.stale(w.moved(free, "inc_1", recorded(outcome, at(1))))
		}
		w.stands(held, true)
		w.stands(free, false)
	}},
	{"save/a version that was is stale", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "inc_1")
		first := w.moved(d, "inc_1", recorded(failure(at(1), 503), at(1)))
		d = w.saved(first)
		w.stale(first)
		again := w.lease(leasing{now: at(100)}).Leased
		equal(w, "leased again", idsOf(again), []string{d.ID})
		w.stale(first) // the same holder, an older version
		w.stands(d, true)
		closed := w.moved(d, "inc_1", recorded(success(at(101)), at(101)))
		d = w.saved(closed)
		w.stale(closed)
		retry := w.moved(d, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.RequestRetry(at(102)) })
		d = w.saved(retry)
		w.stale(retry)
		w.stands(d, false)
	}},
	{"save/one that is stale does not stop the others", func(w *world) {
		s := w.subscribe(acme, nil)
		var batch []dispatch.Saved
		for range 5 {
			batch = append(batch, w.moved(w.schedule(s, at(0), "inc_1"), "inc_1", recorded(success(at(1)), at(1))))
		}
		batch[1].Lease, batch[3].Lease = "inc_2", ""
		stale, err := w.Save(w.ctx, batch)
		w.ok(err, "save five")
		equal(w, "stale", stale, []int{1, 3})
		for i, b := range batch {
			if i == 1 || i == 3 {
				w.stands(b.Before, true)
			} else {
				w.stands(b.After, false)
			}
		}
	}},
	{"save/of two of one delivery the stale one hides nothing", func(w *world) {
		s := w.subscribe(acme, nil)
		for _, staleFirst := range []bool{true, false} {
			d := w.schedule(s, at(0), "inc_1")
			late := w.moved(d, "inc_1", recorded(failure(at(1), 503), at(1)))
			w.saved(late)
			again := w.lease(leasing{now: at(100)}).Leased
			equal(w, "leased again", idsOf(again), []string{d.ID})
			batch, want := []dispatch.Saved{late, w.moved(again[0].Delivery, "inc_1", recorded(success(at(101)), at(101)))}, 0
			if !staleFirst {
				slices.Reverse(batch)
				want = 1
			}
			stale, err := w.Save(w.ctx, batch)
			w.ok(err, "save two of one delivery")
			equal(w, "stale", stale, []int{want})
			w.stands(batch[1-want].After, false)
		}
	}},
	{"save/another tenant's delivery with the same ID is not moved", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "inc_1")
		s := w.moved(d, "inc_1", recorded(success(at(1)), at(1)))
		s.Before.Tenant, s.After.Tenant = other, other
		w.stale(s)
		w.stands(d, true)
	}},
	{"save/nothing", func(w *world) {
		stale, err := w.Save(w.ctx, nil)
		w.ok(err, "save nothing")
		equal(w, "stale", len(stale), 0)
	}},
}

// stale saves what must be refused.
func (w *world) stale(s dispatch.Saved) {
	w.Helper()
	stale, err := w.Save(w.ctx, []dispatch.Saved{s})
	w.ok(err, "save what is stale")
	equal(w, "stale", stale, []int{0})
}
