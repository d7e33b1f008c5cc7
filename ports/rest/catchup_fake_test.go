package rest_test

import (
	"context"
	"slices"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func (f *fake) EventsAfter(_ context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error) {
	found := slices.DeleteFunc(slices.Clone(f.accepted), func(e queries.Event) bool { return e.Tenant != owner || e.Sequence <= sequence })
	return found[:min(limit, len(found))], f.fail
}

func (f *fake) NewestOf(_ context.Context, lane dispatch.Lane, eventIDs []string) (map[string]delivery.Delivery, error) {
	newest := map[string]delivery.Delivery{}
	for _, d := range f.deliveries {
		if d.Tenant == lane.Tenant && d.SubscriptionID == lane.SubscriptionID && slices.Contains(eventIDs, d.EventID) {
			newest[d.EventID] = d
		}
	}
	return newest, f.fail
}

func (f *fake) EventBodies(_ context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	bodies := map[string][]fanout.Body{}
	for _, id := range eventIDs {
		bodies[id] = []fanout.Body{{Tenant: owner, EventID: id, Number: 1, Bytes: []byte(`{"eventId":"` + id + `"}`)}}
	}
	return bodies, f.fail
}
