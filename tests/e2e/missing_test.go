package e2e_test

import (
	"net/http"
	"testing"
	"time"
)

// A subscription gets what was accepted before it was created, and what its filter left out, each once: POST /v1/subscriptions/{id}/replay.
func TestReplayOfWhatIsMissing(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	var events []string
	for range 3 {
		events = append(events, acme.emit(acme.visit("visit_report.approved", nil)))
	}
	other := acme.emit(acme.visit("target.imported", nil))
	sub := acme.subscribe(hook, "visit_report.*", object{"maxInFlight": 1})
	path := "/v1/subscriptions/" + sub.ID + "/replay"
	eventually(t, "fan-out", func() bool {
		dry := into[job](acme.post(path, object{"mode": "missing", "dryRun": true}).want(http.StatusOK))
		return dry.Done == 3 && dry.Status == "succeeded"
	})
	keyed := acme.with("Idempotency-Key", "what is missing")
	if j := acme.worked(keyed.post(path, object{"mode": "missing"})); j.Status != "succeeded" || j.Done != 3 || j.Found != 3 || j.Mode != "missing" {
		t.Errorf("the job: %+v", j)
	}
	keyed.post(path, object{"mode": "missing"}).want(http.StatusAccepted)
	for i, a := range hook.wait(3) {
		if a.eventID() != events[i] {
			t.Errorf("the arrival %d is %s, want %s", i, a.eventID(), events[i])
		}
		acme.settledAs(a.deliveryID(), "succeeded")
		shown := acme.event(events[i])
		if len(shown.Dispositions) != 0 || len(shown.Replays) != 1 || *shown.Replays[0].DeliveryID != a.deliveryID() || shown.Replays[0].SubscriptionID != sub.ID {
			t.Errorf("the dispositions are %+v, the replays %+v", shown.Dispositions, shown.Replays)
		}
	}
	last := acme.emit(acme.visit("visit_report.approved", nil)) // of the same hour, so that what is counted of that reaches beyond the replay
	acme.settled(last, sub.ID, "succeeded")
	acme.do(http.MethodPatch, "/v1/subscriptions/"+sub.ID, object{"eventTypes": []string{"*"}}).want(http.StatusOK)
	if j := acme.worked(acme.post(path, object{"mode": "missing", "since": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)})); j.Done != 1 {
		t.Errorf("after the filter was widened: %+v", j)
	}
	if a := hook.wait(5)[4]; a.eventID() != other {
		t.Errorf("then came %s, want %s", a.eventID(), other)
	}
	if j := acme.worked(acme.post(path, object{"mode": "missing"})); j.Found != 0 {
		t.Errorf("a third time: %+v", j)
	}
	hook.exactly(5)
	if got := acme.catchUp(sub, ""); len(got.Data) != 5 || got.Data[0].EventID != events[0] || got.Data[3].EventID != other || got.Data[4].EventID != last {
		t.Errorf("to be pulled: %+v", got.Data)
	}
	if got := acme.reconciled(); !got.Balanced || got.Accepted != 5 || got.Dispositions.sum() != 1 {
		t.Errorf("the reconciliation: %+v", got)
	}
	acme.post(path, object{"mode": "missing", "statuses": []string{"succeeded"}}).refused(http.StatusBadRequest, "validation_failed")
	acme.post("/v1/subscriptions/"+sub.ID+"/pause", nil).want(http.StatusOK)
	acme.post(path, object{"mode": "missing"}).refused(http.StatusConflict, "conflict")
}
