package telemetry

import (
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

// Observer makes the spans along an event's way and counts what happens there. Intake, fan-out and dispatch
// report to it.
type Observer struct {
	tracer  trace.Tracer
	metrics *Metrics
	now     func() time.Time
	// Damage can be in a hundred thousand places at once. Each is counted, and what cannot be handled is listed.
	damaged, aside rate.Sometimes
}

// Observer makes an observer; now is the clock that stamps acceptance too.
func (t *Telemetry) Observer(now func() time.Time) *Observer {
	few := func() rate.Sometimes { return rate.Sometimes{First: 8, Interval: time.Second} }
	return &Observer{tracer: t.Tracer(), metrics: t.metrics, now: now, damaged: few(), aside: few()}
}

// LinkAfter is the age of an event after which its fan-out and its attempts begin traces of their own, linked to what they follow:
// trace stores do not join spans that arrive hours apart.
const LinkAfter = time.Hour

// Attributes of this service's own; their values are IDs and small sets.
const (
	attrTenant       = attribute.Key("ordinavo.tenant.id")
	attrEvent        = attribute.Key("ordinavo.event.id")
	attrEventType    = attribute.Key("ordinavo.event.type")
	attrSubscription = attribute.Key("ordinavo.subscription.id")
	attrDelivery     = attribute.Key("ordinavo.delivery.id")
	attrAttempt      = attribute.Key("ordinavo.attempt.number")
	attrOutcome      = attribute.Key("ordinavo.attempt.outcome")
	attrDeliveries   = attribute.Key("ordinavo.deliveries")
)

// EventsAccepted counts the events of one request.
func (o *Observer) EventsAccepted(ctx context.Context, accepted []event.Type, duplicates int) {
	o.metrics.EventsAccepted(ctx, accepted, duplicates)
}

// EventsRefused counts events that were refused for lack of room.
func (o *Observer) EventsRefused(ctx context.Context, why intake.Reason, events int) {
	o.metrics.EventsRefused(ctx, string(why), events)
}

// FanOut begins the span of one event's fan-out, which follows the request that brought the event. Its
// attributes follow the semantic conventions for messaging.
func (o *Observer) FanOut(ctx context.Context, e intake.Accepted) (traceParent string, end func(deliveries int, err error)) {
	ctx, options := follow(ctx, e.TraceParent, o.now().Sub(e.At), trace.SpanKindConsumer)
	ctx, span := o.tracer.Start(ctx, "process events", options...)
	if span.IsRecording() {
		span.SetAttributes(
			semconv.MessagingSystemKey.String("ordinavo"), semconv.MessagingDestinationName(fanout.TopicEvents),
			semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess, semconv.MessagingMessageID(e.ID),
			attrTenant.String(string(e.TenantID)), attrEvent.String(e.ID), attrEventType.String(string(e.Type)),
		)
	}
	return TraceParent(ctx), func(deliveries int, err error) {
		span.SetAttributes(attrDeliveries.Int(deliveries))
		if err != nil { // its text may quote what the emitter sent
			span.SetStatus(codes.Error, "fan-out failed")
		} else {
			o.metrics.EventFannedOut(ctx, deliveries, o.now().Sub(e.At))
		}
		span.End()
	}
}

// follow makes a span a child of the one that the trace parent names, or of an event as old as LinkAfter a root that is linked to it.
func follow(ctx context.Context, traceParent string, age time.Duration, kind trace.SpanKind) (context.Context, []trace.SpanStartOption) {
	origin := WithTraceParent(ctx, traceParent)
	if age < LinkAfter {
		return origin, []trace.SpanStartOption{trace.WithSpanKind(kind)}
	}
	return ctx, []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(origin))}
}

// AttemptStarted begins the span of one attempt. Its attributes follow the semantic conventions for HTTP
// clients, without the URL's path and query, where receivers keep tokens.
func (o *Observer) AttemptStarted(ctx context.Context, l dispatch.Leased, number int) (context.Context, dispatch.AttemptSpan) {
	now := o.now()
	ctx, options := follow(ctx, l.TraceParent, now.Sub(l.AcceptedAt), trace.SpanKindClient)
	ctx, span := o.tracer.Start(ctx, "POST", options...)
	if span.IsRecording() {
		span.SetAttributes(requestAttributes(l, number)...)
	}
	if !l.Test { // else an admin who tries a subscription would hide that nothing is attempted
		o.metrics.AttemptStarted(ctx)
	}
	if !l.Test && !l.Spared { // what waits for a receiver that is spared is not late
		o.metrics.AttemptDelayed(ctx, min(now.Sub(l.Delivery.DueAt), now.Sub(l.Delivery.UpdatedAt))) // what was parked was due before it was released
	}
	return ctx, dispatch.AttemptSpan{
		TraceID:     span.SpanContext().TraceID().String(),
		TraceParent: TraceParent(ctx),
		End: func(outcome delivery.Outcome) {
			if !l.Test {
				o.metrics.AttemptDone(ctx, outcome)
			}
			endAttempt(span, outcome)
		},
		NotMade: func(outcome delivery.Outcome) {
			if !l.Test {
				o.metrics.AttemptNotMade(ctx)
			}
			endAttempt(span, outcome)
		},
	}
}

