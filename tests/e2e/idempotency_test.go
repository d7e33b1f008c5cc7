package e2e_test

import (
	"net/http"
	"testing"
)

// Contract, section 5: the same Idempotency-Key with the same content gives the same answer again, for every write.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	keyed := acme.with("Idempotency-Key", "first order")
	first := keyed.post("/v1/subscriptions", wanted(hook, "*", nil)).want(http.StatusCreated)
	again := keyed.post("/v1/subscriptions", wanted(hook, "*", nil)).want(http.StatusCreated)
	if string(first.body) != string(again.body) || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("got %q and\n%s\n%s", again.header.Get("Idempotency-Replayed"), first.body, again.body)
	}
	for _, name := range []string{"Etag", "Location", "Content-Type"} {
		if first.header.Get(name) != again.header.Get(name) {
			t.Errorf("%s: got %q, then %q", name, first.header.Get(name), again.header.Get(name))
		}
	}
	keyed.post("/v1/subscriptions", wanted(hook, "visit_report.*", nil)).refused(http.StatusConflict, "idempotency_conflict")
	if list := into[page[subscription]](acme.get("/v1/subscriptions").want(http.StatusOK)); len(list.Data) != 1 {
		t.Errorf("%d subscriptions", len(list.Data))
	}
	sub := into[subscription](first)
	event := acme.visit("visit_report.approved", nil) // without an eventId of its own
	one, two := keyed.post("/v1/events", event).want(http.StatusAccepted), keyed.post("/v1/events", event).want(http.StatusAccepted)
	if string(one.body) != string(two.body) {
		t.Errorf("got %s, then %s", one.body, two.body)
	}
	acme.settled(into[results](one).Results[0].EventID, sub.ID, "succeeded")
	hook.exactly(1)
	acme.with("Idempotency-Key", "pause").post("/v1/subscriptions/"+sub.ID+"/pause", nil).want(http.StatusOK)
	acme.with("Idempotency-Key", "delete").do(http.MethodDelete, "/v1/subscriptions/"+sub.ID, nil).want(http.StatusNoContent)
	gone := acme.with("Idempotency-Key", "delete").do(http.MethodDelete, "/v1/subscriptions/"+sub.ID, nil).want(http.StatusNoContent)
	if gone.header.Get("Idempotency-Replayed") != "true" {
		t.Error("the second delete is not a replay")
	}
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'k'
	}
	acme.with("Idempotency-Key", string(long)).post("/v1/events", event).refused(http.StatusBadRequest, "validation_failed")
}

// Writes that are made once although they are asked for twice, with one key for both.
func TestWritesAreRepeatable(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	made := into[struct{ ID string }](acme.post("/v1/api-keys", object{"name": "ERP", "tenantId": acme.id, "scopes": []string{"webhooks.read"}}).want(http.StatusCreated))
	one := "/v1/subscriptions/" + sub.ID
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/v1/directory", exampleDirectory()},
		{http.MethodPatch, "/v1/tenants/" + acme.id, object{"name": "Essen Service GmbH"}},
		{http.MethodPut, "/v1/tenants/" + acme.id + "/features/billing_webhooks", object{"enabled": true}},
		{http.MethodPost, one + "/test", object{"eventType": "visit_report.approved"}},
		{http.MethodPost, one + "/pause", object{"reason": "maintenance"}},
		{http.MethodPost, one + "/resume", nil},
		{http.MethodPost, one + "/rotate-secret", object{"overlapHours": 168}}, // as long as an overlap may be
		{http.MethodPost, one + "/rotate-secret/complete", nil},
		{http.MethodPatch, one, object{"name": "ERP"}},
		{http.MethodDelete, "/v1/api-keys/" + made.ID, nil},
	} {
		keyed := acme.with("Idempotency-Key", "once")
		first, again := keyed.do(c.method, c.path, c.body), keyed.do(c.method, c.path, c.body)
		if first.status/100 != 2 || again.status != first.status || string(again.body) != string(first.body) ||
			first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s %s: %d %s, then %d %v %s", c.method, c.path, first.status, first.body, again.status, again.header, again.body)
		}
	}
	hook.exactly(1) // the test
	if history := into[page[object]](acme.get(one + "/history").want(http.StatusOK)).Data; len(history) != 6 {
		t.Errorf("it was created and changed five times, and has %d entries: %v", len(history), history)
	}
}

// A key is its caller's: another tenant, and another key, have keys of their own.
func TestIdempotencyKeysAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, other := newTenant(t, s), newTenant(t, s)
	hook := receive(t, nil)
	for _, n := range []tenant{acme, other} {
		made := n.with("Idempotency-Key", "same").post("/v1/subscriptions", wanted(hook, "*", nil)).want(http.StatusCreated)
		if into[subscription](made).TenantID != n.id || made.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("got %s", made.body)
		}
	}
}

// An answer outlives the process; a key whose request died with the process is free again after the restart.
func TestIdempotencyOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme := newTenant(t, s)
	keyed := acme.with("Idempotency-Key", "kept")
	event := acme.visit("visit_report.approved", object{"eventId": eventID()})
	first := keyed.post("/v1/events", event).want(http.StatusAccepted)
	s.kill()
	s = start(t, dir)
	if again := keyed.at(s).post("/v1/events", event).want(http.StatusAccepted); string(again.body) != string(first.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %s, then %s", first.body, again.body)
	}
	s.kill()
	alter(t, dir, "UPDATE idempotency_keys SET sealed = NULL WHERE token <> ''") // as if it had died between commit and answer
	s = start(t, dir)
	if got := into[results](keyed.at(s).post("/v1/events", event).want(http.StatusAccepted)).Results[0]; got.Status != "duplicate" {
		t.Errorf("got %+v", got)
	}
}
