package sqlite_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// BenchmarkRows does with the file what a delivery does, in batches of 250: accepted, scheduled, leased from the queue
// unless it was as it was scheduled, saved as succeeded. It tells CPU time, which other load disturbs least.
func BenchmarkRows(b *testing.B) {
	for _, c := range []struct {
		name           string
		tenants, lanes int
		queued         bool
	}{
		{"one tenant, handed over", 1, 1, false},
		{"one tenant, queued", 1, 1, true},
		{"200 tenants × 5, handed over", 200, 5, false},
		{"200 tenants × 5, queued", 200, 5, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := &rows{B: b, now: time.Now().UTC().Truncate(time.Microsecond)}
			w.prepare(c.tenants, c.lanes)
			before := cpu(b)
			for b.ResetTimer(); w.n < b.N; {
				w.batch(c.queued)
			}
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(w.n), "CPU-µs/delivery")
		})
	}
}

const batchOfRows = 250

// rows is a store that the benchmark works on.
type rows struct {
	*testing.B
	store *sqlite.Store
	lanes []dispatch.Lane
	now   time.Time
	n     int // deliveries so far
}

func (w *rows) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// prepare makes lanes, of one tenant after the other.
func (w *rows) prepare(tenants, each int) {
	db, err := sqlite.Open(w.Context(), w.TempDir()+"/rows.db")
	w.must(err)
	w.Cleanup(func() { _ = db.Close() })
	w.must(db.Migrate())
	w.store = sqlite.NewStore(db, tagging{})
	for i := range each {
		for t := range tenants {
			lane := dispatch.Lane{Tenant: tenant.ID(fmt.Sprintf("tenant-%03d", t)), SubscriptionID: fmt.Sprintf("sub_%026d", t*each+i)}
			if i == 0 {
				w.must(w.store.CreateTenant(w.Context(), access.Tenant{ID: lane.Tenant, Weight: 1, CreatedAt: w.now}))
			}
			sub := subscription.Subscription{ID: lane.SubscriptionID, Tenant: lane.Tenant, Status: subscription.StatusActive, Version: 1,
				Settings: subscription.Settings{URL: "https://example.com/" + lane.SubscriptionID, MaxInFlight: batchOfRows}}
			w.must(w.store.AppendSubscription(w.Context(), subscription.Subscription{}, sub, nil, subscriptions.Actor{}))
			w.lanes = append(w.lanes, lane)
		}
	}
}

// batch takes so many events all the way, each to a lane of its own if there are as many; those of a tenant come one after the other.
func (w *rows) batch(queued bool) {
	lease := ""
	if !queued {
		lease = "inc_1"
	}
	var events []intake.Accepted
	var plan fanout.Plan
	asked := map[dispatch.Lane]int{}
	var leased []dispatch.Leased
	for range batchOfRows {
		lane := w.lanes[w.n%len(w.lanes)]
		asked[lane]++
		w.n++
		e := event.Sample(event.VisitReportApproved, lane.Tenant)
		e.ID = fmt.Sprintf("evt_%026d", w.n)
		events = append(events, intake.Accepted{Event: e, At: w.now})
		changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: fmt.Sprintf("dlv_%026d", w.n), Tenant: lane.Tenant, EventID: e.ID,
			EventType: e.Type, SubscriptionID: lane.SubscriptionID, SubscriptionVersion: 1, BodyNumber: 1})
		d, err := delivery.Fold(changes)
		w.must(err)
		plan.Bodies = append(plan.Bodies, fanout.Body{Tenant: lane.Tenant, EventID: e.ID, Number: 1, Bytes: bodyOfRows})
		plan.Scheduled = append(plan.Scheduled, fanout.Scheduled{Delivery: d, Changes: changes, AcceptedAt: w.now, Lease: lease})
		leased = append(leased, dispatch.Leased{Delivery: d})
	}
	w.must(w.store.AppendEvents(w.Context(), events))
	w.must(w.store.Schedule(w.Context(), plan, func(bool) {}))
	if queued {
		leased = w.lease(asked)
	}
	w.save(leased)
}

var bodyOfRows = []byte(strings.Repeat(`{"id":"evt_0001","type":"visit_report.approved","data":{"number":17}}`, 10))

func (w *rows) lease(asked map[dispatch.Lane]int) []dispatch.Leased {
	request := dispatch.LeaseRequest{Lease: "inc_1", Now: w.now}
	for lane, n := range asked {
		request.Lanes = append(request.Lanes, dispatch.Asked{Lane: lane, Slots: n})
	}
	answer, err := w.store.LeaseReady(w.Context(), request)
	w.must(err)
	if len(answer.Leased) != batchOfRows {
		w.Fatalf("leased %d of %d", len(answer.Leased), batchOfRows)
	}
	return answer.Leased
}

func (w *rows) save(leased []dispatch.Leased) {
	var saved []dispatch.Saved
	for _, l := range leased {
		changes, err := l.Delivery.Record(delivery.Outcome{Kind: delivery.KindSucceeded, StartedAt: w.now, Status: 200}, nil, 0, w.now)
		w.must(err)
		moved, err := dispatch.Move(l.Delivery, changes)
		w.must(err)
		moved.Lease = "inc_1"
		saved = append(saved, moved)
	}
	stale, err := w.store.Save(w.Context(), saved)
	w.must(err)
	if len(stale) > 0 {
		w.Fatalf("%d were not saved", len(stale))
	}
}

// cpu is what the process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
