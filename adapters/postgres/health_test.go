package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
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

// TestWhatIsToBeDisabledIsHeld: the first subscription that a step disables takes the lock of all lanes, for which somebody who changes the
// next one would wait with that one already locked.
func TestWhatIsToBeDisabledIsHeld(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	const url = "https://erp.example.com/hook"
	endpoint, err := records.Endpoint(url)
	pgtest.Check(t, err)
	now := time.Now()
	recently, days := now.Add(-time.Hour), now.Add(-subscription.FailingTooLong)
	for _, c := range []struct {
		name  string
		since time.Time
		ended dispatch.Ended
		held  bool
	}{
		{"gone", recently, dispatch.Ended{URL: url, Failures: 1, Gone: true}, true},
		{"gone to one and not to another", time.Time{}, dispatch.Ended{URL: url, Succeeded: true, Gone: true}, true},
		{"gone from another URL", recently, dispatch.Ended{URL: url + "/other", Failures: 1, Gone: true}, true},
		{"failing for five days", days, dispatch.Ended{URL: url, Failures: 1}, true},
		{"failing for an hour", recently, dispatch.Ended{URL: url, Failures: 1}, false},
		{"well", time.Time{}, dispatch.Ended{URL: url, Succeeded: true}, false},
	} {
		lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_" + c.name}
		runs(t, db)(`INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state, failing_since, failures)
			VALUES ($1, $2, 'active', 1, 1, $3, $4, $5)`, lane.Tenant, lane.SubscriptionID, endpoint, stamp(c.since), subscription.FailuresUntilFailing)
		s := NewStore(db, nil)
		pgtest.Check(t, s.InTx(t.Context(), func(ctx context.Context) error {
			if _, err := s.NoteHealth(ctx, map[dispatch.Lane]dispatch.Ended{lane: c.ended}, now); err != nil {
				return err
			}
			other, err := db.Begin(t.Context())
			if err != nil {
				return err
			}
			defer func() { _ = other.Rollback() }()
			_, err = other.Exec(t.Context(), `SELECT 1 FROM subscriptions WHERE subscription_id = $1 FOR NO KEY UPDATE NOWAIT`, lane.SubscriptionID)
			if held := code(err) == codeLockNotAvailable; held != c.held {
				t.Errorf("%s: held: %t (%v), want %t", c.name, held, err, c.held)
			}
			return nil
		}))
	}
}
