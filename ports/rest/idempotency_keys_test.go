package rest_test

import (
	"strings"
	"testing"

	domain "github.com/ordinavo/webhooks/domain/access"
)

// A key is one text of printable characters, which logs and proxies leave as it is.
func TestWhichIdempotencyKeysThereAre(t *testing.T) {
	h := newHarness(t)
	for key, status := range map[string]int{strings.Repeat("x", 255): 201, " a~": 201, "a\tb": 400, "": 400} {
		h.call(h.admin, "POST", "/v1/subscriptions", newSubscription, "Idempotency-Key", key).expect(status)
	}
	h.call(h.admin, "POST", "/v1/subscriptions", newSubscription, "Idempotency-Key", "one", "Idempotency-Key", "another").expect(400)
}

// Whoever reads again after a conflict, and asks for the same with the ETag that is now right, is not told again that it is another.
func TestAnIdempotencyKeyIsOfItsIfMatch(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	rename := func(etag string, more ...string) answer {
		return h.call(h.admin, "PATCH", one, `{"name":"renamed"}`, append(more, "Idempotency-Key", "k", "If-Match", etag)...)
	}
	rename(`"7"`).expect(409).refused("conflict")
	rename(`"1"`).expect(409).refused("idempotency_conflict")
	if again := rename(`"7"`).expect(409); again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("not the kept answer: %s", again.body)
	}
	rename(`"1"`, "If-Match", `"7"`).expect(409).refused("idempotency_conflict") // one list in two lines
}

// What is answered may hold a secret, and is nobody's but that API key's: not even where no tenant tells two of them apart.
func TestAnIdempotencyKeyIsOfItsAPIKey(t *testing.T) {
	h := newHarness(t)
	colleague := h.key(domain.Key{Tenant: own, Scopes: domain.Scopes()[:7]})
	for path, body := range map[string]string{"/v1/subscriptions": newSubscription, "/v1/api-keys": `{"name":"x","scopes":["webhooks.read"]}`} {
		for _, caller := range []string{h.admin, colleague, h.other} {
			if got := h.call(caller, "POST", path, body, "Idempotency-Key", "k").expect(201); got.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("%s: somebody else's answer: %s", path, got.body)
			}
		}
	}
}

func TestAnIdempotencyKeyIsOfItsRoute(t *testing.T) {
	h := newHarness(t)
	one, other := "/v1/subscriptions/"+h.subscribe(), "/v1/subscriptions/"+h.subscribe()
	for _, path := range []string{one + "/pause", other + "/pause", one + "/resume"} {
		if got := h.call(h.admin, "POST", path, "", "Idempotency-Key", "k").expect(200); got.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s was not done, but answered with %s", path, got.body)
		}
	}
	h.call(h.admin, "DELETE", one, "", "Idempotency-Key", "k").expect(204)
	h.call(h.admin, "PATCH", one, "", "Idempotency-Key", "k").expect(400).refused("invalid_request")
	external := "/v1/directory/external-ids?sourceSystem=sap&entityType=customer&ordinavoId="
	h.call(h.admin, "DELETE", external+"12", "", "Idempotency-Key", "k").expect(404)
	h.call(h.admin, "DELETE", external+"13", "", "Idempotency-Key", "k").expect(409).refused("idempotency_conflict")
}
