package rest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
)

func (f *fake) CountDeliveries(_ context.Context, lane dispatch.Lane, upTo int) (queries.Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return queries.Counts{
		delivery.StatusPending: {Number: 3}, delivery.StatusDelivering: {Number: 2}, delivery.StatusRetrying: {Number: 4},
		delivery.StatusParked: {Number: upTo, More: true}, delivery.StatusDeadLetter: {Number: len(lane.Tenant)},
	}, f.fail
}

// How a subscription does at a glance: what of it waits, is parked or was given up.
func TestASubscriptionsDeliveriesAreCounted(t *testing.T) {
	h := newHarness(t)
	id := h.subscribe()
	path := "/v1/subscriptions/" + id + "/counts"
	want := `{"subscriptionId":"` + id + `","pending":{"count":3,"more":false},"delivering":{"count":2,"more":false},"retrying":{"count":4,"more":false},` +
		`"parked":{"count":1000,"more":true},"deadLetter":{"count":10,"more":false}}`
	bound := h.key(domain.Key{Tenant: own, Scopes: []domain.Scope{domain.DeliveriesRead}, SubscriptionID: id})
	for _, key := range []string{h.admin, bound} {
		if got := h.call(key, "GET", path, "").expect(http.StatusOK); strings.TrimSpace(got.body) != want {
			t.Errorf("got %s\nwant %s", got.body, want)
		}
	}
	h.call(h.platform, "GET", path, "", "X-Ordinavo-Tenant", own).expect(http.StatusOK)
	h.call(h.platform, "GET", path, "", "X-Ordinavo-Tenant", alien).expect(http.StatusNotFound).refused("not_found")
	h.call(h.other, "GET", path, "").expect(http.StatusNotFound).refused("not_found")
	h.call(h.bound, "GET", path, "").expect(http.StatusNotFound).refused("not_found")
	h.call(h.reader, "GET", path, "").expect(http.StatusForbidden).refused("missing_scope")
	h.call(h.admin, "DELETE", "/v1/subscriptions/"+id, "").expect(http.StatusNoContent)
	h.call(h.admin, "GET", path, "").expect(http.StatusNotFound).refused("not_found")
}