func endAttempt(span trace.Span, outcome delivery.Outcome) {
	if span.IsRecording() {
		describeOutcome(span, outcome)
	}
	span.End()
}

func requestAttributes(l dispatch.Leased, number int) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		semconv.HTTPRequestMethodPost,
		attrTenant.String(string(l.Delivery.Tenant)), attrEvent.String(l.Delivery.EventID), attrEventType.String(string(l.Delivery.EventType)),
		attrSubscription.String(l.Delivery.SubscriptionID), attrDelivery.String(l.Delivery.ID), attrAttempt.Int(number),
	}
	if number > 1 {
		attributes = append(attributes, semconv.HTTPRequestResendCount(number-1))
	}
	if receiver, err := url.Parse(l.Subscription.URL); err == nil {
		attributes = append(attributes, semconv.URLScheme(receiver.Scheme), semconv.ServerAddress(receiver.Hostname()), semconv.ServerPort(port(receiver)))
	}
	return attributes
}

func port(u *url.URL) int {
	if number, err := strconv.Atoi(u.Port()); err == nil {
		return number
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

func describeOutcome(span trace.Span, o delivery.Outcome) {
	span.SetAttributes(attrOutcome.String(string(o.Kind)))
	if o.Status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(o.Status))
	}
	if o.Succeeded() {
		return
	}
	kind := string(o.Kind)
	if o.Kind == delivery.KindHTTPStatus {
		kind = strconv.Itoa(o.Status)
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.SetStatus(codes.Error, string(o.Kind))
}

// SubscriptionUnreadable counts a change that cannot be read and logs where it is: nothing else tells the operator.
func (o *Observer) SubscriptionUnreadable(ctx context.Context, c fanout.SubscriptionChange) {
	o.metrics.SubscriptionUnreadable(ctx)
	slog.ErrorContext(ctx, "a change of a subscription cannot be read, and the subscription as it is now stands in for it",
		"tenantId", c.Tenant, "subscriptionId", c.SubscriptionID, "position", c.Position, "version", c.Version, "error", c.Unreadable)
}

// SubscriptionLost counts a subscription of which nothing can be read, and logs which.
func (o *Observer) SubscriptionLost(ctx context.Context, lane dispatch.Lane) {
	o.metrics.SubscriptionUnreadable(ctx)
	slog.ErrorContext(ctx, "neither a subscription's state nor its changes can be read, and it gets no deliveries",
		"tenantId", lane.Tenant, "subscriptionId", lane.SubscriptionID)
}

// RecordUnreadable counts a record of events that is damaged, and logs where it is; of many, where one in a second is.
func (o *Observer) RecordUnreadable(ctx context.Context, r fanout.Record) {
	o.metrics.RecordUnreadable(ctx)
	o.damaged.Do(func() {
		slog.ErrorContext(ctx, "a record of accepted events cannot be read, and they are found by what is kept with each of them",
			"position", r.Position, "events", len(r.Keys), "error", r.Unreadable)
	})
}

// EventSetAside logs an event that could not be handled; of many, one in a second. Why may quote what the emitter sent: the API says it to the
// tenant.
func (o *Observer) EventSetAside(ctx context.Context, p fanout.SetAside) {
	o.aside.Do(func() {
		slog.ErrorContext(ctx, "an event could not be handled and is set aside: GET /v1/events/{eventId} says why", "tenantId", p.Tenant, "eventId", p.EventID)
	})
}

// StaleLease counts an outcome that was refused.
func (o *Observer) StaleLease(ctx context.Context, _ string) { o.metrics.StaleLease(ctx) }

// DeliveriesEnded counts deliveries that reached a terminal status.
func (o *Observer) DeliveriesEnded(ctx context.Context, status delivery.Status, n int) {
	o.metrics.DeliveriesEnded(ctx, status, n)
}
