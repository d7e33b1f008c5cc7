package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

// What one tenant may take is bounded, whatever it does with keys of its own; the platform is not charged for it.
func TestQuotasOfATenant(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_TENANT_RATE_LIMIT=1", "ORDINAVO_TENANT_SUBSCRIPTIONS=2")
	acme, hook := newTenant(t, s), receive(t, nil)
	first := acme.subscribe(hook, "*", nil)
	acme.subscribe(hook, "*", nil)
	p := acme.post("/v1/subscriptions", wanted(hook, "*", nil)).refused(http.StatusForbidden, "forbidden")
	if !strings.Contains(p.Detail, "has 2 subscriptions, and may have 2") {
		t.Errorf("it says %q", p.Detail)
	}
	acme.do(http.MethodDelete, "/v1/subscriptions/"+first.ID, nil).want(http.StatusNoContent)
	acme.subscribe(hook, "*", nil)

	_, one := acme.keyWith("webhooks.read")
	_, two := acme.keyWith("webhooks.read")
	keys := []api{acme.withKey(one), acme.withKey(two)}
	refused := answer{}
	for i := 0; i < 50 && refused.status != http.StatusTooManyRequests; i++ {
		refused = keys[i%2].get("/v1/event-types")
	}
	refused.refused(http.StatusTooManyRequests, "rate_limited")
	if refused.header.Get("X-RateLimit-Limit") != "1" || refused.header.Get("Retry-After") != "1" {
		t.Errorf("the headers are %v", refused.header)
	}
	acme.get("/v1/event-types").want(http.StatusOK)
}
