package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/application/preview"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// EventPreview is what every subscription would get of an event.
type EventPreview struct {
	EventID       string                `json:"eventId" doc:"Made for the preview when the event has none."`
	EventType     string                `json:"eventType"`
	TenantID      string                `json:"tenantId"`
	Notes         []string              `json:"notes" doc:"What differs when the event is really sent, and fields of it that are not read."`
	Subscriptions []SubscriptionPreview `json:"subscriptions" doc:"Newest first."`
}

// SubscriptionPreview is what one subscription would get.
type SubscriptionPreview struct {
	SubscriptionID      string          `json:"subscriptionId"`
	SubscriptionVersion int64           `json:"subscriptionVersion"`
	Matches             bool            `json:"matches" doc:"Whether the filter wants the event."`
	Outcome             string          `json:"outcome" enum:"delivery,not_matched,feature_gated"`
	Status              *string         `json:"status" enum:"pending,parked" doc:"Of a delivery; parked while the subscription is paused or disabled."`
	Reason              string          `json:"reason" doc:"In words." example:"its pattern visit_report.* wants visit_report.approved"`
	Request             *PreviewRequest `json:"request" doc:"null when nothing would be sent."`
	Origins             []ValueOrigin   `json:"origins" doc:"Every value of the body that was looked up; all others are the event's own."`
	Warnings            []string        `json:"warnings"`
}

// PreviewRequest is what would be sent.
type PreviewRequest struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers" doc:"Signed with the live secrets. X-Ordinavo-Delivery-Id is a placeholder that was made for the preview."`
	Body    string            `json:"body" doc:"Exactly the bytes."`
}

// ValueOrigin is where a value comes from.
type ValueOrigin struct {
	Path   string `json:"path" example:"customer.externalId"`
	Value  any    `json:"value"`
	Origin string `json:"origin" enum:"directory,mapping,none"`
	Detail string `json:"detail" example:"mapping of customer 12 for source system sap"`
}

// TransformSchema lets request and status be null.
func (SubscriptionPreview) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	letBeNull(s, "request")
	status := s.Properties["status"]
	status.Enum = append(status.Enum, nil)
	return s
}

// OnePreview is a preview for one subscription.
type OnePreview struct {
	EventID   string   `json:"eventId"`
	EventType string   `json:"eventType"`
	Notes     []string `json:"notes" doc:"What differs when the event is really sent, and fields of it that are not read."`
	SubscriptionPreview
}

// OnePreviewOutput is an OnePreview as an answer.
type OnePreviewOutput struct{ Body OnePreview }

// emittedEvent is an event as POST /v1/events takes it; that route's own decoder reads it.
type emittedEvent []byte

// UnmarshalJSON keeps the bytes.
func (e *emittedEvent) UnmarshalJSON(data []byte) error {
	*e = bytes.Clone(data)
	return nil
}

// Schema is that of POST /v1/events.
func (emittedEvent) Schema(r huma.Registry) *huma.Schema {
	reference := emittedEventSchema(r)
	r.SchemaFromRef(reference.Ref).PrecomputeMessages()
	return reference
}

// PreviewWanted is the event to show, and how.
type PreviewWanted struct {
	Event          emittedEvent `json:"event,omitempty"`
	EventType      string       `json:"eventType,omitempty" maxLength:"100" doc:"A sample of this type, operational ones too, instead of an event." example:"visit_report.approved"`
	PayloadOptions NewOptions   `json:"payloadOptions,omitempty"`
}

type previewInput struct {
	SubscriptionRef
	Body *PreviewWanted
}

func (a *API) routePreviews() {
	a.routePreviewEvent()
	register(a, operation{id: "previewSubscription", method: http.MethodPost, path: "/v1/subscriptions/{subscriptionId}/preview", tag: tagSubscriptions,
		scope: access.WebhooksManage, perTenant: true, forBound: true, changesNothing: true, statuses: []int{http.StatusNotFound},
		summary: "Show what the subscription would get of an event",
		description: "The exact body and headers of an event, or of a sample, with the origin of every value that was looked up; also of one that its filter does not want. " +
			"Nothing is stored, and nothing is sent. payloadOptions are tried in place of the subscription's own, before they are saved; what they leave out is as it is. " +
			"event is as POST /v1/events takes it.",
		example: map[string]any{"eventType": "visit_report.approved", "payloadOptions": map[string]any{"summaryPreview": true}}}, a.previewSubscription)
}

