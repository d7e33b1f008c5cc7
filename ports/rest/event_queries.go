package rest

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/event"
)

// Event is an accepted event, without its content.
type Event struct {
	EventID    string    `json:"eventId" example:"evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`
	EventType  string    `json:"eventType" example:"visit_report.approved"`
	TenantID   string    `json:"tenantId"`
	OccurredAt time.Time `json:"occurredAt"`
	AcceptedAt time.Time `json:"acceptedAt"`
	TraceID    string    `json:"traceId" doc:"Of the request that brought it."`
	SetAside   *SetAside `json:"setAside" doc:"Why it could not be handled; null unless that is so, and again once it is retried."`
	Retried    *Retried  `json:"retried" doc:"Who had it handled again last, after it was set aside; null for nobody."`
}

// TransformSchema lets properties be null. Types that embed an Event use it too.
func (Event) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	letBeNull(s, "setAside", "retried")
	return s
}

// ListedEvent is an event with its deliveries.
type ListedEvent struct {
	Event
	Deliveries     []EventDelivery `json:"deliveries" doc:"The first 20, oldest first; GET /v1/deliveries?eventId= lists all."`
	MoreDeliveries bool            `json:"moreDeliveries"`
}

// EventDelivery is one of an event's deliveries.
type EventDelivery struct {
	DeliveryID     string `json:"deliveryId"`
	SubscriptionID string `json:"subscriptionId"`
	Status         string `json:"status" enum:"pending,delivering,retrying,parked,succeeded,dead_letter,cancelled"`
}

// EventDetail is an event with what became of it.
type EventDetail struct {
	Event
	Dispositions []Disposition       `json:"dispositions" doc:"Exactly one for each subscription that the tenant had when the event was accepted, or retried; empty until it is fanned out."`
	Replays      []Disposition       `json:"replays" doc:"Deliveries that somebody asked for later."`
	CreatedLater []LaterSubscription `json:"createdLater" doc:"Subscriptions of now that were created after the event was accepted, and so did not get it then: a replay with the mode missing sends it."`
}

// LaterSubscription was created after the event.
type LaterSubscription struct {
	SubscriptionID string    `json:"subscriptionId"`
	CreatedAt      time.Time `json:"createdAt"`
	Reason         string    `json:"reason"`
}

// Disposition is what became of an event for one subscription.
type Disposition struct {
	SubscriptionID string  `json:"subscriptionId"`
	Outcome        string  `json:"outcome" enum:"delivery,not_matched,feature_gated"`
	DeliveryID     *string `json:"deliveryId" doc:"Of a delivery, as long as that is kept."`
	Status         *string `json:"status" doc:"The delivery's, as long as that is kept."`
	Reason         string  `json:"reason"`
}

// EventDetailOutput is an EventDetail as an answer.
type EventDetailOutput struct{ Body EventDetail }

type eventInput struct {
	ID string `path:"eventId" maxLength:"100"`
}

type listEventsInput struct {
	Paging
	Period
	EventType string `query:"eventType" maxLength:"100"`
	SetAside  bool   `query:"setAside" doc:"true lists only events that could not be handled, which POST /v1/events/{eventId}/retry tries again."`
}

func (a *API) listEvents(ctx context.Context, in *listEventsInput) (*PageOutput[ListedEvent], error) {
	if err := checkEventType(in.EventType); err != nil {
		return nil, err
	}
	if err := in.Period.check(); err != nil {
		return nil, err
	}
	l := a.listOf(ctx, "events", in.Paging, in.EventType, in.Since.UTC(), in.Until.UTC(), in.SetAside)
	before, err := l.afterNumber()
	if err != nil {
		return nil, err
	}
	found, err := a.Events.List(ctx, queries.EventFilter{Tenant: ownerOf(ctx), Type: event.Type(in.EventType), Since: in.Since.Time, Until: in.Until.Time,
		SetAside: in.SetAside, Before: before, Limit: l.fetch()})
	if err != nil {
		return nil, err
	}
	return pageOf(l, found, func(e queries.Listed) string { return strconv.FormatInt(e.Sequence, 10) }, viewListedEvent)
}

func viewEvent(e queries.Event) Event {
	return Event{EventID: e.ID, EventType: string(e.Type), TenantID: string(e.Tenant), OccurredAt: e.OccurredAt.UTC(),
		AcceptedAt: e.AcceptedAt.UTC(), TraceID: traceIDOf(e.TraceParent), SetAside: viewSetAside(e.SetAside), Retried: viewRetried(e.Retried)}
}

func viewListedEvent(e queries.Listed) ListedEvent {
	view := ListedEvent{Event: viewEvent(e.Event), Deliveries: []EventDelivery{}, MoreDeliveries: e.More}
	for _, d := range e.Deliveries {
		view.Deliveries = append(view.Deliveries, EventDelivery{d.ID, d.SubscriptionID, string(d.Status)})
	}
	return view
}

func viewEventDetail(e queries.Detail) EventDetail {
	view := EventDetail{Event: viewEvent(e.Event), Dispositions: viewDispositions(e.Dispositions), Replays: viewDispositions(e.Replays), CreatedLater: []LaterSubscription{}}
	for _, s := range e.Later {
		reason := "it was created after the event was accepted"
		view.CreatedLater = append(view.CreatedLater, LaterSubscription{s.ID, s.CreatedAt.UTC(), reason})
	}
	return view
}

func viewDispositions(dispositions []queries.Disposition) []Disposition {
	views := []Disposition{}
	for _, d := range dispositions {
		views = append(views, Disposition{
			SubscriptionID: d.SubscriptionID, Outcome: d.Outcome, DeliveryID: unlessEmpty(d.DeliveryID),
			Status: unlessEmpty(string(d.Status)), Reason: d.Reason,
		})
	}
	return views
}

// traceIDOf is the second part of a traceparent (W3C Trace Context, section 3.2).
func traceIDOf(traceParent string) string {
	if parts := strings.Split(traceParent, "-"); len(parts) >= 4 {
		return parts[1]
	}
	return ""
}
