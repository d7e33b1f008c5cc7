package e2e_test

import (
	"net/http"
	"slices"
	"testing"
)

// Contract, section 5: while a subscription is paused its events are parked; resuming sends them in order.
func TestPauseParksAndResumeSendsInOrder(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", object{"maxInFlight": 1})
	paused := into[subscription](acme.post("/v1/subscriptions/"+sub.ID+"/pause", object{"reason": "maintenance"}).want(http.StatusOK))
	if paused.Status != "paused" || paused.StatusReason == nil || *paused.StatusReason != "maintenance" {
		t.Errorf("got %+v", paused)
	}
	var want []string
	for range 12 {
		want = append(want, acme.emit(acme.visit("visit_report.approved", nil)))
	}
	for _, id := range want {
		acme.settled(id, sub.ID, "parked")
	}
	hook.exactly(0)
	acme.post("/v1/subscriptions/"+sub.ID+"/resume", nil).want(http.StatusOK)
	var got []string
	for _, a := range hook.wait(len(want)) {
		got = append(got, a.eventID())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// … or skips them if the admin says so.
func TestResumeSkips(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", object{"status": "paused"})
	parked := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(parked, sub.ID, "parked")
	acme.post("/v1/subscriptions/"+sub.ID+"/resume", object{"skipParked": true}).want(http.StatusOK)
	acme.settled(parked, sub.ID, "cancelled")
	after := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(after, sub.ID, "succeeded")
	if got := hook.exactly(1)[0].eventID(); got != after {
		t.Errorf("got %s, want %s", got, after)
	}
}

// Deleting cancels what is on its way, and the subscription is gone.
func TestDeleteCancels(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, answers(500))
	sub := acme.subscribe(hook, "*", object{"retrySchedule": []string{"1h"}})
	retrying := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(retrying, sub.ID, "retrying")
	acme.do(http.MethodDelete, "/v1/subscriptions/"+sub.ID, nil).want(http.StatusNoContent)
	acme.settled(retrying, sub.ID, "cancelled")
	acme.get("/v1/subscriptions/"+sub.ID).refused(http.StatusNotFound, "not_found")
	after := acme.emit(acme.visit("visit_report.approved", nil))
	other := acme.subscribe(receive(t, nil), "*", nil)
	marker := acme.emit(acme.visit("visit_report.approved", nil))
	acme.disposed(marker, other.ID)
	for _, d := range acme.event(after).Dispositions {
		if d.SubscriptionID == sub.ID {
			t.Errorf("a deleted subscription got %s", d)
		}
	}
	hook.exactly(1)
}

// The ETag is the stream's version, and If-Match is honoured.
func TestETags(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	made := acme.post("/v1/subscriptions", wanted(receive(t, nil), "*", nil)).want(http.StatusCreated)
	sub := into[subscription](made)
	path := "/v1/subscriptions/" + sub.ID
	first := made.header.Get("ETag")
	if first == "" || first != acme.get(path).header.Get("ETag") {
		t.Fatalf("got %q, then %q", first, acme.get(path).header.Get("ETag"))
	}
	changed := acme.with("If-Match", first).do(http.MethodPatch, path, object{"name": "renamed"}).want(http.StatusOK)
	if changed.header.Get("ETag") == first || into[subscription](changed).Version != sub.Version+1 {
		t.Errorf("the change did not move the version: %s", changed.body)
	}
	stale := acme.with("If-Match", first)
	stale.do(http.MethodPatch, path, object{"name": "again"}).refused(http.StatusConflict, "conflict")
	stale.post(path+"/pause", nil).refused(http.StatusConflict, "conflict")
	stale.do(http.MethodDelete, path, nil).refused(http.StatusConflict, "conflict")
	if got := acme.subscription(sub.ID); got.Name != "renamed" || got.Status != "active" {
		t.Errorf("got %+v", got)
	}
	acme.with("If-Match", "*").do(http.MethodPatch, path, object{"name": "any"}).want(http.StatusOK)
	acme.with("If-Match", "three").do(http.MethodPatch, path, object{"name": "x"}).refused(http.StatusBadRequest, "validation_failed")
}

// A signed sample goes out once and is answered with the exchange.
func TestTheTestRoute(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "visit_report.*", nil)
	result := into[struct {
		EventID, DeliveryID, Outcome string
		Request                      struct{ Body string }
	}](acme.post("/v1/subscriptions/"+sub.ID+"/test", object{"eventType": "visit_report.approved"}).want(http.StatusOK))
	got := hook.exactly(1)[0]
	verify(t, got, sub.Secret)
	if result.Outcome != "succeeded" || result.EventID != got.eventID() || result.DeliveryID != got.deliveryID() || result.Request.Body != string(got.body) {
		t.Errorf("got %+v for %s", result, got.body)
	}
	shown := into[struct {
		delivery
		Test bool
	}](acme.get("/v1/deliveries/" + result.DeliveryID).want(http.StatusOK))
	if !shown.Test || shown.Status != "succeeded" || shown.EventID != result.EventID || shown.Request.Body != string(got.body) || len(shown.Attempts) != 1 ||
		shown.Request.Headers["X-Ordinavo-Test"] != "true" || *shown.Attempts[0].ResponseStatus != http.StatusOK {
		t.Errorf("shown %+v", shown)
	}
	newTenant(t, sharedService(t)).get("/v1/deliveries/"+result.DeliveryID).refused(http.StatusNotFound, "not_found")
	if listed := into[page[delivery]](acme.get("/v1/deliveries").want(http.StatusOK)).Data; len(listed) != 0 {
		t.Errorf("listed %+v", listed)
	}
	acme.post("/v1/deliveries/"+result.DeliveryID+"/retry", nil).refused(http.StatusNotFound, "not_found")
	acme.post("/v1/subscriptions/"+sub.ID+"/test", object{"eventType": "nonsense"}).refused(http.StatusBadRequest, "validation_failed")
}