func (a *API) routePreviewEvent() {
	o := operation{id: "previewEvent", method: http.MethodPost, path: pathEvents + "/preview", tag: tagEvents, scope: access.WebhooksRead, forBound: true, changesNothing: true,
		summary: "Show what every subscription would get of an event", statuses: []int{http.StatusNotFound},
		description: "One event as POST /v1/events takes it; nothing is stored, and nothing is sent. For each subscription of the tenant: whether it matches and why, " +
			"and the exact headers and body that it would get, with the origin of every value that was looked up. " +
			fmt.Sprintf("429 also says that %d previews of the tenant are under way, 503 that %d of all tenants are.", preview.MaxAtOnceForTenant, preview.MaxAtOnce)}
	described := o.describe(a)
	schemas := a.huma.OpenAPI().Components.Schemas
	described.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{contentTypeJSON: {
		Schema: emittedEventSchema(schemas),
		Example: map[string]any{
			"eventType": "visit_report.approved", "occurredAt": "2026-06-18T16:40:00Z", "tenantId": "tenant-123", "customerId": 12,
			"visitReport": map[string]any{"id": 901, "title": "Maintenance", "status": "Approved"},
		}}}}
	described.Parameters = append(described.Parameters, tenantParameter())
	described.Responses["200"] = &huma.Response{Description: "What would be sent.", Content: map[string]*huma.MediaType{
		contentTypeJSON: {Schema: schemas.Schema(reflect.TypeFor[EventPreview](), true, "EventPreview")}}}
	registerRaw(a, described, a.previewEvent)
}

// previewEvent reads the event as emit does.
func (a *API) previewEvent(ctx huma.Context) error {
	c := humafiber.Unwrap(ctx)
	body := c.Request().Body()
	if len(body) == 0 {
		return problem.New(problem.InvalidRequest, "The request has no body.")
	}
	e, unread, err := decodeEvent(ctx.Context(), body, c.Get(headerTenant))
	if err != nil {
		return err
	}
	if err := a.mustHaveTenant(ctx.Context(), e.TenantID); err != nil {
		return err
	}
	recordFrom(ctx.Context()).owner = e.TenantID
	end, err := a.Previews.Begin(e.TenantID)
	if err != nil {
		return err
	}
	handedOver := false
	defer func() {
		if !handedOver {
			end()
		}
	}()
	shown, err := a.showEvent(ctx.Context(), e, previewNotes(unread))
	if err != nil {
		return err
	}
	handedOver = true
	c.Status(http.StatusOK).Set(fiber.HeaderContentType, contentTypeJSON)
	c.Context().SetBodyStream(written{bytes.NewReader(shown), end}, len(shown))
	return nil
}

// written is an answer that counts as under way until the server has written it, or has given it up.
type written struct {
	*bytes.Reader
	end func()
}

func (w written) Close() error {
	w.end()
	return nil
}

// decodeEvent reads exactly one event, as POST /v1/events does, and names fields of it that are not read.
func decodeEvent(ctx context.Context, body []byte, named string) (e event.Event, unread []string, err error) {
	fields, r := problem.Collect(""), &eventReader{tellsUnread: true}
	if err := r.whole(body, fields); err != nil {
		return event.Event{}, nil, asRefusal(err)
	}
	if r.batch {
		return event.Event{}, nil, problem.Invalid("events", "is a batch: a preview takes one event")
	}
	if err := addressEvents(callerOf(ctx), named, r.events, false, fields); err != nil {
		return event.Event{}, nil, err
	}
	if r.unnamed {
		r.unread = append(r.unread, "others")
	}
	return r.events[0], r.unread, validateEvents(r.events, false, fields)
}

// mustHaveTenant refuses an event of an unknown tenant, as accepting it would.
func (a *API) mustHaveTenant(ctx context.Context, id tenant.ID) error {
	_, err := a.Tenants.Store.Tenant(ctx, id)
	if problem.Is(err, problem.NotFound) {
		return problem.Invalid("tenantId", "names a tenant that does not exist")
	}
	return err
}

// showEvent writes an EventPreview, a subscription at a time: the previews of thousands would take several times their text.
func (a *API) showEvent(ctx context.Context, e event.Event, notes []string) ([]byte, error) {
	e, err := a.Previews.Stored(e)
	if err != nil {
		return nil, err
	}
	subs, err := a.subscriptionsToPreview(ctx)
	if err != nil {
		return nil, err
	}
	var shown bytes.Buffer
	head := EventPreview{EventID: e.ID, EventType: string(e.Type), TenantID: string(e.TenantID), Notes: notes, Subscriptions: []SubscriptionPreview{}}
	if err := writeJSON(&shown, head); err != nil {
		return nil, err
	}
	shown.Truncate(shown.Len() - len("]}")) // the list is the last field
	first := true
	err = a.Previews.Event(ctx, e, subs, a.TraceParent(ctx), func(p preview.Preview) error {
		if !first {
			shown.WriteByte(',')
		}
		first = false
		return writeJSON(&shown, viewPreview(p))
	})
	shown.WriteString("]}")
	return shown.Bytes(), err
}

