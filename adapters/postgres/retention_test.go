package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// oneWaits is when somebody waits for a lock in the database.
func (w *weeks) oneWaits() {
	w.Helper()
	eventually(w.T, func() bool {
		return count(w, w.direct, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	})
}

// oldDeadLetter is a dead letter that retention's next step deletes. Its event and its records are in week 0.
func (w *weeks) oldDeadLetter() delivery.Delivery {
	w.Helper()
	w.purge()
	dead := w.deliver(gone)
	started := w.now
	w.now = started.Add(90*day - time.Hour)
	w.purge()
	w.now = started.Add(90*day + time.Hour)
	return dead
}

// purging is a step of retention that has come to wait for a lock. What it gives tells when that step has ended.
func (w *weeks) purging() <-chan error {
	w.Helper()
	purged := make(chan error, 1)
	go func() { _, err := w.retention.Step(context.WithoutCancel(w.Context())); purged <- err }()
	w.oneWaits()
	return purged
}

// TestARetryKeepsWhatIsBeingDeleted retries a dead letter that is old. Retention finds it before the retry commits, and then waits for that.
func TestARetryKeepsWhatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	dead := w.oldDeadLetter()
	changes, err := dead.RequestRetry(w.now)
	w.ok(err)
	moved, err := dispatch.Move(dead, changes)
	w.ok(err)
	tx, err := w.db.Begin(t.Context())
	w.ok(err)
	defer func() { _ = tx.Rollback() }()
	stale, err := w.Save(postgres.WithTx(t.Context(), tx), []dispatch.Saved{moved})
	if w.ok(err); len(stale) > 0 {
		t.Fatal("stale")
	}
	purged := w.purging()
	w.ok(tx.Commit())
	w.ok(<-purged)
	if n := w.changes(dead); n != 4 {
		t.Errorf("of its 4 changes %d are left", n)
	}
	if _, err := w.Body(t.Context(), dead); err != nil {
		t.Errorf("it has nothing to send: %v", err)
	}
}

// TestARetryKeepsAnEventThatIsBeingDeleted retries an event that was set aside for the second time and is old. Retention finds it before the
// retry commits, and then waits for that.
func TestARetryKeepsAnEventThatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	e := w.accept()
	retry := func(ctx context.Context) error {
		return (&queries.EventRetries{Store: w.Store, Now: func() time.Time { return w.now }}).Retry(ctx, "acme", e.ID, subscriptions.Actor{})
	}
	setAside := func() {
		t.Helper()
		w.ok(w.Schedule(t.Context(), fanout.Plan{SetAside: []fanout.SetAside{{Tenant: "acme", EventID: e.ID, Reason: "odd", At: w.now}}}, func(bool) {}))
		w.handled()
	}
	setAside()
	w.ok(retry(t.Context()))
	setAside()
	w.now = w.now.Add(20*day - time.Hour)
	w.purge() // makes the weeks, for which it would have to wait
	w.now = w.now.Add(2 * time.Hour)
	tx, err := w.db.Begin(t.Context())
	w.ok(err)
	defer func() { _ = tx.Rollback() }()
	w.ok(retry(postgres.WithTx(t.Context(), tx)))
	purged := w.purging()
	w.ok(tx.Commit())
	w.ok(<-purged)
	if _, err := w.Event(t.Context(), "acme", e.ID); err != nil {
		t.Errorf("what is to be fanned out again is gone: %v", err)
	}
	setAside()
	w.purge()
	if _, err := w.Event(t.Context(), "acme", e.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("once it is set aside again it stays: %v", err)
	}
}

// TestAReplayKeepsWhatItRenders: its event's last delivery is old, and retention deletes it while the replay has yet to commit a new one.
func TestAReplayKeepsWhatItRenders(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	dead := w.oldDeadLetter()
	tx, err := w.db.Begin(t.Context())
	w.ok(err)
	defer func() { _ = tx.Rollback() }()
	ctx := postgres.WithTx(t.Context(), tx)
	stored, err := w.EventBodies(ctx, "acme", []string{dead.EventID})
	w.ok(err)
	found, err := w.Events(ctx, []intake.EventKey{{Tenant: "acme", ID: dead.EventID}})
	if w.ok(err); len(found) != 1 || len(stored[dead.EventID]) != 1 {
		t.Fatalf("of the event %v and %v are left", found, stored)
	}
	purged := w.purging()
	e := found[0]
	changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: w.id("dlv_"), Tenant: "acme", EventID: e.ID, EventType: e.Type, SubscriptionID: "sub_1", SubscriptionVersion: 1, BodyNumber: 1})
	d, err := delivery.Fold(changes)
	w.ok(err)
	w.ok(w.Schedule(ctx, fanout.Plan{Scheduled: []fanout.Scheduled{{Delivery: d, Changes: changes, AcceptedAt: e.At}}}, func(bool) {}))
	w.ok(tx.Commit())
	w.ok(<-purged)
	if _, err := w.Delivery(t.Context(), "acme", dead.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("the old delivery stays: %v", err)
	}
	if _, err := w.Body(t.Context(), d); err != nil {
		t.Errorf("the replay has nothing to send: %v", err)
	}
	if found, err := w.Events(t.Context(), []intake.EventKey{e.Key()}); err != nil || len(found) != 1 {
		t.Errorf("its event has gone: %v", err)
	}
}

// TestAPurgeGoesOnWhereTheLastOneStopped: what one deletes at most may not bring it to the last tenant, and meanwhile more grows old of the
// first one.
func TestAPurgeGoesOnWhereTheLastOneStopped(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	for _, owner := range []tenant.ID{"b", "c"} {
		w.ok(w.CreateTenant(t.Context(), access.Tenant{ID: owner, Name: "n", Weight: 1, CreatedAt: w.now}))
		w.countOld(owner)
	}
	purge := func() {
		t.Helper()
		_, err := w.Purge(t.Context(), retention.Cutoffs{Now: w.now, Attempts: w.now.Add(-20 * day)}, 1)
		w.ok(err)
	}
	purge()
	w.countOld("acme")
	purge()
	if n := w.rows("attempt_metrics"); n != 1 || count(t, w.direct, `SELECT count(*) FROM attempt_metrics WHERE tenant_id = 'acme'`) != 1 {
		t.Errorf("%d rows are left, and not acme's alone: it began anew", n)
	}
	purge()
	purge()
	if n := w.rows("attempt_metrics"); n != 0 {
		t.Errorf("%d rows are left: the next round leaves out the first tenant", n)
	}
}

// TestAWeekGoesThoughMoreGrowsOldMeanwhile has as many tenants as it takes for something of one of them to be too old whenever retention comes
// round: with each minute some counts are.
func TestAWeekGoesThoughMoreGrowsOldMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	first := partOf(inRecords, w.now)
	w.deliver(succeeded)
	w.purge()
	w.now = w.now.Add(50 * day)
	for range 10 {
		w.countOld("acme")
		next, err := w.retention.Step(t.Context())
		if w.ok(err); next.Sub(w.now) >= time.Second {
			t.Fatal("it rests though it has just deleted something")
		}
	}
	if w.exists(first) {
		t.Error("the week stays although it is old")
	}
}

// countOld counts an attempt of the tenant that is too old to be kept.
func (w *weeks) countOld(owner tenant.ID) {
	w.Helper()
	w.ok(w.AddAttempts(w.Context(), 1, map[metrics.Key]int64{{Tenant: owner, Minute: w.now.Add(-21*day).Unix() / 60, SubscriptionID: "sub_1"}: 1}))
}
