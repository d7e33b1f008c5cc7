package simulation

import (
	"context"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// gotten is an event that a subscription has a delivery of.
type gotten struct {
	event intake.EventKey
	lane  dispatch.Lane
}

func gottenBy(row memory.Row) gotten { return gotten{eventOf(row), laneOfRow(row)} }

// madeOf counts the deliveries of each event to each subscription: those that were missing, and those of fan-out.
func (w *world) madeOf(rows []memory.Row) (missing, byFanOut map[gotten]int) {
	missing, byFanOut = map[gotten]int{}, map[gotten]int{}
	for _, row := range rows {
		switch made, replayed := w.journal.rendered[row.ID]; {
		case !replayed:
			byFanOut[gottenBy(row)]++
		case made.missing:
			missing[gottenBy(row)]++
		}
	}
	return missing, byFanOut
}

// checkMissing is J4: what was missing is there once, and fan-out makes no other; and nothing is missing any more behind a job that had to
// leave nothing alone.
func (w *world) checkMissing() {
	rows := w.store.Rows()
	missing, byFanOut := w.madeOf(rows)
	got := map[gotten]bool{}
	for _, row := range rows {
		g := gottenBy(row)
		if got[g] = true; missing[g] > 1 || missing[g] > 0 && byFanOut[g] > 0 {
			w.violate("J4", "%s has %d deliveries to %s that were missing, and %d of fan-out", row.EventID, missing[g], row.SubscriptionID, byFanOut[g])
		}
	}
	for _, j := range w.store.AllJobs() {
		if j.Mode == job.Missing {
			w.counts.Missing += j.Done
			w.checkNothingMissing(j, got)
		}
	}
}

// checkNothingMissing counts what a job has left out of the events that fan-out was done with when it was asked for.
func (w *world) checkNothingMissing(j job.Job, got map[gotten]bool) {
	lane := dispatch.Lane{Tenant: j.Tenant, SubscriptionID: j.Filter.SubscriptionID}
	sub, err := w.store.LoadSubscription(context.Background(), lane)
	must(err)
	if w.clocks || w.purges || j.Status != job.Succeeded || w.filteredSince(j, lane) {
		return
	}
	left := job.Sum(j.Skipped) + job.Sum(j.Failed)
	for _, e := range w.store.Accepted() {
		at, err := w.store.Event(context.Background(), e.TenantID, e.ID)
		must(err)
		concerned := e.TenantID == j.Tenant && at.Sequence <= j.LastEvent && j.Filter.Accepts(e.Type, e.At) && sub.EventTypes.Matches(e.Type)
		if !concerned || got[gotten{e.Key(), lane}] {
			continue
		}
		if left--; left < 0 {
			w.violate("J4", "%s left out %s: %+v", j.ID, e.ID, j)
		}
	}
}

// filteredSince reports whether the subscription's filter was another when the job was asked for.
func (w *world) filteredSince(j job.Job, lane dispatch.Lane) bool {
	for _, placed := range w.store.SubscriptionStream(lane) {
		if c, is := placed.Change.(subscription.FilterChanged); is && !c.At.Before(j.CreatedAt) {
			return true
		}
	}
	return false
}

func (s *session) FannedOut(ctx context.Context, e queries.Event) (bool, error) {
	return read(ctx, s, "FannedOut", func(ctx context.Context) (bool, error) { return s.Store.FannedOut(ctx, e) })
}

func (s *session) WalkEvents(ctx context.Context, walk jobs.EventWalk) ([]queries.Event, error) {
	return read(ctx, s, "WalkEvents", func(ctx context.Context) ([]queries.Event, error) { return s.Store.WalkEvents(ctx, walk) })
}
