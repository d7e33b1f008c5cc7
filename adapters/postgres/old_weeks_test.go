package postgres_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestAWeekStaysForItsReaders has an event of an old week that is not fanned out, and a count that lags behind.
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

// TestAnIDThatIsAheadKeepsItsDelivery has IDs of a process that goes on from where a clock was for a moment.
func TestAnIDThatIsAheadKeepsItsDelivery(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	w.purge()
	started, e := w.now, w.accept()
	w.now = started.Add(15 * day)
	ahead := w.id("dlv_")
	w.now = started
	changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: ahead, Tenant: "acme", EventID: e.ID, EventType: e.Type, SubscriptionID: "sub_1", SubscriptionVersion: 1, BodyNumber: 1})
	d, err := delivery.Fold(changes)
	w.ok(err)
	w.ok(w.Schedule(t.Context(), fanout.Plan{Bodies: []fanout.Body{{Tenant: "acme", EventID: e.ID, Number: 1, Bytes: []byte("{}")}},
		Scheduled: []fanout.Scheduled{{Delivery: d, Changes: changes, AcceptedAt: e.At}}}, func(bool) {}))
	w.handled()
	d = w.attempt(d, gone)
	w.now = started.Add(60 * day)
	w.purge()
	if w.exists(partOf(inRecords, started)) || w.exists(partOf(events, started)) {
		t.Error("its week stays although it is old")
	}
	if _, err := w.Body(t.Context(), d); err != nil {
		t.Errorf("the dead letter has no body: %v", err)
	}
	if found, err := w.Events(t.Context(), []intake.EventKey{e.Key()}); err != nil || len(found) != 1 {
		t.Errorf("its event has gone: %v", err)
	}
	if n := w.changes(d); n != 3 {
		t.Errorf("of its 3 changes %d are left", n)
	}
	w.now = started.Add(15 * day).Add(91 * day)
	w.purge()
	if n := w.rows("records_kept"); n != 1 || w.rows(closed)+w.rows(events)+w.rows(bodies) != 0 {
		t.Errorf("%d records are kept for good, want the subscription's alone", n)
	}
}

// waits counts the tables that retention waited for in vain.
type waits struct{ atomic.Int64 }

func (n *waits) Write(logged []byte) (int, error) {
	n.Add(int64(bytes.Count(logged, []byte("retention lets others use"))))
	return len(logged), nil
}

// TestABackupIsWaitedForOnce has one that began before a week was made. Who waits for a table keeps all others from it.
func TestABackupIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	made := partOf(inRecords, w.now.Add(14*day))
	backup, err := w.direct.Begin(w.Context())
	w.ok(err)
	for _, table := range []string{inRecords, closed, events, bodies, gated} {
		_, err = backup.Exec(w.Context(), `SELECT count(*) FROM `+table+`_default`)
		w.ok(err)
	}
	waits := func() int64 {
		w.Helper()
		before := w.waits.Load()
		w.purge()
		return w.waits.Load() - before
	}
	if n := waits(); n != 1 {
		t.Errorf("it waited for %d tables", n)
	}
	w.now = w.now.Add(9 * time.Minute)
	if n := waits(); n != 0 {
		t.Errorf("a while later it waited for %d", n)
	}
	w.now = w.now.Add(time.Minute)
	if n := waits(); n != 1 || w.exists(made) {
		t.Errorf("after a pause it waited for %d, and made a week: %t", n, w.exists(made))
	}
	w.ok(backup.Rollback())
	w.now = w.now.Add(10 * time.Minute)
	w.purge()
	if !w.exists(made) {
		t.Error("nobody uses the tables, and the week is not made")
	}
}

// TestNothingIsDeletedByAClockThatIsADayAhead of the machine's: the server's is wrong, or the machine's, and nobody here can tell.
func TestNothingIsDeletedByAClockThatIsADayAhead(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	for _, off := range []time.Duration{-400 * day, -25 * time.Hour, -20 * time.Hour, 0, 25 * time.Hour, 400 * day} {
		db := openURL(t, postgres.Config{URL: url, Now: func() time.Time { return time.Now().Add(off) }})
		pgtest.Check(t, db.Await(t.Context(), func(error) {}))
		if by := time.Until(db.Now()); by.Abs() > time.Minute {
			t.Errorf("a process whose machine's clock is off by %s goes by one that is off by %s", off, by)
		}
		ages := retention.Ages{Events: 20 * day, Attempts: 20 * day, DeadLetters: 90 * day}
		_, err := retention.New(postgres.NewStore(db, tagging{}), ages, db.Now).Step(t.Context())
		if wrong := off < -day; wrong != (err != nil && strings.Contains(err.Error(), "clock")) || !wrong && err != nil {
			t.Errorf("off by %s: %v", off, err)
		}
	}
}
