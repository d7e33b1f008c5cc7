package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

type historyEntry struct {
	Version                        int64
	Change, Summary, TraceID, Link string
	At                             time.Time
	By                             struct{ KeyID, KeyName string }
	Fields                         []struct {
		Field         string
		Before, After any
	}
	FeatureGated []struct {
		Feature, Reason string
		Events          int
	}
}

// Contract, section 5: who changed what and when, straight from the stream; and section 2: the history says why billing
// events were not sent. The state at any moment is shown again, also of what was deleted, and a delivery names the one that rendered it.
func TestHistoryAndTimeTravel(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, hook := newTenant(t, s), receive(t, nil)
	acme.feature(true)
	keyID, key := newKey(acme.api, object{"name": "Anna's laptop", "tenantId": acme.id, "scopes": []string{"webhooks.manage", "webhooks.read"}})
	anna := api{t: t, url: s.url, key: key}
	sub := into[subscription](anna.with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").post("/v1/subscriptions", wanted(hook, "*", nil)).want(http.StatusCreated))
	path := "/v1/subscriptions/" + sub.ID
	event := acme.emit(acme.visit("visit_report.approved", nil))
	sent := acme.settled(event, sub.ID, "succeeded")
	anna.do(http.MethodPatch, path, object{"name": "SAP, production", "payloadOptions": object{"contactDetails": false}}).want(http.StatusOK)
	acme.feature(false)
	acme.disposed(acme.emit(acme.billing("billing.event_ready")), sub.ID)
	acme.post(path+"/pause", object{"reason": "maintenance"}).want(http.StatusOK)
	rotated := into[subscription](acme.post(path+"/rotate-secret", nil).want(http.StatusOK))

	answer := anna.get(path + "/history").want(http.StatusOK)
	history := into[page[historyEntry]](answer).Data
	if len(history) != 5 {
		t.Fatalf("got %s", answer.body)
	}
	for i, change := range []string{"secret_rotation_started", "paused", "options_changed", "endpoint_changed", "created"} {
		if history[i].Change != change || history[i].Version != int64(5-i) || history[i].Summary == "" || len(history[i].TraceID) != 32 {
			t.Errorf("entry %d is %+v", i, history[i])
		}
	}
	created, renamed, options, paused := history[4], history[3], history[2], history[1]
	if created.By.KeyID != keyID || created.By.KeyName != "Anna's laptop" || created.TraceID != "0af7651916cd43dd8448eb211c80319c" || paused.By.KeyID == keyID {
		t.Errorf("created by %+v in trace %s, paused by %+v", created.By, created.TraceID, paused.By)
	}
	if f := renamed.Fields; len(f) != 1 || f[0].Field != "name" || f[0].Before != "SAP" || f[0].After != "SAP, production" {
		t.Errorf("renamed: %+v", renamed.Fields)
	}
	if g := options.FeatureGated; len(g) != 1 || g[0].Events != 1 || g[0].Feature != "billing_webhooks" || g[0].Reason == "" || len(paused.FeatureGated) != 0 {
		t.Errorf("gated: %+v", history)
	}
	for _, secret := range []string{sub.Secret, rotated.Secret} {
		if secret == "" || strings.Contains(string(answer.body), secret) {
			t.Errorf("a secret is shown in %s", answer.body)
		}
	}

	shown := into[struct {
		RenderedBy          string
		SubscriptionVersion int64
	}](acme.get("/v1/deliveries/" + sent.ID).want(http.StatusOK))
	if shown.RenderedBy != path+"?version=1" || shown.SubscriptionVersion != 1 {
		t.Errorf("rendered by %+v", shown)
	}
	acme.do(http.MethodDelete, path, nil).want(http.StatusNoContent)
	for at, name := range map[string]string{
		path + "?at=" + created.At.Format(time.RFC3339Nano): "SAP", path + "?at=" + paused.At.Format(time.RFC3339Nano): "SAP, production",
		shown.RenderedBy: "SAP", renamed.Link: "SAP, production",
	} {
		if got := into[subscription](anna.get(at).want(http.StatusOK)); got.Name != name || got.Status == "deleted" {
			t.Errorf("%s: got %+v", at, got)
		}
	}
	for _, missing := range []string{path, path + "?version=9", path + "?at=" + created.At.Add(-time.Second).Format(time.RFC3339Nano)} {
		anna.get(missing).refused(http.StatusNotFound, "not_found")
	}
	if last := into[page[historyEntry]](anna.get(path + "/history?limit=1").want(http.StatusOK)); last.Data[0].Change != "deleted" || last.NextCursor == nil {
		t.Errorf("got %+v", last)
	}
}
