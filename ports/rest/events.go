package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const pathEvents = "/v1/events"

// emit accepts events. It is the busiest route, so it decodes by hand.
func (a *API) emit(ctx huma.Context) error {
	c := humafiber.Unwrap(ctx)
	end, err := a.atWork.begin(ctx.Context(), len(c.Request().Body()))
	if err != nil {
		return err
	}
	defer end()
	fields := problem.Collect("")
	events, batch, err := decodeBody(c, fields)
	if err != nil {
		return asRefusal(err)
	}
	if err := addressEvents(callerOf(ctx.Context()), c.Get(headerTenant), events, batch, fields); err != nil {
		return err
	}
	if err := validateEvents(events, batch, fields); err != nil {
		return err
	}
	r := recordFrom(ctx.Context())
	r.owner = events[0].TenantID
	results, err := a.Intake.Accept(ctx.Context(), events, a.TraceParent(ctx.Context()), a.keepAccepted(r.reservation))
	if err != nil {
		return withoutIndex(err, batch)
	}
	r.kept = r.reservation != nil
	c.Status(http.StatusAccepted).Set(fiber.HeaderContentType, contentTypeJSON)
	return c.Send(encodeResults(results))
}

// keepAccepted keeps the answer to a request with an Idempotency-Key together with the events, so that a repeated request gets it whenever
// the process dies.
func (a *API) keepAccepted(r *idempotency.Reservation) intake.Keep {
	if r == nil {
		return nil
	}
	return func(ctx context.Context, results []intake.Result) error {
		return a.Idempotency.Keep(ctx, r, &idempotency.Answer{Status: http.StatusAccepted,
			Header: map[string]string{fiber.HeaderContentType: contentTypeJSON}, Body: encodeResults(results)})
	}
}

func decodeBody(c *fiber.Ctx, fields problem.Fields) (events []event.Event, batch bool, err error) {
	mediaType, err := contentType(c)
	if err != nil {
		return nil, false, err
	}
	body := c.Request().Body()
	if len(body) == 0 {
		return nil, false, problem.New(problem.InvalidRequest, "The request has no body.")
	}
	if mediaType == contentTypeNDJSON {
		events, err = decodeLines(body, fields)
		return events, true, err
	}
	return decodeEvents(body, fields)
}

func asRefusal(err error) error {
	var decode *decodeError
	if errors.As(err, &decode) {
		return decode.problem()
	}
	return err
}

// addressEvents fills in the tenant of events that name none. A tenant's key emits for its own tenant alone; a platform key may name one
// for all events in the header. An event that names another tenant than the header is refused: nobody knows whose it is.
func addressEvents(caller access.Key, named string, events []event.Event, batch bool, fields problem.Fields) error {
	own := caller.Tenant
	if caller.IsPlatform() {
		own = tenant.ID(named)
	}
	for i := range events {
		if events[i].TenantID == "" {
			events[i].TenantID = own
		}
		// A malformed ID is left for validation to refuse.
		if !caller.IsPlatform() && events[i].TenantID != own && events[i].TenantID.Valid() {
			return problem.New(problem.Forbidden, "A tenant's key emits events for its own tenant only.")
		}
		if named != "" && events[i].TenantID != own {
			fieldsOfEvent(fields, batch, i).Add("tenantId", "is not the tenant that "+headerTenant+" names: leave one of them out, or name the same in both")
		}
	}
	return nil
}

// fieldsOfEvent is the collection for the fields of one event; when it was sent alone, their paths name no index.
func fieldsOfEvent(fields problem.Fields, batch bool, i int) problem.Fields {
	if !batch {
		return fields
	}
	return fields.Under("events").Under(problem.Index(i))
}

// validateEvents adds what the domain finds to what the decoder found. A field that could not be read is not also reported as missing, and
// neither is anything inside it.
func validateEvents(events []event.Event, batch bool, fields problem.Fields) error {
	unread := fieldsOf(fields.Err())
	found := problem.Collect("")
	for i := range events {
		events[i].Validate(fieldsOfEvent(found, batch, i))
	}
	for path, messages := range fieldsOf(found.Err()) {
		if unreadable(unread, path) {
			continue
		}
		for _, message := range messages {
			fields.Add(path, "%s", message)
		}
	}
	return fields.Err()
}

