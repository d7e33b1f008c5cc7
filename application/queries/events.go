package queries

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Event is an accepted event, without its content.
type Event struct {
	ID         string
	Type       event.Type
	Tenant     tenant.ID
	OccurredAt time.Time
	AcceptedAt time.Time
	// TraceParent is the trace context of the request that brought it.
	TraceParent string
	// Position is that of its record in the log.
	Position int64
	// Sequence orders a tenant's events as they were accepted.
	Sequence int64
}

// EventFilter picks accepted events of one tenant; a zero field picks all.
type EventFilter struct {
	Tenant       tenant.ID
	Type         event.Type
	Since, Until time.Time // of acceptance; until is exclusive
	Before       int64     // the sequence that the last page ended with; 0 for the first page
	Limit        int
}

// Gated is a disposition that a missing feature decided.
type Gated struct {
	SubscriptionID string
	Feature        tenant.Feature
}

// EventReader reads accepted events and what they met.
type EventReader interface {
	// AcceptedEvents lists newest first.
	AcceptedEvents(ctx context.Context, filter EventFilter) ([]Event, error)
	// Event answers problem.NotFound when the tenant has no such event.
	Event(ctx context.Context, owner tenant.ID, id string) (Event, error)
	// FannedOut says whether fan-out has come past the position.
	FannedOut(ctx context.Context, position int64) (bool, error)
	// GatedOf lists what a missing feature kept back.
	GatedOf(ctx context.Context, owner tenant.ID, eventID string) ([]Gated, error)
	// SubscriptionsAt is the tenant's subscriptions as they were at the position, without deleted ones.
	SubscriptionsAt(ctx context.Context, owner tenant.ID, position int64) ([]subscription.Subscription, error)
}

// What became of an event for one subscription.
const (
	OutcomeDelivery     = "delivery"
	OutcomeNotMatched   = "not_matched"
	OutcomeFeatureGated = "feature_gated"
)

// Disposition is what became of an event for one subscription.
type Disposition struct {
	SubscriptionID string
	Outcome        string
	DeliveryID     string          // of a delivery
	Status         delivery.Status // of a delivery
	Reason         string
}

// Events answers questions about accepted events.
type Events struct {
	Reader     EventReader
	Deliveries DeliveryReader
}

// maxDeliveriesPerEvent is the quota of subscriptions with room for replays.
const maxDeliveriesPerEvent = 5000

// Detail is an event with exactly one disposition for each subscription that its tenant had when it
// was accepted. They are empty until the event is fanned out.
func (q *Events) Detail(ctx context.Context, owner tenant.ID, id string) (Event, []Disposition, error) {
	e, err := q.Reader.Event(ctx, owner, id)
	if err != nil {
		return Event{}, nil, err
	}
	done, err := q.Reader.FannedOut(ctx, e.Position)
	if err != nil || !done {
		return e, []Disposition{}, err
	}
	dispositions, err := q.dispositions(ctx, e)
	if err != nil {
		return Event{}, nil, fmt.Errorf("find the dispositions of %s: %w", id, err)
	}
	return e, dispositions, nil
}

func (q *Events) dispositions(ctx context.Context, e Event) ([]Disposition, error) {
	deliveries, err := q.Deliveries.Deliveries(ctx, DeliveryFilter{Tenant: e.Tenant, EventID: e.ID, Limit: maxDeliveriesPerEvent})
	if err != nil {
		return nil, err
	}
	gated, err := q.Reader.GatedOf(ctx, e.Tenant, e.ID)
	if err != nil {
		return nil, err
	}
	subscriptions, err := q.Reader.SubscriptionsAt(ctx, e.Tenant, e.Position)
	if err != nil {
		return nil, err
	}
	settled, all := map[string]bool{}, []Disposition{}
	for _, d := range deliveries {
		settled[d.SubscriptionID] = true
		all = append(all, Disposition{d.SubscriptionID, OutcomeDelivery, d.ID, d.Status, "its filter wants " + string(e.Type)})
	}
	for _, g := range gated {
		settled[g.SubscriptionID] = true
		all = append(all, Disposition{SubscriptionID: g.SubscriptionID, Outcome: OutcomeFeatureGated,
			Reason: "the tenant did not have the feature " + string(g.Feature) + " when the event was fanned out"})
	}
	for _, s := range subscriptions {
		if !settled[s.ID] {
			all = append(all, Disposition{SubscriptionID: s.ID, Outcome: OutcomeNotMatched, Reason: whyNot(s, e.Type)})
		}
	}
	return all, nil
}

func whyNot(s subscription.Subscription, t event.Type) string {
	if s.EventTypes.Matches(t) {
		return "it matched, but the event could not be handled and was set aside; the log's poison topic says why"
	}
	return fmt.Sprintf("its filter (%s) does not want %s", strings.Join(s.EventTypes, ", "), t)
}
