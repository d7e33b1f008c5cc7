package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Contract, section 5: another tenant's resource answers as if it did not exist, to a tenant's key and to a platform key for another tenant.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, other := newTenant(t, s), newTenant(t, s)
	hook := receive(t, nil)
	sub := other.subscribe(hook, "*", nil)
	event := other.emit(other.visit("visit_report.approved", nil))
	sent := other.settled(event, sub.ID, "succeeded")
	keyID, _ := other.keyWith("webhooks.read")
	other.do(http.MethodPut, "/v1/directory/customers/4711", object{"name": "Theirs"}).want(http.StatusOK)
	other.do(http.MethodPut, "/v1/directory/external-ids", object{"sourceSystem": "crm", "entityType": "customer", "ordinavoId": 4711, "externalId": "X"}).want(http.StatusOK)

	_, key := acme.keyWith("events.write", "directory.write", "webhooks.read", "webhooks.manage", "webhook_deliveries.read", "webhook_deliveries.retry")
	for name, caller := range map[string]api{"a tenant's key": {t: t, url: s.url, key: key}, "a platform key": acme.api} {
		for route, missing := range map[string]string{
			"GET /v1/subscriptions/" + sub.ID: "sub_0", "GET /v1/events/" + event: "evt_0", "GET /v1/deliveries/" + sent.ID: "dlv_0",
			"GET /v1/directory/customers/4711": "4712", "GET /v1/directory/external-ids?sourceSystem=crm&entityType=customer&ordinavoId=4711": "",
			"PATCH /v1/subscriptions/" + sub.ID: "", "DELETE /v1/subscriptions/" + sub.ID: "", "POST /v1/subscriptions/" + sub.ID + "/pause": "",
			"POST /v1/subscriptions/" + sub.ID + "/resume": "", "POST /v1/subscriptions/" + sub.ID + "/rotate-secret": "",
			"POST /v1/subscriptions/" + sub.ID + "/rotate-secret/complete": "", "POST /v1/subscriptions/" + sub.ID + "/test": "", "POST /v1/deliveries/" + sent.ID + "/retry": "",
		} {
			checkHidden(t, name, caller, route, missing)
		}
	}
	tenantKey := api{t: t, url: s.url, key: key}
	tenantKey.do(http.MethodDelete, "/v1/api-keys/"+keyID, nil).refused(http.StatusNotFound, "not_found")
	tenantKey.as(other.id).get("/v1/subscriptions").refused(http.StatusNotFound, "not_found")
	tenantKey.post("/v1/events", other.visit("visit_report.approved", nil)).refused(http.StatusForbidden, "forbidden")
	if got := other.subscription(sub.ID); got.Version != sub.Version || got.Status != "active" {
		t.Errorf("the subscription was touched: %+v", got)
	}
	hook.exactly(1)
}

// checkHidden wants the same answer as for what is not there at all.
func checkHidden(t *testing.T, name string, caller api, route, missing string) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	var body any
	if method == http.MethodPatch {
		body = object{"name": "mine now"}
	}
	got := caller.do(method, path, body).refused(http.StatusNotFound, "not_found")
	if missing == "" {
		return
	}
	want := caller.do(method, path[:strings.LastIndex(path, "/")+1]+missing, body).refused(http.StatusNotFound, "not_found")
	got.TraceID, want.TraceID = "", ""
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("%s: %s answers\n%s, and for what is not there\n%s", name, route, a, b)
	}
}

// The same ids in two tenants are two things: each gets its own event, its own names and its own external IDs.
func TestTheSameIDsInTwoTenants(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	id := eventID()
	for i, n := range []tenant{newTenant(t, s), newTenant(t, s)} {
		name, external := []string{"Mine", "Theirs"}[i], []string{"EXT-MINE", "EXT-THEIRS"}[i]
		n.do(http.MethodPut, "/v1/directory/customers/12", object{"name": name}).want(http.StatusOK)
		n.do(http.MethodPut, "/v1/directory/external-ids", object{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 12, "externalId": external}).want(http.StatusOK)
		hook := receive(t, nil)
		sub := n.subscribe(hook, "*", nil)
		n.emit(n.visit("visit_report.approved", object{"eventId": id}))
		body := bodyOf(t, hook.wait(1)[0])
		if customer := body["customer"].(object); body["tenantId"] != n.id || customer["name"] != name || customer["externalId"] != external {
			t.Errorf("got %v", body)
		}
		if got := n.event(id); got.TenantID != n.id || len(got.Dispositions) != 1 || got.Dispositions[0].SubscriptionID != sub.ID {
			t.Errorf("got %+v", got)
		}
	}
}