// unreadable reports whether the field, or one that holds it, is among those that could not be read.
func unreadable(unread map[string][]string, path string) bool {
	for {
		if _, known := unread[path]; known {
			return true
		}
		end := strings.LastIndexByte(path, '.')
		if end < 0 {
			return false
		}
		path = path[:end]
	}
}

// withoutIndex takes events[0]. off the paths when the caller sent one event and no list.
func withoutIndex(err error, batch bool) error {
	var refused *problem.Error
	if batch || !errors.As(err, &refused) || len(refused.Fields) == 0 {
		return err
	}
	plain := *refused
	plain.Fields = make(map[string][]string, len(refused.Fields))
	for path, messages := range refused.Fields {
		plain.Fields[strings.TrimPrefix(path, "events[0].")] = messages
	}
	return &plain
}

// encodeResults writes {"results": [...]}; IDs and statuses need no escaping.
func encodeResults(results []intake.Result) []byte {
	to := append(make([]byte, 0, 16+64*len(results)), `{"results":[`...)
	for i, result := range results {
		if i > 0 {
			to = append(to, ',')
		}
		status := "accepted"
		if result.Duplicate {
			status = "duplicate"
		}
		to = fmt.Appendf(to, `{"eventId":%q,"status":%q}`, result.EventID, status)
	}
	return append(to, `]}`...)
}

func (a *API) routeEmit() {
	o := operation{id: "emitEvents", method: http.MethodPost, path: pathEvents, tag: tagEvents, scope: access.EventsWrite, status: http.StatusAccepted,
		summary: "Emit events", description: emitDescription, statuses: []int{http.StatusNotFound}}
	described := o.describe(a)
	schemas := a.huma.OpenAPI().Components.Schemas
	described.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		contentTypeJSON:   {Schema: emittedSchema(schemas, maxEvents), Example: json.RawMessage(emitExample)},
		contentTypeNDJSON: {Schema: &huma.Schema{Type: huma.TypeString, Description: "An event a line, at most 10,000."}, Example: emitExample + "\n"},
	}}
	described.Parameters = append(described.Parameters, tenantParameter())
	described.Responses["202"] = &huma.Response{Description: "The events are durable.", Content: map[string]*huma.MediaType{
		contentTypeJSON: {Schema: schemas.Schema(reflect.TypeFor[Results](), true, "Results")}}}
	registerRaw(a, described, a.emit)
}

const emitExample = `{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","tenantId":"tenant-123","customerId":12,` +
	`"visitReport":{"id":901,"title":"Maintenance","status":"Approved"}}`

const emitDescription = "One event, {\"events\": [...]} with up to 1,000, or application/x-ndjson with an event a line. The answer comes once they are durable. " +
	"A batch with one bad event is refused whole. The same eventId with the same content is a duplicate and sends nothing again. " +
	"Unknown fields are accepted and never sent on; a preview names them. occurredAt is kept to the microsecond. A tenant's key may leave out tenantId; a platform key may name the tenant in X-Ordinavo-Tenant instead. " +
	"An event that names another one than the header is refused, and so are fields of an event beside events. " +
	"429 also says that the tenant has used up its events of the day, or has too many deliveries that are not finished; 503 that the whole queue is full. Retry-After says when to send the same again."

// Results is what became of emitted events, in their order.
type Results struct {
	Results []Result `json:"results"`
}

// Result is what became of one.
type Result struct {
	EventID string `json:"eventId"`
	Status  string `json:"status" enum:"accepted,duplicate"`
}

// routeEvents adds the routes about events.
func (a *API) routeEvents() {
	a.routeEmit()
	register(a, operation{id: "listEvents", method: http.MethodGet, path: pathEvents, tag: tagEvents, scope: access.DeliveriesRead, perTenant: true,
		summary: "List accepted events", description: "since and until are about when the event was accepted. An event that was retried is listed by when that was."}, a.listEvents)
	register(a, operation{id: "getEvent", method: http.MethodGet, path: pathEvents + "/{eventId}", tag: tagEvents, scope: access.DeliveriesRead, perTenant: true,
		summary: "Get an event with what became of it", description: "One disposition for each subscription that the tenant had when the event was accepted, or retried; none until it is fanned out."}, a.getEvent)
	a.routeRetryEvent()
}

func (a *API) getEvent(ctx context.Context, in *eventInput) (*EventDetailOutput, error) {
	found, err := a.Events.Detail(ctx, ownerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &EventDetailOutput{viewEventDetail(found)}, nil
}
