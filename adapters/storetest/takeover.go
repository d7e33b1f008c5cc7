package storetest

import (
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var takeoverChecks = []Check{
	{"takeover/orphans are what dead holders held", func(w *world) {
		s := w.subscribe(acme, nil)
		for incarnation, beat := range map[string]float64{"inc_dead": 0, "inc_live": 10} {
			w.ok(w.Heartbeat(w.ctx, incarnation, at(beat)), "heartbeat")
		}
		dead, unknown := w.schedule(s, at(1), "inc_dead"), w.schedule(s, at(2), "inc_unknown")
		live, free := w.schedule(s, at(3), "inc_live"), w.schedule(s, at(1000), "")
		w.orphans(at(0), unknown)
		w.orphans(at(5), dead, unknown)
		w.ok(w.Heartbeat(w.ctx, "inc_dead", at(6)), "heartbeat again")
		w.orphans(at(5), unknown)
		w.orphans(at(6), unknown)
		w.orphans(at(6.000001), dead, unknown)
		w.orphans(at(11), dead, unknown, live)
		w.ok(w.Heartbeat(w.ctx, "inc_dead", at(3600)), "heartbeat of a clock that is set back then")
		w.orphans(at(5), unknown)
		w.orphansBetween(at(5), at(3600), unknown)
		w.orphansBetween(at(5), at(3599.999999), dead, unknown)
		w.stands(free, false)
	}},
	{"takeover/an orphan carries what it takes to abandon it", func(w *world) {
		s := w.subscribe(acme, func(s *subscription.Settings) { s.RetrySchedule = []time.Duration{time.Minute} })
		d := w.schedule(s, at(0), "")
		w.lease(leasing{now: at(3)})
		orphans, err := w.Orphans(w.ctx, at(100), time.Time{}, 10)
		w.ok(err, "look for orphans")
		equal(w, "orphans", orphans, []dispatch.Orphan{{Delivery: d, Schedule: s.RetrySchedule, Lease: "inc_1", LeasedAt: at(3)}})
		o := orphans[0]
		abandoned := w.moved(o.Delivery, o.Lease, func(d delivery.Delivery) ([]delivery.Change, error) {
			return d.Abandon(o.Schedule, o.LeasedAt, at(100))
		})
		d = w.saved(abandoned)
		w.stands(d, false)
		w.stale(w.moved(o.Delivery, "inc_1", recorded(success(at(101)), at(101)))) // the dead holder was only slow
		equal(w, "leased by another", idsOf(w.lease(leasing{now: at(100), by: "inc_2"}).Leased), []string{d.ID})
	}},
	{"takeover/the limit", func(w *world) {
		s := w.subscribe(acme, nil)
		for range 4 {
			w.schedule(s, at(0), "inc_dead")
		}
		orphans, err := w.Orphans(w.ctx, at(100), time.Time{}, 3)
		w.ok(err, "look for orphans")
		equal(w, "orphans", len(orphans), 3)
	}},
}

// orphans checks which deliveries are orphans when heartbeats before the time do not count.
func (w *world) orphans(from time.Time, want ...delivery.Delivery) {
	w.Helper()
	w.orphansBetween(from, time.Time{}, want...)
}

func (w *world) orphansBetween(from, to time.Time, want ...delivery.Delivery) {
	w.Helper()
	found, err := w.Orphans(w.ctx, from, to, 100)
	w.ok(err, "look for orphans")
	var got []string
	for _, o := range found {
		got = append(got, o.Delivery.ID)
	}
	slices.Sort(got)
	equal(w, "orphans", got, idsOfDeliveries(want))
}