// subscriptionsToPreview is what the caller may see: for a bound key its one subscription.
func (a *API) subscriptionsToPreview(ctx context.Context) ([]subscription.Subscription, error) {
	if callerOf(ctx).SubscriptionID != "" {
		return a.subscriptionsAfter(ctx, "", 1)
	}
	return a.Previews.All(ctx, ownerOf(ctx))
}

func (a *API) previewSubscription(ctx context.Context, in *previewInput) (*OnePreviewOutput, error) {
	l, err := lane(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if _, err := a.Subscriptions.Get(ctx, l); err != nil {
		return nil, err
	}
	wanted := PreviewWanted{}
	if in.Body != nil {
		wanted = *in.Body
	}
	e, unread, err := a.eventToPreview(ctx, wanted)
	if err != nil {
		return nil, err
	}
	fields, scratch := problem.Collect("payloadOptions"), payload.Options{}
	if wanted.PayloadOptions.apply(&scratch, fields); fields.Err() != nil {
		return nil, fields.Err()
	}
	edit := func(o *payload.Options) { wanted.PayloadOptions.apply(o, problem.Collect("")) }
	shown, err := a.Previews.Subscription(ctx, l, e, edit, a.TraceParent(ctx))
	if err != nil {
		return nil, err
	}
	return &OnePreviewOutput{OnePreview{e.ID, string(e.Type), previewNotes(unread), viewPreview(shown)}}, nil
}

func (a *API) eventToPreview(ctx context.Context, wanted PreviewWanted) (e event.Event, unread []string, err error) {
	switch {
	case len(wanted.Event) == 0 && wanted.EventType == "":
		return event.Event{}, nil, problem.Invalid("event", "is missing: send an event, or the eventType of a sample")
	case len(wanted.Event) == 0:
		if err := checkEventType(wanted.EventType); err != nil {
			return event.Event{}, nil, err
		}
		return a.Previews.Sample(event.Type(wanted.EventType), ownerOf(ctx)), nil, nil
	case wanted.EventType != "":
		return event.Event{}, nil, problem.Invalid("eventType", "must not be there together with event")
	}
	if e, unread, err = decodeEvent(ctx, wanted.Event, string(ownerOf(ctx))); err != nil {
		return e, nil, beneath("event", err)
	}
	if e.TenantID != ownerOf(ctx) {
		return e, nil, problem.Invalid("event.tenantId", "is not the subscription's tenant")
	}
	e, err = a.Previews.Stored(e)
	return e, unread, err
}

// beneath puts the paths of a refusal under the field that holds what was refused.
func beneath(field string, err error) error {
	var refused *problem.Error
	if !errors.As(err, &refused) || len(refused.Fields) == 0 {
		return err
	}
	moved := *refused
	moved.Fields = make(map[string][]string, len(refused.Fields))
	for path, messages := range refused.Fields {
		if path == wholeBody {
			path = ""
		}
		moved.Fields[problem.Collect(field).Path(path)] = messages
	}
	return &moved
}

// previewNotes says what will differ in a real delivery, and what of the event is not read: nothing else tells an emitter of a name that is
// misspelt, since the event is accepted.
func previewNotes(unread []string) []string {
	notes := []string{
		"X-Ordinavo-Delivery-Id was made for this preview: a real delivery has an ID of its own.",
		"X-Ordinavo-Timestamp, webhook-timestamp, webhook-signature and traceparent are anew in each attempt.",
		"An eventId that the event does not bring was made for this preview; it is part of the body, and so of the signatures.",
	}
	if len(unread) > 0 {
		notes = append(notes, "The event has fields that are not read, and so never sent on: "+strings.Join(unread, ", ")+".")
	}
	return notes
}

func viewPreview(p preview.Preview) SubscriptionPreview {
	view := SubscriptionPreview{
		SubscriptionID: p.SubscriptionID, SubscriptionVersion: p.SubscriptionVersion, Matches: p.Matches, Outcome: p.Outcome,
		Status: unlessEmpty(string(p.Status)), Reason: p.Reason, Origins: make([]ValueOrigin, len(p.Origins)), Warnings: p.Warnings,
	}
	for i, o := range p.Origins {
		view.Origins[i] = ValueOrigin{o.Path, o.Value, string(o.Source), o.Detail}
	}
	if p.Request != nil {
		view.Request = &PreviewRequest{p.Request.URL, p.Request.Headers, string(p.Request.Body)}
	}
	return view
}
