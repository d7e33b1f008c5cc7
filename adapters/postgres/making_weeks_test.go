package postgres_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

// TestAnEventComesWhileItsWeekIsMade: it is on its way to the default part, and waits for who makes the week, which it belongs to then.
func TestAnEventComesWhileItsWeekIsMade(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	maker, err := w.direct.Begin(t.Context())
	w.ok(err)
	defer func() { _ = maker.Rollback() }()
	_, err = maker.Exec(t.Context(), `SELECT make_week('events', $1)`, w.now.Unix()/(7*86400))
	w.ok(err)
	e := intake.Accepted{Event: event.Sample(event.VisitReportApproved, "acme"), At: w.now}
	e.ID = w.id("evt_")
	accepted := make(chan error, 1)
	go func() { accepted <- w.AppendEvents(context.WithoutCancel(t.Context()), []intake.Accepted{e}) }()
	w.oneWaits()
	w.ok(maker.Commit())
	w.ok(<-accepted)
	if n := w.rows(partOf(events, w.now)); n != 1 {
		t.Errorf("its week has %d events", n)
	}
}

// TestATableInUseKeepsNoOtherFromItsWeeks has somebody read one of the defaults for as long as it takes.
func TestATableInUseKeepsNoOtherFromItsWeeks(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	reader, err := w.direct.Begin(t.Context())
	w.ok(err)
	defer func() { _ = reader.Rollback() }()
	_, err = reader.Exec(t.Context(), `SELECT count(*) FROM records_default`)
	w.ok(err)
	w.purge()
	for _, table := range []string{inRecords, closed, events, bodies, gated} {
		if has := w.exists(partOf(table, w.now)); has != (table != inRecords) {
			t.Errorf("%s has a part: %t", table, has)
		}
	}
	if n := w.waits.Load(); n != 1 {
		t.Errorf("it says %d times that it waits", n)
	}
}

// TestWeeksAreMadeByAClockThatIsADayAhead of the machine's, although nothing is deleted: where they are missing rows go to the default.
func TestWeeksAreMadeByAClockThatIsADayAhead(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	behind := openURL(t, postgres.Config{URL: w.url, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now.Add(-25 * time.Hour) }})
	ages := retention.Ages{Events: 20 * day, Attempts: 20 * day, DeadLetters: 90 * day}
	_, err := retention.New(postgres.NewStore(behind, tagging{}), ages, func() time.Time { return w.now }).Step(t.Context())
	if err == nil || !strings.Contains(err.Error(), "clock") || !w.exists(partOf(inRecords, w.now)) {
		t.Errorf("there is a part: %t, %v", w.exists(partOf(inRecords, w.now)), err)
	}
}

// TestAWeekOfManyStaysInTheDefault until it is over, since all would wait while they are moved. They are deleted like any when they are old.
func TestAWeekOfManyStaysInTheDefault(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	started := w.now
	first, next := partOf(events, started), partOf(events, started.Add(7*day))
	kept := w.deliver(failed)
	w.ok(execute(t.Context(), w.direct, `INSERT INTO events (tenant_id, event_id, sequence, event_type, occurred_at, accepted_at, fingerprint, content, traceparent, week)
		SELECT 'acme', 'evt_' || lpad(n::text, 26, '0'), -n, 'target.imported', $1, $1, '', '', '', $2 FROM generate_series(1, 10000) AS n`, started.UnixMicro(), started.Unix()/(7*86400)))
	w.purge()
	if w.exists(first) || !w.exists(next) || w.rows("events_default") != 10_001 {
		t.Errorf("of the week there is a part: %t, of the next: %t; the default has %d events", w.exists(first), w.exists(next), w.rows("events_default"))
	}
	w.now = started.Add(7*day - time.Hour) // the week is over, but for clocks that differ
	w.purge()
	if n := w.rows("events_default"); n != 10_001 {
		t.Errorf("the default has %d events before all agree that the week is over", n)
	}
	w.now = started.Add(8 * day)
	w.purge()
	if d, k := w.rows("events_default"), w.rows("events_kept"); d != 0 || k != 10_001 {
		t.Errorf("%d events are in the default, %d in week 0", d, k)
	}
	if found, err := w.Events(t.Context(), []intake.EventKey{{Tenant: "acme", ID: kept.EventID}}); err != nil || len(found) != 1 {
		t.Errorf("one that was moved is not found: %v, %v", found, err)
	}
	w.now = started.Add(34 * day)
	w.purge()
	if n := w.rows(events); n != 1 {
		t.Errorf("%d events are left, want that of the open delivery", n)
	}
}

// TestManyBodiesOfAWeekGoWithItsEvents, whose own part was made: they stayed in the default until the week was over, as there were too many of
// them to be moved, and are in week 0 since then.
func TestManyBodiesOfAWeekGoWithItsEvents(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	started, of := w.now, w.now.Unix()/(7*86400)
	open, old := w.deliver(failed), w.deliver(succeeded)
	w.ok(execute(t.Context(), w.direct, `INSERT INTO bodies (tenant_id, event_id, number, body, week) SELECT 'acme', $1, n, '', $2 FROM generate_series(2, 10000) AS n`, old.EventID, of))
	w.ok(execute(t.Context(), w.direct, `INSERT INTO gated_events (tenant_id, event_id, subscription_id, feature, subscription_version, accepted_at, week)
		SELECT 'acme', $1, 'sub_more_' || n, 'f', 1, $2, $3 FROM generate_series(1, 9999) AS n`, old.EventID, started.UnixMicro(), of))
	w.purge()
	w.now = started.Add(8 * day)
	w.purge()
	if b, g := w.rows("bodies_kept"), w.rows("gated_events_kept"); !w.exists(partOf(events, started)) || b != 10_001 || g != 10_001 {
		t.Fatalf("there is a part of the events: %t; week 0 has %d bodies and %d that were gated", w.exists(partOf(events, started)), b, g)
	}
	w.now = started.Add(34 * day)
	w.purge()
	if e, b, g := w.rows(events), w.rows(bodies), w.rows(gated); e != 1 || b != 1 || g != 1 {
		t.Errorf("%d events, %d bodies and %d that were gated are left, want those of the open delivery", e, b, g)
	}
	if body, err := w.Body(t.Context(), open); err != nil || string(body) != "{}" {
		t.Errorf("the open delivery has the body %q, %v", body, err)
	}
}

// TestWhatIsDeliveredStaysWithoutItsEvent has an event lost by damage. Its delivery needs the body alone.
func TestWhatIsDeliveredStaysWithoutItsEvent(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	w.purge()
	started, open, dead := w.now, w.deliver(failed), w.deliver(gone)
	w.ok(execute(t.Context(), w.direct, `DELETE FROM events`))
	w.now = started.Add(34 * day)
	w.purge()
	if w.exists(partOf(bodies, started)) {
		t.Fatal("the week stays, so this shows nothing")
	}
	for _, d := range []delivery.Delivery{open, dead} {
		if body, err := w.Body(t.Context(), d); err != nil || string(body) != "{}" {
			t.Errorf("the delivery that is %s has the body %q, %v", d.Status, body, err)
		}
	}
}
