package postgres_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
)

// The room of rows that were leased and of those that were closed is there again without autovacuum.
func TestTheQueueIsVacuumedByThoseWhoUseIt(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t)})
	store := postgres.NewStore(db, tagging{})
	for _, sql := range []string{
		`ALTER TABLE open_deliveries SET (autovacuum_enabled = false)`,
		`INSERT INTO tenants (tenant_id, name, created_at) VALUES ('acme', 'Acme', 0)`,
		`INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state) VALUES ('acme', 'sub_1', 'active', 1, 1000000, '{}')`,
		`INSERT INTO bodies (tenant_id, event_id, number, body) SELECT 'acme', 'evt_' || n, 1, '{}' FROM generate_series(1, 2500) n`,
		`INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, due_at, accepted_at, traceparent) SELECT 'acme', 'dlv_' || n, 'evt_' || n, 't', 'sub_1', 1, 1, '[]', 'pending', 1, 0, 0, 0, n, n, n, n, '' FROM generate_series(1, 2500) n`,
	} {
		if err := execute(t.Context(), db, sql); err != nil {
			t.Fatal(err)
		}
	}
	lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}
	answer, err := store.LeaseReady(t.Context(), dispatch.LeaseRequest{Lease: "inc_1", Now: time.Unix(9, 0), Lanes: []dispatch.Asked{{Lane: lane, Slots: 2500}}})
	if err != nil || len(answer.Leased) != 2500 {
		t.Fatal(len(answer.Leased), err)
	}
	for end := time.Now().Add(patience); count(t, db, `SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'open_deliveries'`) == 0; {
		if time.Now().After(end) {
			t.Fatal("the queue is not vacuumed")
		}
		<-time.After(20 * time.Millisecond)
	}
}
