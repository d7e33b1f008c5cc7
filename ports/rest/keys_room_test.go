package rest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	domain "github.com/ordinavo/webhooks/domain/access"
)

func TestLiveKeysOfATenantAreBounded(t *testing.T) {
	h := newHarness(t)
	const body = `{"name":"one more","scopes":["webhooks.read"]}`
	var last string
	for h.liveKeys() < access.MaxLivePerTenant {
		last = h.key(domain.Key{Tenant: own, Scopes: []domain.Scope{domain.WebhooksRead}})
	}
	if got := h.call(h.admin, "POST", "/v1/api-keys", body).expect(403).refused("forbidden"); !strings.Contains(got.body, fmt.Sprintf("has %d live keys, and may have %[1]d", access.MaxLivePerTenant)) {
		t.Error(got.body)
	}
	h.call(h.other, "POST", "/v1/api-keys", body).expect(201)
	h.call(h.platform, "POST", "/v1/api-keys", body).expect(201)
	h.call(h.admin, "DELETE", "/v1/api-keys/"+strings.TrimPrefix(last, "ord_live_"), "").expect(204)
	h.call(h.admin, "POST", "/v1/api-keys", body).expect(201)
	h.call(h.admin, "POST", "/v1/api-keys", body).expect(403)
}

func (h *harness) liveKeys() int {
	n, err := h.store.CountKeys(h.Context(), own, h.now.Add(time.Second))
	if err != nil {
		h.Fatal(err)
	}
	return n
}
