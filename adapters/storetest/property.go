package storetest

import (
	"context"
	"slices"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

var propertyChecks = []Check{
	{"property/the stored state is the fold of the stream after any commands", func(w *world) {
		s := w.subscribe(acme, nil)
		rapid.Check(w.T, func(rt *rapid.T) {
			// One transaction for a whole run is quick, and shows that all reads join it.
			err := w.InTx(w.ctx, func(ctx context.Context) error {
				r := &run{world: w.with(ctx, rt), deliveries: map[string]delivery.Delivery{}, held: map[string]string{}}
				for range rapid.IntRange(1, 3).Draw(rt, "deliveries") {
					d := r.schedule(s, at(0), "")
					r.deliveries[d.ID] = d
				}
				for range rapid.IntRange(1, 25).Draw(rt, "steps") {
					r.step(rt)
				}
				return nil
			})
			if err != nil {
				rt.Fatalf("the run's transaction: %v", err)
			}
		})
	}},
}

// run is a model of some deliveries: the state that each must have, and who holds it.
type run struct {
	*world
	deliveries map[string]delivery.Delivery
	held       map[string]string
	seconds    float64
}

func (r *run) step(rt *rapid.T) {
	r.seconds += float64(rapid.IntRange(0, 90).Draw(rt, "seconds"))
	ids := make([]string, 0, len(r.deliveries))
	for id := range r.deliveries {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(rt, "delivery")
	d := r.deliveries[id]
	now := at(r.seconds)
	commands := map[string]func(delivery.Delivery) ([]delivery.Change, error){
		"success": recorded(success(now), now),
		"failure": recorded(failure(now, 503), now),
		"gone":    recorded(failure(now, 410), now),
		"abandon": func(d delivery.Delivery) ([]delivery.Change, error) {
			return d.Abandon(settings().RetrySchedule, now, now)
		},
		"park":    func(d delivery.Delivery) ([]delivery.Change, error) { return d.Park("paused", now) },
		"release": func(d delivery.Delivery) ([]delivery.Change, error) { return d.Release(now) },
		"retry":   func(d delivery.Delivery) ([]delivery.Change, error) { return d.RequestRetry(now) },
		"cancel":  func(d delivery.Delivery) ([]delivery.Change, error) { return d.Cancel("deleted", now) },
	}
	switch name := rapid.SampledFrom([]string{"lease", "success", "failure", "gone", "abandon", "park", "release", "retry", "cancel"}).Draw(rt, "command"); name {
	case "lease":
		r.leaseOne(rapid.SampledFrom([]string{"inc_1", "inc_2"}).Draw(rt, "lessee"))
	default:
		r.command(d, commands[name], rapid.SampledFrom([]string{"", "inc_1", "inc_2"}).Draw(rt, "lease"))
	}
	r.stands(r.deliveries[id], r.held[id] != "")
}

func (r *run) leaseOne(lessee string) {
	for _, l := range r.lease(leasing{by: lessee, now: at(r.seconds), slots: 1}).Leased {
		d, mine := r.deliveries[l.Delivery.ID]
		if !mine {
			continue // an earlier run's
		}
		equal(r.world, "what was leased", l.Delivery, d)
		if r.held[d.ID] != "" || !d.Status.IsClaimable() || d.DueAt.After(at(r.seconds)) {
			r.Fatalf("leased %+v, which %q holds", d, r.held[d.ID])
		}
		r.held[d.ID] = lessee
	}
}

// command saves what the command decides, if it may follow; it must be stale unless the lease is the holder's.
func (r *run) command(d delivery.Delivery, decide func(delivery.Delivery) ([]delivery.Change, error), lease string) {
	if _, err := decide(d); err != nil {
		return
	}
	if d.Status.IsTerminal() {
		lease = ""
	}
	s := r.moved(d, lease, decide)
	stale, err := r.Save(r.ctx, []dispatch.Saved{s})
	r.ok(err, "save")
	if wantStale := lease != r.held[d.ID]; wantStale != (len(stale) == 1) {
		r.Fatalf("stale is %v though %q holds the delivery and %q saved it", stale, r.held[d.ID], lease)
	} else if !wantStale {
		r.deliveries[d.ID] = s.After
		delete(r.held, d.ID)
	}
}
