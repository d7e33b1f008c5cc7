package e2e_test

import (
	"net/http"
	"testing"
)

// TestAnEventThatWasSetAsideIsRetried has an event whose row says that nobody could handle it, as after a panic.
func TestAnEventThatWasSetAsideIsRetried(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme, hook := newTenant(t, s), receive(t, nil)
	none := acme.subscribe(hook, "target.*", nil)
	visit := acme.emit(acme.visit("visit_report.approved", nil))
	acme.disposed(visit, none.ID)
	acme.post("/v1/events/"+visit+"/retry", nil).want(http.StatusConflict)
	deleteByHand(t, dir, `UPDATE events SET set_aside = CAST('{"reason":"it panicked","at":"2026-06-18T16:40:00Z","notMatched":1}' AS BLOB) WHERE event_id = ?`, visit)

	type shown struct {
		EventID           string
		SetAside, Retried *struct{ Reason string }
	}
	listed := func() []shown {
		t.Helper()
		return into[struct{ Data []shown }](acme.get("/v1/events?setAside=true").want(http.StatusOK)).Data
	}
	if got := listed(); len(got) != 1 || got[0].EventID != visit || got[0].SetAside == nil || got[0].SetAside.Reason != "it panicked" {
		t.Errorf("set aside: %+v", got)
	}
	all := acme.subscribe(hook, "*", nil)
	acme.post("/v1/events/"+visit+"/retry", nil).want(http.StatusAccepted)
	acme.settled(visit, all.ID, "succeeded")
	if got := into[shown](acme.get("/v1/events/" + visit).want(http.StatusOK)); got.SetAside != nil || got.Retried == nil || len(listed()) != 0 {
		t.Errorf("retried: %+v", got)
	}
	if got := acme.reconciled(); !got.Balanced || got.Accepted != 1 || got.Dispositions.sum() != 2 {
		t.Errorf("reconciled: %+v", got)
	}
	acme.post("/v1/events/"+visit+"/retry", nil).want(http.StatusConflict)
}
