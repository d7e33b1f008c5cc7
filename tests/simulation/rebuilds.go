package simulation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// rebuilds asks now and then that the counts of attempts are built anew, also while that is under way.
func (w *world) rebuilds(a *activity) {
	for range w.office.IntN(4) {
		a.sleep(w.now.Add(time.Duration(w.office.Int64N(int64(40*time.Second)))), nil)
		if p := w.processes[w.office.IntN(len(w.processes))]; !p.dead && !p.stopping {
			w.begin(p, p.name+"/rebuild", p.rebuild)
		}
	}
}

// rebuild steps on as ports/cli does, and is slow, so that much may happen in between.
func (p *process) rebuild(a *activity) {
	w, r := p.world, metrics.NewRebuild(p.store, p.now, 30*24*time.Hour)
	for !r.Progress().Done && !p.stopping {
		err := r.Step(context.Background())
		if errors.Is(err, metrics.ErrSuperseded) {
			w.trace.line("%s: rebuild: %v", p.name, err)
			return
		}
		a.sleep(w.now.Add(time.Duration(w.office.Int64N(int64(2*time.Second)))), nil)
	}
	if r.Progress().Done {
		w.counts.Rebuilt++
		w.trace.line("%s has rebuilt the counts: %+v", p.name, r.Progress())
	}
}

// countedWithin bounds how long an attempt waits to be counted once nothing fails: one that stands by looks again after 15 s.
const countedWithin = time.Minute

// checkCounted holds the projection of the processes to its pace, before the check of the counts does what is left of its work.
func (w *world) checkCounted(ctx context.Context) {
	_, offset, err := w.store.MetricsOffset(ctx, metrics.Live)
	must(err)
	waiting, _, _, err := w.store.NextAttempts(ctx, offset, math.MaxInt)
	must(err)
	for _, a := range waiting {
		if late := w.now.Sub(later(a.At.Add(a.Duration), w.calm)); late > countedWithin {
			w.violate("I8", "an attempt of %s is not counted after %s", a.SubscriptionID, late)
			return
		}
	}
}

// checkCounts is I8 for the counts of attempts: what readers see, once it is counted to the end, is the fold of the log.
func (w *world) checkCounts() {
	ctx := context.Background()
	w.checkCounted(ctx)
	_, err := metrics.NewProjection(w.store, func() time.Time { return w.now }).Step(ctx)
	must(err)
	since := epoch.Add(-2 * time.Hour) // by whatever clock
	logged, shown := map[metrics.Key]int64{}, map[metrics.Key]int64{}
	for _, row := range w.store.Rows() {
		w.countAttempts(row, logged)
	}
	for _, owner := range tenants {
		cells, err := w.store.AttemptCells(ctx, metrics.Query{Tenant: owner, Since: since, Until: w.now.Add(2 * time.Hour), Interval: metrics.Grain}, metrics.MaxCells)
		must(err)
		for _, c := range cells {
			shown[metrics.Key{Tenant: owner, Minute: since.Unix()/60 + c.Slot, SubscriptionID: c.SubscriptionID, EventType: c.EventType, Outcome: c.Outcome, Bucket: c.Bucket}] += c.Count
		}
	}
	if !w.counted(logged, shown) {
		w.violate("I8", "the counts of attempts are not the fold of the log: %s", apart(logged, shown))
	}
}

// countAttempts adds those that the log knows of the delivery.
func (w *world) countAttempts(row memory.Row, to map[metrics.Key]int64) {
	for _, placed := range w.store.DeliveryStream(row.Tenant, row.ID) {
		if end, ok := delivery.EndOf(placed.Change); ok {
			to[metrics.Key{Tenant: row.Tenant, Minute: end.At.Unix() / 60, SubscriptionID: row.SubscriptionID, EventType: row.EventType,
				Outcome: end.Kind, Bucket: metrics.BucketOf(end.Duration)}]++
		}
	}
}

// counted compares. What was deleted may have been counted, as far as the counts of its minute are kept.
func (w *world) counted(logged, shown map[metrics.Key]int64) bool {
	if !w.purges {
		return maps.Equal(logged, shown)
	}
	purged := map[metrics.Key]int64{}
	for _, attempts := range w.journal.purged.deliveries {
		for k, n := range attempts {
			purged[k] += n
		}
	}
	for k, n := range shown {
		if n > logged[k]+purged[k] {
			return false
		}
	}
	for k, n := range logged {
		if k.Minute >= w.journal.purged.before.Unix()/60 && n > shown[k] {
			return false
		}
	}
	return true
}

// apart says how much the two hold, and how many keys differ.
func apart(logged, shown map[metrics.Key]int64) string {
	total := func(counts map[metrics.Key]int64) (n int64) {
		for _, c := range counts {
			n += c
		}
		return n
	}
	differ := 0
	for k, n := range logged {
		if shown[k] != n {
			differ++
		}
	}
	return fmt.Sprintf("%d attempts in it, %d shown, %d of %d counts differ", total(logged), total(shown), differ, len(logged))
}

// Of the counts of attempts.

func (s *session) MetricsOffset(ctx context.Context, of metrics.Generation) (g metrics.Generation, offset int64, err error) {
	if err = s.enter(ctx, "MetricsOffset"); err != nil {
		return g, 0, err
	}
	return s.Store.MetricsOffset(ctx, of)
}

func (s *session) NextAttempts(ctx context.Context, after int64, limit int) (attempts []metrics.Attempt, last int64, n int, err error) {
	if err = s.enter(ctx, "NextAttempts"); err != nil {
		return nil, 0, 0, err
	}
	return s.Store.NextAttempts(ctx, after, limit)
}

func (s *session) MoveMetricsOffset(ctx context.Context, of metrics.Generation, from, to int64) (bool, error) {
	return write(ctx, s, "MoveMetricsOffset", func(ctx context.Context) (bool, error) { return s.Store.MoveMetricsOffset(ctx, of, from, to) })
}

func (s *session) AddAttempts(ctx context.Context, to metrics.Generation, counts map[metrics.Key]int64) error {
	return do(ctx, s, "AddAttempts", func(ctx context.Context) error { return s.Store.AddAttempts(ctx, to, counts) })
}

func (s *session) BeginGeneration(ctx context.Context) (metrics.Generation, error) {
	return write(ctx, s, "BeginGeneration", s.Store.BeginGeneration)
}

func (s *session) GoLive(ctx context.Context, g metrics.Generation) (bool, error) {
	return write(ctx, s, "GoLive", func(ctx context.Context) (bool, error) { return s.Store.GoLive(ctx, g) })
}

func (s *session) DeliveryHead(ctx context.Context) (int64, error) {
	return read(ctx, s, "DeliveryHead", s.Store.DeliveryHead)
}
