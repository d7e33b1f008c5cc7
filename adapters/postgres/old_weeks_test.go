package postgres_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
)

func TestAWeekStaysForItsReaders(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	first, e := partOf(inRecords, w.now), w.accept()
	w.purge()
	started := w.now
	w.now = started.Add(50 * day)
	w.purge()
	if found, err := w.Events(w.Context(), []intake.EventKey{e.Key()}); err != nil || len(found) != 1 || !w.exists(first) {
		w.Fatalf("what is not fanned out has gone: %v, %v", found, err)
	}
	w.handled()
	w.ok(execute(w.Context(), w.db, `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES ('metrics/1', $1, 0), ('metrics/2', $1, 0)`, records.TopicEvents))
	w.purge()
	if !w.exists(first) {
		w.Error("nobody waited for who counts")
	}
	w.ok(execute(w.Context(), w.db, `UPDATE consumer_offsets SET position = 1000 WHERE consumer_group = 'metrics/1'`))
	w.ok(execute(w.Context(), w.db, `INSERT INTO deferred_events SELECT tenant_id, sequence, '[]' FROM events`))
	w.purge()
	if found, err := w.Events(w.Context(), []intake.EventKey{e.Key()}); err != nil || len(found) != 1 || !w.exists(first) {
		t.Errorf("what waits for its tenant's turn has gone: %v, %v", found, err)
	}
	w.ok(execute(w.Context(), w.db, `DELETE FROM deferred_events`))
	w.purge() // a rebuild that was broken off holds nothing
	if w.exists(first) {
		w.Error("it stays although all have read it")
	}
}

// TestAWeekWithATestGoes has a sample that an admin asked for, which no loop reads.
func TestAWeekWithATestGoes(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	w.purge()
	first, started := partOf(inRecords, w.now), w.now
	e := subscriptions.Exchange{DeliveryID: w.id("dlv_"), Tenant: "acme", At: w.now, Outcome: &succeeded}
	w.ok(w.NoteTest(w.Context(), e, subscriptions.Actor{}))
	w.ok(w.NoteTestEnd(w.Context(), e))
	w.now = started.Add(20*day + time.Hour)
	w.purge()
	if _, err := w.FindTest(w.Context(), "acme", e.DeliveryID); err != nil {
		t.Errorf("it is gone before it is old: %v", err)
	}
	w.now = started.Add(34 * day)
	w.purge()
	if _, err := w.FindTest(w.Context(), "acme", e.DeliveryID); !problem.Is(err, problem.NotFound) || w.exists(first) {
		t.Errorf("its week stays although it is old: %v", err)
	}
}
