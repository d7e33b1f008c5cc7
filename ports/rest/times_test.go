package rest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/reconciliation"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/rest"
)

// nothingReconciled has accepted nothing.
type nothingReconciled struct{}

func (nothingReconciled) DeliveriesWithin(context.Context, tenant.ID, time.Time, time.Time) (int, error) {
	return 0, nil
}

func (nothingReconciled) Hours(context.Context, tenant.ID, time.Time, time.Time) ([]reconciliation.Hour, error) {
	return nil, nil
}

func (nothingReconciled) Unsettled(context.Context, tenant.ID, time.Time, time.Time, int) ([]delivery.Delivery, error) {
	return nil, nil
}

func reconciled(d *rest.Dependencies) {
	d.Reconciliation = &reconciliation.Service{Reader: nothingReconciled{}, Now: d.Now, Kept: streamKept}
}

// getAll asks for everything there is to get, and ends the test at what the service fails at.
func (h *harness) getAll(replace ...string) {
	h.Helper()
	for path, methods := range h.document().Paths {
		if methods["get"].OperationID == "" || strings.HasSuffix(path, "/stream") {
			continue
		}
		path = strings.NewReplacer(append(replace, "{tenantId}", own, "{id}", "12", "{eventType}", "visit_report.approved")...).Replace(path)
		for _, key := range []string{h.platform, h.admin} {
			if got := h.call(key, "GET", path, "", "X-Ordinavo-Tenant", own); got.status >= 500 {
				h.Errorf("GET %s: %d %s", path, got.status, got.body)
			}
		}
	}
}

// What is stored already is shown, however far out of range it is: as the nearest moment that RFC 3339 can write.
func TestStoredTimesOutOfRangeAreShown(t *testing.T) {
	for year, want := range map[int]string{12_000: "9999-12-31T23:59:59Z", -5: "0000-01-01T00:00:00Z"} {
		h := withDeliveries(t, reconciled)
		h.now = time.Date(year, 6, 18, 17, 0, 0, 0, time.UTC)
		key := h.key(domain.Key{Tenant: own, Scopes: domain.Scopes()[:7], ExpiresAt: time.Date(12_345, 1, 1, 0, 0, 0, 0, time.UTC)})
		h.store.deliveries[0].DueAt, h.store.deliveries[0].CreatedAt, h.store.accepted[0].AcceptedAt = h.now, h.now, h.now
		path := historyOf(h)
		h.call(h.platform, "POST", "/v1/tenants", `{"tenantId":"tenant-fresh","name":"x"}`).expect(201)
		job := h.call(h.admin, "POST", "/v1/deliveries/retry", "{}", "Idempotency-Key", "k").expect(202)
		h.getAll("{subscriptionId}", strings.TrimPrefix(path, "/v1/subscriptions/"), "{deliveryId}", "dlv_0", "{eventId}", "evt_1", "{jobId}", job.text("id"))
		for get, field := range map[string]string{
			"/v1/api-keys": "createdAt", path: "overlapEnd", "/v1/jobs": "createdAt", "/v1/deliveries/dlv_0": "nextAttemptAt", "/v1/events/evt_1": "acceptedAt",
		} {
			if got := h.call(key, "GET", get, "").expect(200); !strings.Contains(got.body, `"`+field+`":"`+want+`"`) {
				t.Errorf("%s has no %s of %s: %s", get, field, want, got.body)
			}
		}
		if got := h.call(h.platform, "GET", "/v1/api-keys", "").expect(200); !strings.Contains(got.body, `"expiresAt":"9999-12-31T23:59:59Z"`) {
			t.Errorf("the keys are %s", got.body)
		}
		if got := h.call(key, "GET", path+"/history", "").expect(200); !strings.Contains(got.body, `{"field":"secretRotation.overlapEnd","before":null,"after":"`+want+`"}`) {
			t.Errorf("the history is %s", got.body)
		}
		f := h.follow(h.serve(), key, "")
		f.next()
		h.schedule(own, "dlv_9", "sub_1")
		h.step()
		if got := f.is("dlv_9", "pending"); !strings.Contains(got.data, `"createdAt":"`+want+`"`) {
			t.Errorf("the stream tells %s", got.data)
		}
	}
}
