package e2e_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const anyKey, ownRule, public = "any key", "its own rule", "none"

// scopeOf is contract section 5's table, whatever a path's parameters are called.
var scopeOf = map[string]string{
	"POST /v1/events": "events.write", "GET /v1/events": "webhook_deliveries.read", "GET /v1/events/{}": "webhook_deliveries.read",
	"GET /v1/event-types": anyKey, "GET /v1/event-types/{}": anyKey,
	"POST /v1/directory": "directory.write", "PUT /v1/directory/external-ids": "directory.write", "GET /v1/directory/external-ids": "directory.write",
	"DELETE /v1/directory/external-ids": "directory.write",
	"PUT /v1/directory/customers/{}":    "directory.write", "GET /v1/directory/customers/{}": "directory.write", "DELETE /v1/directory/customers/{}": "directory.write",
	"PUT /v1/directory/locations/{}": "directory.write", "GET /v1/directory/locations/{}": "directory.write", "DELETE /v1/directory/locations/{}": "directory.write",
	"PUT /v1/directory/contacts/{}": "directory.write", "GET /v1/directory/contacts/{}": "directory.write", "DELETE /v1/directory/contacts/{}": "directory.write",
	"POST /v1/subscriptions": "webhooks.manage", "GET /v1/subscriptions": "webhooks.read",
	"GET /v1/subscriptions/{}": "webhooks.read", "PATCH /v1/subscriptions/{}": "webhooks.manage", "DELETE /v1/subscriptions/{}": "webhooks.manage",
	"POST /v1/subscriptions/{}/pause": "webhooks.manage", "POST /v1/subscriptions/{}/resume": "webhooks.manage",
	"POST /v1/subscriptions/{}/rotate-secret": "webhooks.manage", "POST /v1/subscriptions/{}/rotate-secret/complete": "webhooks.manage",
	"POST /v1/subscriptions/{}/test": "webhooks.manage", "GET /v1/subscriptions/{}/history": "webhooks.read",
	"GET /v1/deliveries": "webhook_deliveries.read", "GET /v1/deliveries/{}": "webhook_deliveries.read", "POST /v1/deliveries/{}/retry": "webhook_deliveries.retry",
	"POST /v1/events/{}/retry": "webhook_deliveries.retry", "POST /v1/subscriptions/{}/replay": "webhooks.manage", "POST /v1/deliveries/retry": "webhook_deliveries.retry",
	"GET /v1/jobs": "webhook_deliveries.retry", "GET /v1/jobs/{}": "webhook_deliveries.retry", "POST /v1/jobs/{}/cancel": "webhook_deliveries.retry",
	"POST /v1/tenants": "platform.admin", "GET /v1/tenants": "platform.admin", "PATCH /v1/tenants/{}": "platform.admin", "PUT /v1/tenants/{}/features/{}": "platform.admin",
	"POST /v1/api-keys": ownRule, "GET /v1/api-keys": ownRule, "DELETE /v1/api-keys/{}": ownRule, "GET /v1/api-keys/self": anyKey,
	"POST /v1/events/preview": "webhooks.read", "POST /v1/subscriptions/{}/preview": "webhooks.manage", "POST /v1/signature-doctor": "webhooks.read",
	"GET /v1/deliveries/stream": "webhook_deliveries.read", "GET /v1/metrics/deliveries": "webhook_deliveries.read",
	"GET /v1/reconciliation": "webhook_deliveries.read", "GET /v1/subscriptions/{}/events": "events.read", "GET /v1/subscriptions/{}/counts": "webhook_deliveries.read",
	"GET /healthz": public, "GET /readyz": public, "GET /metrics": public, "GET /openapi.json": public, "GET /asyncapi.json": public, "GET /docs": public,
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

func unnamed(route string) string { return parameter.ReplaceAllString(route, "{}") }

var allScopes = []string{"events.write", "events.read", "directory.write", "webhooks.read", "webhooks.manage",
	"webhook_deliveries.read", "webhook_deliveries.retry", "platform.admin"}

var sampleParameters = strings.NewReplacer("{eventId}", "evt_0", "{type}", "visit_report.approved", "{id}", "12", "{subscriptionId}", "sub_0",
	"{deliveryId}", "dlv_0", "{tenantId}", "nobody", "{feature}", "billing_webhooks", "{keyId}", "key_0", "{jobId}", "job_0")

// Every operation of the document needs its scope, and no more than that.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	platform, keys := s.platform(t), map[string]string{}
	for _, scope := range allScopes {
		without := slices.DeleteFunc(slices.Clone(allScopes), func(other string) bool { return other == scope })
		_, keys["without "+scope] = newKey(platform, object{"name": "without", "scopes": without})
		_, keys["with "+scope] = newKey(platform, object{"name": "with", "scopes": []string{scope}})
	}
	checked := map[string]bool{}
	for template, item := range documentOf(t, s.url).paths {
		for method := range item {
			route := unnamed(strings.ToUpper(method) + " " + template)
			scope, known := scopeOf[route]
			if !known {
				t.Errorf("%s is not in the contract's table of this test", route)
				continue
			}
			checked[route] = true
			checkScope(acme, strings.ToUpper(method), sampleParameters.Replace(template), scope, keys)
		}
	}
	for route := range scopeOf {
		if !checked[route] {
			t.Errorf("the document does not have %s", route)
		}
	}
}

