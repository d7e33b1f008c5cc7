package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// BenchmarkRows writes what a delivery writes, with fsync on, in batches of 250: accepted, scheduled as leased, saved as succeeded.
func BenchmarkRows(b *testing.B) {
	server, err := pgtest.Start()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	db := openURL(b, postgres.Config{URL: server.URL})
	if err := db.Migrate(); err != nil {
		b.Fatal(err)
	}
	store := postgres.NewStore(db, tagging{})
	now := time.Now().UTC().Truncate(time.Microsecond)
	if err := store.CreateTenant(b.Context(), access.Tenant{ID: "acme", Weight: 1, CreatedAt: now}); err != nil {
		b.Fatal(err)
	}
	const batch = 250
	body := make([]byte, 1024)
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		plan := fanout.Plan{}
		var events []intake.Accepted
		var saved []dispatch.Saved
		for i := range batch {
			e := event.Sample(event.VisitReportApproved, "acme")
			e.ID = fmt.Sprintf("evt_%026d", n+i)
			events = append(events, intake.Accepted{Event: e, At: now})
			changes := delivery.Schedule(delivery.Scheduled{At: now, ID: fmt.Sprintf("dlv_%026d", n+i), Tenant: "acme", EventID: e.ID, EventType: e.Type, SubscriptionID: "sub_1", SubscriptionVersion: 1, BodyNumber: 1})
			d, err := delivery.Fold(changes)
			if err != nil {
				b.Fatal(err)
			}
			plan.Bodies = append(plan.Bodies, fanout.Body{Tenant: "acme", EventID: e.ID, Number: 1, Bytes: body})
			plan.Scheduled = append(plan.Scheduled, fanout.Scheduled{Delivery: d, Changes: changes, AcceptedAt: now, Lease: "inc_1"})
			done, err := d.Record(delivery.Outcome{Kind: delivery.KindSucceeded, StartedAt: now, Status: 200}, nil, 0, now)
			if err != nil {
				b.Fatal(err)
			}
			moved, err := dispatch.Move(d, done)
			if err != nil {
				b.Fatal(err)
			}
			moved.Lease = "inc_1"
			saved = append(saved, moved)
		}
		if err := store.AppendEvents(b.Context(), events); err != nil {
			b.Fatal(err)
		}
		if err := store.Schedule(b.Context(), plan, func(bool) {}); err != nil {
			b.Fatal(err)
		}
		if stale, err := store.Save(b.Context(), saved); err != nil || len(stale) > 0 {
			b.Fatal(stale, err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(count(b, db, `SELECT pg_database_size(current_database())`))/float64(b.N), "bytes/delivery")
}

// BenchmarkLease leases 64 at a time of 200,000 due in 200 lanes.
func BenchmarkLease(b *testing.B) {
	db := openURL(b, postgres.Config{URL: migrated.Copy(b)})
	store := postgres.NewStore(db, tagging{})
	for _, sql := range []string{
		`INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state) SELECT 'acme', 'sub_' || n, 'active', 1, 1000000, '{}' FROM generate_series(1, 200) n`,
		`INSERT INTO bodies (tenant_id, event_id, number, body) SELECT 'acme', 'evt_' || n, 1, '{}' FROM generate_series(1, 200000) n`,
		`INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, due_at, accepted_at, traceparent) SELECT 'acme', 'dlv_' || n, 'evt_' || n, 't', 'sub_' || n % 200 + 1, 1, 1, '[]', 'pending', 1, 0, 0, 0, n, n, n, n, '' FROM generate_series(1, 200000) n`,
		`ANALYZE`,
	} {
		if err := execute(b.Context(), db, sql); err != nil {
			b.Fatal(err)
		}
	}
	request := dispatch.LeaseRequest{Lease: "inc_1", Now: time.Unix(9, 0)}
	for n := range 64 {
		request.Lanes = append(request.Lanes, dispatch.Asked{Lane: dispatch.Lane{Tenant: "acme", SubscriptionID: fmt.Sprintf("sub_%d", n+1)}, Slots: 1})
	}
	b.ResetTimer()
	for range b.N {
		answer, err := store.LeaseReady(b.Context(), request)
		if err != nil || len(answer.Leased) != 64 {
			b.Fatal(len(answer.Leased), err)
		}
		b.StopTimer()
		if err := store.GiveBack(b.Context(), "inc_1", answer.Leased); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkEvents reads back 400 events, as fan-out does in a burst.
func BenchmarkEvents(b *testing.B) {
	db := openURL(b, postgres.Config{URL: migrated.Copy(b)})
	store := postgres.NewStore(db, tagging{})
	now := time.Now().UTC().Truncate(time.Microsecond)
	if err := store.CreateTenant(b.Context(), access.Tenant{ID: "acme", Weight: 1, CreatedAt: now}); err != nil {
		b.Fatal(err)
	}
	var events []intake.Accepted
	var keys []intake.EventKey
	for i := range 400 {
		e := event.Sample(event.VisitReportApproved, "acme")
		e.ID = fmt.Sprintf("evt_%026d", i)
		a, err := intake.NewAccepted(e, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", now)
		if err != nil {
			b.Fatal(err)
		}
		events, keys = append(events, a), append(keys, a.Key())
	}
	if err := store.AppendEvents(b.Context(), events); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if read, err := store.Events(b.Context(), keys); err != nil || len(read) != len(keys) {
			b.Fatal(len(read), err)
		}
	}
}
