package rest

import (
	"context"
	"reflect"
	"strconv"
	"strings"
	"time"

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
}

// EventDetail is an event with what became of it.
type EventDetail struct {
	Event
	Dispositions []Disposition `json:"dispositions"`
}

// Disposition is what became of an event for one subscription.
type Disposition struct {
	SubscriptionID string  `json:"subscriptionId"`
	Outcome        string  `json:"outcome" enum:"delivery,not_matched,feature_gated"`
	DeliveryID     *string `json:"deliveryId"`
	Status         *string `json:"status" doc:"The delivery's."`
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
}

func (a *API) listEvents(ctx context.Context, in *listEventsInput) (*PageOutput[Event], error) {
	if in.EventType != "" && !event.Type(in.EventType).Known() {
		return nil, invalid("eventType", "is not a known event type")
	}
	if err := in.Period.check(); err != nil {
		return nil, err
	}
	l := a.listOf(ctx, "events", in.Paging, in.EventType, in.Since.UTC(), in.Until.UTC())
	after, err := l.after()
	if err != nil {
		return nil, err
	}
	filter := queries.EventFilter{Tenant: ownerOf(ctx), Type: event.Type(in.EventType), Since: in.Since, Until: in.Until, Limit: l.fetch()}
	if after != "" {
		if filter.Before, err = strconv.ParseInt(after, 10, 64); err != nil || filter.Before < 1 {
			return nil, invalid("cursor", "is not a cursor of this list")
		}
	}
	found, err := a.Events.Reader.AcceptedEvents(ctx, filter)
	if err != nil {
		return nil, err
	}
	return pageOf(l, found, func(e queries.Event) string { return strconv.FormatInt(e.Sequence, 10) }, viewEvent)
}

func viewEvent(e queries.Event) Event {
	return Event{EventID: e.ID, EventType: string(e.Type), TenantID: string(e.Tenant), OccurredAt: e.OccurredAt.UTC(),
		AcceptedAt: e.AcceptedAt.UTC(), TraceID: traceIDOf(e.TraceParent)}
}

func viewEventDetail(e queries.Event, dispositions []queries.Disposition) EventDetail {
	view := EventDetail{Event: viewEvent(e), Dispositions: []Disposition{}}
	for _, d := range dispositions {
		view.Dispositions = append(view.Dispositions, Disposition{
			SubscriptionID: d.SubscriptionID, Outcome: d.Outcome, DeliveryID: unlessEmpty(d.DeliveryID),
			Status: unlessEmpty(string(d.Status)), Reason: d.Reason,
		})
	}
	return view
}

// traceIDOf is the second part of a traceparent (W3C Trace Context, section 3.2).
func traceIDOf(traceParent string) string {
	if parts := strings.Split(traceParent, "-"); len(parts) >= 4 {
		return parts[1]
	}
	return ""
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
