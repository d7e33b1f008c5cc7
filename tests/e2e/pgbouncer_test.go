package e2e_test

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestServicesBehindPgBouncer has two processes whose transactions go through a pgbouncer in transaction mode, with three connections to the
// server for both: what comes to either is delivered once, also what is refused at first and what an admin changes meanwhile.
func TestServicesBehindPgBouncer(t *testing.T) {
	t.Parallel()
	direct := pgtest.Empty(t)
	env := []string{"ORDINAVO_DATABASE_URL=" + pgtest.StartBouncer(t, direct).URL(direct), "ORDINAVO_DATABASE_DIRECT_URL=" + direct,
		"ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	const each = 100
	one, other := start(t, t.TempDir(), env...), start(t, t.TempDir(), env...)
	acme := newTenant(t, one)
	hook := receive(t, func(n int, _ arrival, w http.ResponseWriter) {
		if n%10 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	acme.subscribe(hook, "*", object{"maxInFlight": 64, "retrySchedule": []string{"1s", "1s", "1s", "1s", "1s", "1s", "1s", "1s"}})
	for _, s := range []*service{one, other} {
		var batch []object
		for range each {
			batch = append(batch, acme.visit("visit_report.approved", nil))
		}
		s.platform(t).post("/v1/events", object{"events": batch}).want(http.StatusAccepted)
	}
	late := tenant{acme.at(other), acme.id}.subscribe(hook, "*", nil)
	event := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(event, late.ID, "succeeded")
	eventually(t, "all is settled", func() bool { return len(acme.reconciled().Unsettled) == 0 })
	if got := acme.reconciled(); !got.Balanced || got.Accepted != 2*each+1 || got.Dispositions.Deliveries["succeeded"] != 2*each+2 {
		t.Errorf("reconciled to %+v", got)
	}
	arrived := map[string]int{}
	for _, a := range hook.all() {
		arrived[a.deliveryID()]++
	}
	attempts := 0
	for _, n := range arrived {
		attempts += n
	}
	if refused := attempts / 10; len(arrived) != 2*each+2 || attempts-refused != len(arrived) {
		t.Errorf("%d deliveries arrived %d times, of which %d were refused", len(arrived), attempts, refused)
	}
}
