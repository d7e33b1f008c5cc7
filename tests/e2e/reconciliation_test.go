package e2e_test

import (
	"database/sql"
	"net/http"
	"strings"
	"testing"
)

type dispositionCounts struct {
	Deliveries                         map[string]int
	NotMatched, FeatureGated, SetAside int
}

func (c dispositionCounts) sum() int {
	n := c.NotMatched + c.FeatureGated + c.SetAside
	for _, of := range c.Deliveries {
		n += of
	}
	return n
}

type reconciliation struct {
	Balanced, MoreUnsettled bool
	Accepted                int
	Dispositions            dispositionCounts
	Hours                   []struct {
		Balanced                    bool
		Accepted, Waiting, Expected int
		Missing                     *string
	}
	Unsettled []struct{ DeliveryID, EventID, SubscriptionID, Status, Reason, Link string }
}

func (n tenant) reconciled() reconciliation {
	n.t.Helper()
	return into[reconciliation](n.get("/v1/reconciliation").want(http.StatusOK))
}

// Contract, section 5: accepted events are the sum of dispositions, at any time; what is not settled is listed with its
// reason and a link that works. A row that somebody deletes by hand is missed.
func TestReconciliation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme, hook := newTenant(t, s), receive(t, nil)
	newTenant(t, s).subscribe(hook, "*", nil)
	acme.feature(true)
	all := acme.subscribe(hook, "*", nil)
	paused := acme.subscribe(hook, "visit_report.*", nil)
	acme.post("/v1/subscriptions/"+paused.ID+"/pause", nil).want(http.StatusOK)
	acme.subscribe(hook, "target.*", nil)
	visit := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(visit, all.ID, "succeeded")
	acme.settled(visit, paused.ID, "parked")
	acme.feature(false)
	acme.disposed(acme.emit(acme.billing("billing.event_ready")), all.ID)

	got := acme.reconciled()
	if d := got.Dispositions; !got.Balanced || got.Accepted != 2 || d.sum() != 6 || d.NotMatched != 3 || d.FeatureGated != 1 || d.Deliveries["succeeded"] != 1 || d.Deliveries["parked"] != 1 {
		t.Errorf("got %+v", got)
	}
	if len(got.Unsettled) != 1 || got.Unsettled[0].SubscriptionID != paused.ID || !strings.Contains(got.Unsettled[0].Reason, "paused") || got.MoreUnsettled {
		t.Fatalf("unsettled: %+v", got.Unsettled)
	}
	acme.get(got.Unsettled[0].Link).want(http.StatusOK)
	if empty := newTenant(t, s).reconciled(); !empty.Balanced || empty.Accepted != 0 || len(empty.Hours) != 0 {
		t.Errorf("a tenant without events: %+v", empty)
	}

	deleteByHand(t, dir, `DELETE FROM closed_deliveries WHERE event_id = ?`, visit)
	got = acme.reconciled()
	missing := ""
	for _, h := range got.Hours {
		if h.Missing != nil {
			missing += *h.Missing
		}
	}
	if got.Balanced || missing != "missing deliveries: 1" {
		t.Errorf("a deleted delivery: %+v, missing %q", got, missing)
	}
	if d := acme.disposed(visit, all.ID); d.DeliveryID != nil || !strings.Contains(d.Reason, "not kept any more") { // by which docs/operate.md has it found
		t.Errorf("its event says %+v", d)
	}
	acme.get("/v1/reconciliation?since=2026-01-01T00:00:00Z&until=2026-12-31T00:00:00Z").want(http.StatusBadRequest)
}

func deleteByHand(t *testing.T, dir, statement, id string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+databasePath(dir)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	result, err := db.Exec(statement, id)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("deleted %d rows: %v", n, err)
	}
}
