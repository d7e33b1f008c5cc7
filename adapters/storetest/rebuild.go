package storetest

import (
	"math/rand/v2"
	"time"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var rebuildChecks = []Check{
	{"rebuild/what was counted wrong is right, and until then nobody sees a difference", func(w *world) {
		s := w.subscribe(acme, nil)
		w.attempt(s, success(at(1)), at(1))
		p := w.projection()
		w.counts(p)
		wrong := metrics.Key{Tenant: acme, Minute: at(1).Unix() / 60, SubscriptionID: s.ID, EventType: "target.imported", Outcome: delivery.KindTimeout}
		w.ok(w.AddAttempts(w.ctx, 1, map[metrics.Key]int64{wrong: 7}), "count what was not")
		r := w.rebuild()
		for steps := 0; !r.Progress().Done; steps++ {
			equal(w, "attempts before the end", w.attempts(), 8)
			w.ok(r.Step(w.ctx), "rebuild")
			if steps > 10 {
				w.Fatalf("%d steps did not do", steps)
			}
		}
		equal(w, "attempts after the end", w.attempts(), 1)
		equal(w, "progress", r.Progress(), metrics.Progress{Records: 2, Attempts: 1, Share: 1, Done: true})
		w.attempt(s, failure(at(2), 500), at(2))
		w.counts(p)
		equal(w, "attempts with one that came later", w.attempts(), 2)
	}},
	{"rebuild/one that is behind the live one is not live", func(w *world) {
		s := w.subscribe(acme, nil)
		w.attempt(s, success(at(1)), at(1))
		g, err := w.BeginGeneration(w.ctx)
		w.ok(err, "begin")
		w.counts(w.projection())
		live := func(want bool) {
			w.Helper()
			is, err := w.GoLive(w.ctx, g)
			w.ok(err, "go live")
			equal(w, "live", is, want)
		}
		live(false)
		_, offset, err := w.MetricsOffset(w.ctx, metrics.Live)
		w.ok(err, "read the offset")
		_, err = w.MoveMetricsOffset(w.ctx, g, 0, offset)
		w.ok(err, "move the offset")
		live(true)
		live(true)
		now, _, err := w.MetricsOffset(w.ctx, metrics.Live)
		w.ok(err, "read the offset")
		equal(w, "the live one", now, g)
	}},
	{"rebuild/one that another has overtaken ends, and leaves nothing", func(w *world) {
		s := w.subscribe(acme, nil)
		w.attempt(s, success(at(1)), at(1))
		w.counts(w.projection())
		first, second := w.rebuild(), w.rebuild()
		for first.Progress().Attempts == 0 {
			w.ok(first.Step(w.ctx), "rebuild")
		}
		w.ok(second.Step(w.ctx), "rebuild anew")
		var err error
		for steps := 0; err == nil && !first.Progress().Done && steps < 20; steps++ {
			err = first.Step(w.ctx)
		}
		w.refused(err, metrics.ErrSuperseded.Code, "go on with the first")
		_, err = w.GoLive(w.ctx, 2)
		w.refused(err, metrics.ErrSuperseded.Code, "make the first live")
		moved, err := w.MoveMetricsOffset(w.ctx, 2, 0, 9)
		w.ok(err, "move the first one's offset")
		equal(w, "moved", moved, false)
		w.finish(second)
		equal(w, "attempts", w.attempts(), 1)
		deleted, err := w.Purge(w.ctx, retention.Cutoffs{Attempts: at(-3600)}, 100)
		w.ok(err, "purge")
		equal(w, "counts that are left over", deleted, 2) // of the first live one, and of the first rebuild
		equal(w, "attempts after the purge", w.attempts(), 1)
	}},
	{"rebuild/what retention deletes is not counted again", func(w *world) {
		s := w.subscribe(acme, nil)
		w.attempt(s, success(at(-7200)), at(-7200))
		d := w.saved(w.moved(w.schedule(s, at(0), ""), "", recorded(success(at(1)), at(1))))
		w.counts(w.projection())
		w.attempt(s, success(at(3)), at(3))
		r := metrics.NewRebuild(w.Store, func() time.Time { return at(100) }, time.Hour)
		w.finish(r)
		equal(w, "counted anew", r.Progress().Attempts, 2)
		w.ok(w.AddAttempts(w.ctx, 2, map[metrics.Key]int64{{Tenant: acme, Minute: 5, SubscriptionID: s.ID}: 1}), "count something old")
		if deleted := w.purge(d.UpdatedAt.Add(8 * 24 * time.Hour)); deleted < 4 { // deliveries or their week, the old count, and those of the first generation
			w.Errorf("purged %d", deleted)
		}
		gone, err := w.Deliveries(w.ctx, queries.DeliveryFilter{Tenant: acme, Limit: 10})
		w.ok(err, "list deliveries")
		equal(w, "deliveries that are left", len(gone), 0)
		_, before, err := w.MetricsOffset(w.ctx, metrics.Live)
		w.ok(err, "read the offset")
		w.finish(w.rebuild()) // the end of the log is gone, or all of it
		_, after, err := w.MetricsOffset(w.ctx, metrics.Live)
		w.ok(err, "read the offset")
		equal(w, "the offset", after, before)
	}},
	{"rebuild/the counts are the fold of the log, whatever is broken off, and never go back", func(w *world) {
		for seed := range uint64(3) {
			random := rand.New(rand.NewPCG(seed, 1))
			w.walk(w.subscribe(acme, nil), random)
		}
	}},
}

// purge deletes all attempts from before the time, a little at a time.
func (w *world) purge(before time.Time) (deleted int) {
	for range 100 {
		n, err := w.Purge(w.ctx, retention.Cutoffs{Now: before, Attempts: before}, 100)
		w.ok(err, "purge")
		if deleted += n; n == 0 {
			return deleted
		}
	}
	w.Fatal("there is always something to purge")
	return 0
}

// walk makes attempts while they are counted and recounted, in random order.
func (w *world) walk(s subscription.Subscription, random *rand.Rand) {
	made, shown := w.attempts(), w.attempts()
	p, r := w.projection(), w.rebuild()
	for range 60 {
		switch random.IntN(12) {
		case 0:
			r = w.rebuild() // what it had is broken off
		case 1, 2:
			w.counts(p)
		case 3, 4:
			w.attempt(s, success(at(1)), at(1))
			made++
		case 5:
			w.attempt(s, failure(at(2), 503), at(2))
			made++
		case 6:
			_, err := w.Purge(w.ctx, retention.Cutoffs{Attempts: at(-3600)}, 100)
			w.ok(err, "purge")
		default:
			w.ok(r.Step(w.ctx), "rebuild")
		}
		now := w.attempts()
		if now < shown || now > made {
			w.Fatalf("%d of %d attempts are shown, after %d", now, made, shown)
		}
		shown = now
	}
	w.finish(r)
	w.counts(p)
	equal(w, "attempts in the end", w.attempts(), made)
}

// attempt makes a delivery with one attempt.
func (w *world) attempt(s subscription.Subscription, o delivery.Outcome, now time.Time) {
	w.Helper()
	w.saved(w.moved(w.schedule(s, now, ""), "", recorded(o, now)))
}

// attempts is how many are counted in the first hour.
func (w *world) attempts() (n int64) {
	w.Helper()
	for _, c := range w.cells(acme, "", time.Hour) {
		n += c.Count
	}
	return n
}

func (w *world) projection() *metrics.Projection {
	return metrics.NewProjection(w.Store, func() time.Time { return at(100) })
}

func (w *world) rebuild() *metrics.Rebuild {
	return metrics.NewRebuild(w.Store, func() time.Time { return at(100) }, 1000*time.Hour)
}

func (w *world) counts(p *metrics.Projection) {
	w.Helper()
	_, err := p.Step(w.ctx)
	w.ok(err, "count")
}

func (w *world) finish(r *metrics.Rebuild) {
	w.Helper()
	for range 100 {
		if r.Progress().Done {
			return
		}
		w.ok(r.Step(w.ctx), "rebuild")
	}
	w.Fatalf("100 steps did not do: %+v", r.Progress())
}
