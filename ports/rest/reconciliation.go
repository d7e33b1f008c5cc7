package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Reconciliation compares what was accepted with what became of it.
type Reconciliation struct {
	Since         time.Time           `json:"since" doc:"A whole hour; at the earliest the first of which nothing was deleted for its age (ORDINAVO_RETENTION)."`
	Until         time.Time           `json:"until" doc:"A whole hour; exclusive."`
	Balanced      bool                `json:"balanced" doc:"Accepted is the sum of dispositions, in every hour."`
	Accepted      int                 `json:"accepted" doc:"Events."`
	Dispositions  DispositionCounts   `json:"dispositions"`
	Hours         []ReconciledHour    `json:"hours" doc:"Oldest first, those in which something was accepted."`
	Unsettled     []UnsettledDelivery `json:"unsettled" doc:"Dispositions that are deliveries which are still open, oldest first; at most 200. What was replayed as a new delivery is not among them."`
	MoreUnsettled bool                `json:"moreUnsettled"`
}

// ReconciledHour is one hour of acceptance.
type ReconciledHour struct {
	Hour         time.Time         `json:"hour" doc:"Its beginning."`
	Balanced     bool              `json:"balanced"`
	Accepted     int               `json:"accepted" doc:"Events."`
	Waiting      int               `json:"waiting" doc:"Of them, those that are not fanned out yet and so have no dispositions."`
	Expected     int               `json:"expected" doc:"Dispositions that the others must have: for each event the subscriptions that its tenant had."`
	Dispositions DispositionCounts `json:"dispositions"`
	Missing      *string           `json:"missing" doc:"What does not balance, in words; null when all does."`
}

// DispositionCounts is what became of events, by outcome.
type DispositionCounts struct {
	Deliveries   map[string]int `json:"deliveries" doc:"By the status that they have now; replays do not count."`
	NotMatched   int            `json:"notMatched"`
	FeatureGated int            `json:"featureGated"`
	SetAside     int            `json:"setAside" doc:"The event could not be handled; GET /v1/events/{eventId} says why."`
}

// UnsettledDelivery is one that is still open.
type UnsettledDelivery struct {
	DeliveryID     string `json:"deliveryId"`
	EventID        string `json:"eventId"`
	SubscriptionID string `json:"subscriptionId"`
	Status         string `json:"status" enum:"pending,delivering,retrying,parked"`
	Reason         string `json:"reason" example:"attempt 2 failed, the next is due at 2026-06-18T17:00:00Z"`
	Link           string `json:"link" example:"/v1/deliveries/dlv_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`
}

// ReconciliationOutput is a Reconciliation as an answer.
type ReconciliationOutput struct{ Body Reconciliation }

type reconciliationInput struct {
	Since queryTime `query:"since" doc:"RFC 3339, when the events were accepted, not in the future; the default is a day before until."`
	Until queryTime `query:"until" doc:"RFC 3339, exclusive; the default is now."`
}

func (a *API) routeReconciliation() {
	register(a, operation{id: "reconcile", method: http.MethodGet, path: "/v1/reconciliation", tag: tagEvents, scope: access.DeliveriesRead, perTenant: true,
		summary: "Hold what was accepted against what became of it",
		description: fmt.Sprintf("By hour of acceptance: accepted events times the subscriptions of the moment are the sum of dispositions. "+
			"At most 31 days at once, and of more than one hour at most %d deliveries.", reconciliation.MaxDeliveries)}, a.reconcile)
}

func (a *API) reconcile(ctx context.Context, in *reconciliationInput) (*ReconciliationOutput, error) {
	if err := (Period{in.Since, in.Until}).check(); err != nil {
		return nil, err
	}
	report, err := a.Reconciliation.Report(ctx, ownerOf(ctx), in.Since.Time, in.Until.Time)
	if err != nil {
		return nil, err
	}
	return &ReconciliationOutput{viewReconciliation(report)}, nil
}

func viewReconciliation(r reconciliation.Report) Reconciliation {
	view := Reconciliation{Since: r.Since.UTC(), Until: r.Until.UTC(), Balanced: true, Hours: []ReconciledHour{}, Unsettled: []UnsettledDelivery{},
		Dispositions: DispositionCounts{Deliveries: map[string]int{}}, MoreUnsettled: r.More}
	for _, h := range r.Hours {
		shown := viewHour(h)
		view.Hours = append(view.Hours, shown)
		view.Balanced = view.Balanced && shown.Balanced
		view.Accepted += shown.Accepted
		view.Dispositions.add(shown.Dispositions)
	}
	for _, d := range r.Unsettled {
		view.Unsettled = append(view.Unsettled, UnsettledDelivery{d.ID, d.EventID, d.SubscriptionID, string(d.Status), unsettledReason(d), "/v1/deliveries/" + d.ID})
	}
	return view
}

func viewHour(h reconciliation.Hour) ReconciledHour {
	counts := DispositionCounts{Deliveries: map[string]int{}, NotMatched: h.Counted.NotMatched, FeatureGated: h.There.FeatureGated, SetAside: h.Counted.SetAside}
	for status, n := range h.There.Deliveries {
		counts.Deliveries[string(status)] = n
	}
	return ReconciledHour{Hour: h.Begins.UTC(), Balanced: h.Balanced(), Accepted: h.Counted.Events + h.Waiting, Waiting: h.Waiting,
		Expected: h.Counted.Expected, Dispositions: counts, Missing: unlessEmpty(h.Missing().String())}
}

func (c *DispositionCounts) add(more DispositionCounts) {
	for status, n := range more.Deliveries {
		c.Deliveries[status] += n
	}
	c.NotMatched += more.NotMatched
	c.FeatureGated += more.FeatureGated
	c.SetAside += more.SetAside
}

func unsettledReason(d delivery.Delivery) string {
	switch d.Status {
	case delivery.StatusRetrying:
		return fmt.Sprintf("attempt %d failed, the next is due at %s", d.Attempts, d.DueAt.UTC().Format(time.RFC3339))
	case delivery.StatusParked:
		return "the subscription is paused or disabled, or was when the event came; it waits until the subscription is resumed"
	case delivery.StatusDelivering:
		return fmt.Sprintf("attempt %d is under way", d.Attempts+1)
	default:
		return "it waits for an attempt"
	}
}