// checkScope wants nobody without the scope to get in, and nobody with it to be kept out.
func checkScope(n tenant, method, path, scope string, keys map[string]string) {
	n.t.Helper()
	call := func(a api) answer { return a.do(method, path, nil) }
	nobody := api{t: n.t, url: n.url}
	if scope == public {
		call(nobody).want(http.StatusOK)
		return
	}
	call(nobody).refused(http.StatusUnauthorized, "unauthorized")
	call(nobody.withKey("ord_live_nobodys_key_00000000000000000000000000")).refused(http.StatusUnauthorized, "unauthorized")
	if scope == anyKey || scope == ownRule {
		return
	}
	if p := call(n.withKey(keys["without "+scope])).refused(http.StatusForbidden, "missing_scope"); p.RequiredScope != scope {
		n.t.Errorf("%s %s: requiredScope is %q, want %q", method, path, p.RequiredScope, scope)
	}
	if strings.HasSuffix(path, "/stream") {
		return // whoever gets in stays in
	}
	if got := call(n.withKey(keys["with "+scope])); got.status == http.StatusForbidden || got.status == http.StatusUnauthorized {
		n.t.Errorf("%s %s with %s alone: got %d: %s", method, path, scope, got.status, got.body)
	}
}

// Keys are made by platform.admin, or by a tenant's key with webhooks.manage: for its own tenant, never more than its own scopes.
func TestWhoMayMakeKeys(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, other := newTenant(t, s), newTenant(t, s)
	_, reader := acme.keyWith("webhooks.read")
	_, manager := acme.keyWith("webhooks.manage", "webhooks.read")
	caller := api{t: t, url: s.url}
	want := object{"name": "x", "scopes": []string{"webhooks.read"}}
	p := caller.withKey(reader).post("/v1/api-keys", want).refused(http.StatusForbidden, "missing_scope")
	if p.RequiredScope != "webhooks.manage" {
		t.Errorf("requiredScope is %q", p.RequiredScope)
	}
	_, made := newKey(caller.withKey(manager), want)
	caller.withKey(made).get("/v1/subscriptions").want(http.StatusOK)
	for _, more := range []object{{"scopes": []string{"events.write"}}, {"scopes": []string{"platform.admin"}}, {"tenantId": other.id, "scopes": []string{"webhooks.read"}}} {
		more["name"] = "more"
		if got := caller.withKey(manager).post("/v1/api-keys", more); got.status < 400 || got.status >= 500 {
			t.Errorf("%v: got %d: %s", more, got.status, got.body)
		}
	}
	_, platformReader := newKey(s.platform(t), object{"name": "p", "scopes": []string{"webhooks.manage"}})
	if p := caller.withKey(platformReader).get("/v1/api-keys").refused(http.StatusForbidden, "missing_scope"); p.RequiredScope != "platform.admin" {
		t.Errorf("requiredScope is %q", p.RequiredScope)
	}
	if shown := acme.get("/v1/api-keys?tenantId=" + acme.id).want(http.StatusOK); strings.Contains(string(shown.body), manager) {
		t.Error("a key is shown again")
	}
}

// A revoked key is refused within a second.
func TestARevokedKeyIsRefused(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	id, text := acme.keyWith("webhooks.read")
	caller := api{t: t, url: s.url, key: text}
	caller.get("/v1/subscriptions").want(http.StatusOK)
	acme.do(http.MethodDelete, "/v1/api-keys/"+id, nil).want(http.StatusNoContent)
	caller.endsWithinASecond(time.Now())
}

// endsWithinASecond asks with the key until it is refused, which it must be for requests of a second later.
func (a api) endsWithinASecond(revoked time.Time) {
	a.t.Helper()
	lastAccepted := time.Time{}
	eventually(a.t, "the key is refused", func() bool {
		asked := time.Now()
		got := a.get("/v1/subscriptions")
		if got.status == http.StatusOK {
			lastAccepted = asked
		}
		return got.status == http.StatusUnauthorized
	})
	if late := lastAccepted.Sub(revoked); late > time.Second {
		a.t.Errorf("%s still took it %s later", a.url, late)
	}
}

// A key that has ended is no key.
func TestAnExpiredKeyIsRefused(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	endsAfterUse(t, func(after time.Duration) (api, bool) {
		_, text := newKey(acme.api, object{"name": "short", "tenantId": acme.id, "scopes": []string{"webhooks.read"}, "expiresAt": time.Now().Add(after).UTC().Format(time.RFC3339Nano)})
		return api{t: t, url: s.url, key: text}, true
	})
}
