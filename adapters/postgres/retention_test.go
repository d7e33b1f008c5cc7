package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
)

// oneWaits is when somebody waits for a lock in the database.
func (w *weeks) oneWaits() {
	w.Helper()
	eventually(w.T, func() bool {
		return count(w, w.direct, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	})
}

// TestARetryKeepsWhatIsBeingDeleted retries a dead letter that is old. Retention finds it before the retry commits, and then waits for that.
func TestARetryKeepsWhatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	w.purge()
	dead := w.deliver(gone)
	started := w.now
	w.now = started.Add(90*day - time.Hour)
	w.purge() // its records are in week 0 now
	w.now = started.Add(90*day + time.Hour)
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
	purged := make(chan error, 1)
	go func() { _, err := w.retention.Step(context.WithoutCancel(t.Context())); purged <- err }()
	w.oneWaits()
	w.ok(tx.Commit())
	w.ok(<-purged)
	if n := w.changes(dead); n != 4 {
		t.Errorf("of its 4 changes %d are left", n)
	}
	if _, err := w.Body(t.Context(), dead); err != nil {
		t.Errorf("it has nothing to send: %v", err)
	}
}
