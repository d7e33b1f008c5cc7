package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// DeliveryCounts is how many of a subscription's deliveries have which status.
type DeliveryCounts struct {
	SubscriptionID string        `json:"subscriptionId" example:"sub_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`
	Pending        DeliveryCount `json:"pending"`
	Delivering     DeliveryCount `json:"delivering"`
	Retrying       DeliveryCount `json:"retrying"`
	Parked         DeliveryCount `json:"parked"`
	DeadLetter     DeliveryCount `json:"deadLetter"`
}

// DeliveryCount is how many there are, if no more.
type DeliveryCount struct {
	Count int  `json:"count" example:"12"`
	More  bool `json:"more" doc:"Whether there may be more than count."`
}

// DeliveryCountsOutput is DeliveryCounts as an answer.
type DeliveryCountsOutput struct{ Body DeliveryCounts }

func (a *API) routeCounts(one string) {
	register(a, operation{id: "countDeliveries", method: http.MethodGet, path: one + "/counts", tag: tagSubscriptions, scope: access.DeliveriesRead, perTenant: true, forBound: true,
		summary: "Count the deliveries that are open, and dead letters",
		description: fmt.Sprintf("As they are now, by the statuses of GET /v1/deliveries. Of each status %d are counted at most: more says that there may be others. "+
			"As pending and retrying wait together, so it does of both when either has too many. Events that have no deliveries yet are in none. "+
			"GET /v1/metrics/deliveries?subscriptionId= counts attempts, and tells how long they took.", queries.MaxCounted)}, a.countDeliveries)
}

func (a *API) countDeliveries(ctx context.Context, in *SubscriptionRef) (*DeliveryCountsOutput, error) {
	l, err := lane(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if _, err := a.Subscriptions.Get(ctx, l); err != nil {
		return nil, err
	}
	counts, err := a.Deliveries.Counts.CountDeliveries(ctx, l, queries.MaxCounted)
	if err != nil {
		return nil, err
	}
	of := func(s delivery.Status) DeliveryCount { return DeliveryCount{counts[s].Number, counts[s].More} }
	return &DeliveryCountsOutput{DeliveryCounts{l.SubscriptionID, of(delivery.StatusPending), of(delivery.StatusDelivering),
		of(delivery.StatusRetrying), of(delivery.StatusParked), of(delivery.StatusDeadLetter)}}, nil
}
