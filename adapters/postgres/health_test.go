package postgres

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestHealthIsNotedInTheOrderOfLanes: who waits for a lane holds none that comes behind it, whichever of them failed. Otherwise two processes
// of which each saw succeed what the other saw fail wait for each other until the server gives one of them up.
func TestHealthIsNotedInTheOrderOfLanes(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	const url = "https://erp.example.com/hook"
	endpoint, err := records.Endpoint(url)
	pgtest.Check(t, err)
	first, second := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_2"}
	for _, lane := range []dispatch.Lane{first, second} {
		runs(t, db)(`INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state, failing_since) VALUES ($1, $2, 'active', 1, 1, $3, 1)`,
			lane.Tenant, lane.SubscriptionID, endpoint)
	}
	const hold = `SELECT 1 FROM subscriptions WHERE subscription_id = $1 FOR NO KEY UPDATE NOWAIT`
	other, err := db.Begin(t.Context())
	pgtest.Check(t, err)
	defer func() { _ = other.Rollback() }()
	_, err = other.Exec(t.Context(), hold, first.SubscriptionID)
	pgtest.Check(t, err)
	noted := make(chan error, 1)
	go func() {
		_, err := NewStore(db, nil).NoteHealth(t.Context(), map[dispatch.Lane]dispatch.Ended{first: {URL: url, Failures: 1}, second: {URL: url, Succeeded: true}}, time.Now())
		noted <- err
	}()
	const waiting = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	for end := time.Now().Add(time.Minute); countOf(t, db, waiting) == 0; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the first lane is not waited for")
		}
	}
	if _, err := other.Exec(t.Context(), hold, second.SubscriptionID); err != nil {
		t.Errorf("the second lane is held by who waits for the first: %v", err)
	}
	pgtest.Check(t, other.Rollback())
	pgtest.Check(t, <-noted)
	if left := countOf(t, db, `SELECT count(*) FROM subscriptions WHERE failing_since IS NOT NULL`); left != 1 {
		t.Errorf("%d subscriptions are failing, want 1", left)
	}
}
