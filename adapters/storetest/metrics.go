package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var metricsChecks = []Check{
	{"metrics/each attempt is counted once, whoever counts", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		d = w.saved(w.moved(d, "", recorded(failure(at(1), 500), at(1))))
		w.saved(w.moved(d, "", recorded(success(at(90)), at(90))))
		foreign := w.subscribe(other, nil)
		w.saved(w.moved(w.schedule(foreign, at(2), ""), "", recorded(success(at(2)), at(2))))
		p := metrics.NewProjection(w.Store, func() time.Time { return at(100) })
		for range 3 {
			_, err := p.Step(w.ctx)
			w.ok(err, "count")
		}
		cells := w.cells(acme, "", time.Minute)
		equal(w, "kinds", []any{len(cells), cells[0].Outcome, cells[0].Slot, cells[0].Count, cells[1].Outcome, cells[1].Slot, cells[1].Count},
			[]any{2, delivery.KindHTTPStatus, int64(0), int64(1), delivery.KindSucceeded, int64(1), int64(1)})
		equal(w, "of one subscription", w.cells(acme, s.ID, time.Minute), cells)
		equal(w, "of another tenant's subscription", len(w.cells(acme, foreign.ID, time.Minute)), 0)
		equal(w, "of the other tenant", len(w.cells(other, "", time.Minute)), 1)
		equal(w, "in one interval", []int64{w.cells(acme, "", time.Hour)[0].Slot, w.cells(acme, "", time.Hour)[1].Slot}, []int64{0, 0})

		w.saved(w.moved(w.schedule(s, at(3), ""), "", recorded(success(at(91)), at(91))))
		_, err := p.Step(w.ctx)
		w.ok(err, "count what came")
		total := int64(0)
		for _, c := range w.cells(acme, "", time.Hour) {
			total += c.Count
		}
		equal(w, "attempts", total, 3)
	}},
	{"metrics/the log is read oldest first, as much as is asked for", func(w *world) {
		s := w.subscribe(acme, nil)
		for i := range 3 {
			w.saved(w.moved(w.schedule(s, at(0), ""), "", recorded(success(at(float64(i))), at(float64(i)))))
		}
		var began []time.Time
		for last, read := int64(0), 1; read > 0; {
			attempts, next, n, err := w.NextAttempts(w.ctx, last, 1)
			w.ok(err, "read attempts")
			if n > 1 || len(attempts) > n || n > 0 && next <= last {
				w.Fatalf("read %d attempts in %d records, to position %d after %d", len(attempts), n, next, last)
			}
			for _, a := range attempts {
				began = append(began, a.At.UTC())
			}
			last, read = next, n
		}
		equal(w, "attempts", began, []time.Time{at(0), at(1), at(2)})
	}},
	{"metrics/the offset moves from where it is", func(w *world) {
		move := func(from, to int64, want bool) {
			w.Helper()
			moved, err := w.MoveMetricsOffset(w.ctx, 1, from, to)
			w.ok(err, "move the offset")
			equal(w, "moved", moved, want)
		}
		move(0, 5, true)
		move(0, 6, false)
		move(5, 9, true)
		_, offset, err := w.MetricsOffset(w.ctx, metrics.Live)
		w.ok(err, "read the offset")
		equal(w, "the offset", offset, 9)
	}},
	{"metrics/a question goes from its beginning to before its end", func(w *world) {
		first := start.Truncate(time.Minute).Unix() / 60
		counts := map[metrics.Key]int64{}
		for i, minute := range []int64{first - 1, first, first + 59, first + 60} {
			counts[metrics.Key{Tenant: acme, Minute: minute, SubscriptionID: "sub_1", EventType: "target.imported", Outcome: delivery.KindSucceeded}] = int64(i)
		}
		w.ok(w.AddAttempts(w.ctx, 1, counts), "count")
		var got []int64
		for _, c := range w.cells(acme, "", time.Minute) {
			got = append(got, c.Count)
		}
		equal(w, "counts of an hour", got, []int64{1, 2})
	}},
	{"metrics/what is not told apart is summed up", func(w *world) {
		counts, minute := map[metrics.Key]int64{}, start.Truncate(time.Minute).Unix()/60
		for i, subscriptionID := range []string{"sub_1", "sub_2"} {
			for j, t := range []event.Type{event.TargetImported, event.VisitReportApproved} {
				for k, outcome := range []delivery.Kind{delivery.KindSucceeded, delivery.KindTimeout} {
					for bucket := range 2 {
						counts[metrics.Key{Tenant: acme, Minute: minute, SubscriptionID: subscriptionID, EventType: t, Outcome: outcome, Bucket: bucket}] = int64(1<<(4*i+2*j+k)) + int64(1000*bucket)
					}
				}
			}
		}
		w.ok(w.AddAttempts(w.ctx, 1, counts), "count")
		for _, together := range []metrics.Together{{}, {Subscriptions: true}, {Types: true}, {Outcomes: true}, {Subscriptions: true, Types: true}, {Subscriptions: true, Types: true, Outcomes: true}} {
			want := map[metrics.Cell]int64{}
			for k, n := range counts {
				cell := metrics.Cell{SubscriptionID: k.SubscriptionID, EventType: k.EventType, Outcome: k.Outcome, Bucket: k.Bucket}
				if together.Subscriptions {
					cell.SubscriptionID = ""
				}
				if together.Types {
					cell.EventType = ""
				}
				if together.Outcomes {
					cell.Outcome = ""
				}
				want[cell] += n
			}
			since := start.Truncate(time.Minute)
			cells, err := w.AttemptCells(w.ctx, metrics.Query{Tenant: acme, Since: since, Until: since.Add(time.Hour), Interval: time.Minute, Together: together}, 100)
			w.ok(err, "sum up")
			got := map[metrics.Cell]int64{}
			for _, c := range cells {
				n := c.Count
				c.Count = 0
				got[c] += n
			}
			equal(w, fmt.Sprintf("cells with %+v", together), len(cells), len(want))
			equal(w, fmt.Sprintf("counts with %+v", together), got, want)
		}
	}},
	{"metrics/old counts are purged", func(w *world) {
		w.subscribe(acme, nil)
		key := metrics.Key{Tenant: acme, Minute: start.Unix() / 60, SubscriptionID: "sub_1", EventType: "target.imported", Outcome: delivery.KindSucceeded}
		newer := key
		newer.Minute++
		w.ok(w.InTx(w.ctx, func(ctx context.Context) error { return w.AddAttempts(ctx, 1, map[metrics.Key]int64{key: 2, newer: 3}) }), "count")
		w.ok(w.AddAttempts(w.ctx, 1, map[metrics.Key]int64{key: 2}), "count more")
		equal(w, "before", []int64{w.cells(acme, "", time.Minute)[0].Count, w.cells(acme, "", time.Minute)[1].Count}, []int64{4, 3})
		_, err := w.Purge(w.ctx, retention.Cutoffs{Events: at(0), Attempts: at(60), DeadLetters: at(0)}, 100)
		w.ok(err, "purge")
		left := w.cells(acme, "", time.Minute)
		equal(w, "left", []any{len(left), left[0].Count}, []any{1, int64(3)})
	}},
}

// cells is what was counted in the first hour.
func (w *world) cells(owner tenant.ID, subscriptionID string, interval time.Duration) []metrics.Cell {
	w.Helper()
	since := start.Truncate(time.Minute)
	cells, err := w.AttemptCells(w.ctx, metrics.Query{Tenant: owner, SubscriptionID: subscriptionID, Since: since, Until: since.Add(time.Hour), Interval: interval}, 100)
	w.ok(err, "sum up")
	slices.SortFunc(cells, metrics.Cell.Compare)
	return cells
}
