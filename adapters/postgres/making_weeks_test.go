package postgres_test

import (
	"context"
	"testing"

	"github.com/ordinavo/webhooks/application/intake"
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
