package rest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	domain "github.com/ordinavo/webhooks/domain/access"
)

// Whoever has a key, and no more than that, learns what it is and may do: as in the list, and never its text.
func TestAKeyLearnsWhatItIs(t *testing.T) {
	h := newHarness(t)
	const self = "/v1/api-keys/self"
	made := h.call(h.admin, "POST", "/v1/api-keys", `{"name":"ERP","scopes":["events.read"],"subscriptionId":"`+h.subscribe()+`","expiresAt":"2027-01-01T00:00:00Z"}`).expect(201)
	got := h.call(made.text("key"), "GET", self, "").expect(200)
	for _, name := range []string{"id", "name", "tenantId", "subscriptionId", "prefix", "createdAt", "expiresAt"} {
		if got.text(name) != made.text(name) {
			t.Errorf("%s is %q, want %q", name, got.text(name), made.text(name))
		}
	}
	if !strings.Contains(got.body, `"scopes":["events.read"]`) || strings.Contains(got.body, made.text("key")) {
		t.Errorf("the key is %s", got.body)
	}
	if list := h.call(h.admin, "GET", "/v1/api-keys", "").expect(200); !strings.Contains(list.body, strings.TrimSpace(got.body)) {
		t.Errorf("%s is not in the list %s", got.body, list.body)
	}
	if got := h.call(h.platform, "GET", self, "", "X-Ordinavo-Tenant", own).expect(200); !strings.Contains(got.body, `"tenantId":null`) || !strings.Contains(got.body, `"platform.admin"`) {
		t.Errorf("a platform key is %s", got.body)
	}
	bare := h.key(domain.Key{Tenant: own, ExpiresAt: h.now.Add(time.Minute)})
	if got := h.call(bare, "GET", self, "").expect(200); !strings.Contains(got.body, `"scopes":[]`) {
		t.Errorf("a key without a scope is %s", got.body)
	}
	h.call(bare, "GET", self, "", "X-Ordinavo-Tenant", alien).expect(404).refused("not_found")
	h.now = h.now.Add(time.Minute)
	h.call(bare, "GET", self, "").expect(401).refused("unauthorized")
	h.call("", "GET", self, "").expect(401).refused("unauthorized")
}

// The answer is what the authentication found: the store is not asked again.
func TestAKeyLearnsWhatItIsForNothing(t *testing.T) {
	h := newHarness(t)
	h.call(h.reader, "GET", "/v1/event-types", "").expect(200)
	h.store.fail = http.ErrServerClosed // the key is known already
	h.call(h.reader, "GET", "/v1/api-keys/self", "").expect(200)
}
