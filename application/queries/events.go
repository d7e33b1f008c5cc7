package queries

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/circuit"
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
	// Sequence orders a tenant's events as they were accepted, or retried.
	Sequence int64
	// SetAside is why fan-out could not handle it; nil unless that is so.
	SetAside *fanout.SetAside
	// Retried is who had it fanned out again last; nil for nobody.
	Retried *Retried
}

// Retried says who had an event that was set aside fanned out again.
type Retried struct {
	At      time.Time `json:"at"`
	KeyID   string    `json:"keyId"`
	KeyName string    `json:"keyName"`
}

// EventFilter picks accepted events of one tenant; a zero field picks all.
type EventFilter struct {
	Tenant       tenant.ID
	Type         event.Type
	Since, Until time.Time // of acceptance; until is exclusive
	SetAside     bool      // only those that fan-out could not handle
	Before       int64     // the sequence that ended the last page; 0 for the first page
	Limit        int
}

// Gated is a disposition decided by a missing feature.
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
	// FannedOut says whether fan-out is done with the event.
	FannedOut(ctx context.Context, e Event) (bool, error)
	// GatedOf lists what a missing feature kept back.
	GatedOf(ctx context.Context, owner tenant.ID, eventID string) ([]Gated, error)
	// SubscriptionsAt is the tenants' subscriptions as they were at the position, without deleted ones and those that are lost; see
	// fanout.Store.
	SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) (list []subscription.Subscription, lost []dispatch.Lane, err error)
	// Circuits tells which of the tenant's receivers are spared, by subscription, as reported by processes whose heartbeat was seen
	// since the given time.
	Circuits(ctx context.Context, owner tenant.ID, subscriptionIDs []string, heartbeatSince time.Time) (map[string]circuit.Report, error)
	// ListSubscriptions is those of now, newest first, without deleted ones; after is empty for the first page.
	ListSubscriptions(ctx context.Context, owner tenant.ID, after string, limit int) ([]subscription.Subscription, error)
	// DeliveriesOf lists deliveries of each of the events, oldest first, at most the given number of each.
	DeliveriesOf(ctx context.Context, owner tenant.ID, eventIDs []string, each int) (map[string][]delivery.Delivery, error)
}

// ShownDeliveries is how many deliveries of each event the list of events shows.
const ShownDeliveries = 20

// Listed is an accepted event with its deliveries, oldest first.
type Listed struct {
	Event
	Deliveries []delivery.Delivery
	More       bool // there are others
}

// List lists accepted events, newest first, each with its deliveries.
func (q *Events) List(ctx context.Context, filter EventFilter) ([]Listed, error) {
	events, err := q.Reader.AcceptedEvents(ctx, filter)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	deliveries, err := q.Reader.DeliveriesOf(ctx, filter.Tenant, ids, ShownDeliveries+1)
	if err != nil {
		return nil, fmt.Errorf("list the deliveries of %d events: %w", len(events), err)
	}
	listed := make([]Listed, len(events))
	for i, e := range events {
		of := deliveries[e.ID]
		listed[i] = Listed{e, of[:min(len(of), ShownDeliveries)], len(of) > ShownDeliveries}
	}
	return listed, nil
}

// Events answers questions about accepted events.
type Events struct {
	Reader EventReader
	Now    func() time.Time
}
