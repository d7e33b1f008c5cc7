package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
)

// EventType is one of the 19 types that product services emit, or an operational one.
type EventType struct {
	EventType       string `json:"eventType" example:"visit_report.approved"`
	Family          string `json:"family" doc:"What family.* in a filter stands for." example:"visit_report"`
	Description     string `json:"description"`
	CustomerContext bool   `json:"customerContext" doc:"Whether bodies may carry customer, location and contact."`
}

// EventTypeList is a page of the 19 types, with the operational ones apart.
type EventTypeList struct {
	Data        []EventType `json:"data" doc:"Family by family, always in the same order."`
	NextCursor  *string     `json:"nextCursor" doc:"Gets the next page; null when there is none."`
	Operational []EventType `json:"operational" doc:"What the service itself tells of the tenant's subscriptions, with every page."`
}

// EventTypeListOutput is an EventTypeList as an answer.
type EventTypeListOutput struct{ Body EventTypeList }

// EventTypeDetail is a type with what a receiver gets.
type EventTypeDetail struct {
	EventType
	Example json.RawMessage `json:"example" doc:"A body."`
	Schema  json.RawMessage `json:"schema" doc:"JSON Schema (2020-12) of the body."`
}

// EventTypeOutput is an EventTypeDetail as an answer.
type EventTypeOutput struct{ Body EventTypeDetail }

type eventTypeInput struct {
	Type string `path:"type" maxLength:"100" example:"visit_report.approved"`
}

func (a *API) routeEventTypes() {
	register(a, operation{id: "listEventTypes", method: http.MethodGet, path: "/v1/event-types", tag: tagEventTypes, forBound: true,
		statuses: []int{http.StatusNotFound}, summary: "List the event types",
		description: "data is the 19 that product services emit. operational is those by which the service tells a tenant's admins about their own subscriptions: one that was " +
			"disabled, one of which ten attempts in a row failed, a delivery that was given up, a rotated secret whose overlap soon ends (a quarter of it is left, at most a day). They come to subscriptions that ask for them by name or by ordinavo.*, and not with *. " +
			"Failing deliveries of operational events make no operational events."}, a.listEventTypes)
	register(a, operation{id: "getEventType", method: http.MethodGet, path: "/v1/event-types/{type}", tag: tagEventTypes, forBound: true,
		statuses: []int{http.StatusNotFound}, summary: "Get an event type with an example and the JSON Schema of its body"}, a.getEventType)
}

// checkEventType refuses the name of no event type; where none is given any will do.
func checkEventType(name string) error {
	if name != "" && !event.Type(name).Known() {
		return problem.Invalid("eventType", "is not a known event type")
	}
	return nil
}

func (a *API) listEventTypes(ctx context.Context, in *listInput) (*EventTypeListOutput, error) {
	l := a.listOf(ctx, "event-types", in.Paging)
	after, err := l.after()
	if err != nil {
		return nil, err
	}
	types := event.Types()
	types = types[slices.Index(types, event.Type(after))+1:]
	page, err := pageOf(l, types[:min(len(types), l.fetch())], func(t event.Type) string { return string(t) }, viewEventType)
	if err != nil {
		return nil, err
	}
	list := EventTypeList{Data: page.Body.Data, NextCursor: page.Body.NextCursor}
	for _, t := range event.OperationalTypes() {
		list.Operational = append(list.Operational, viewEventType(t))
	}
	return &EventTypeListOutput{list}, nil
}

func (a *API) getEventType(_ context.Context, in *eventTypeInput) (*EventTypeOutput, error) {
	t, err := event.ParseType(in.Type)
	if err != nil {
		return nil, problem.New(problem.NotFound, "There is no such event type.")
	}
	schema, err := json.Marshal(bodySchema(t))
	if err != nil {
		return nil, fmt.Errorf("encode the schema of %s: %w", t, err)
	}
	return &EventTypeOutput{EventTypeDetail{viewEventType(t), exampleBody(t), schema}}, nil
}

func viewEventType(t event.Type) EventType {
	return EventType{string(t), string(t.Family()), t.Description(), t.HasCustomerContext()}
}

// exampleBody is what a receiver with the default options gets; of billing events with their details.
func exampleBody(t event.Type) []byte {
	options := payload.DefaultOptions()
	options.BillingDetails = t.Family() == event.FamilyBilling
	body, _ := payload.Render(event.Sample(t, "tenant-123"), payload.View{Options: options, Billing: true}, payload.Context{
		Customer: &payload.Customer{ID: 12, CustomerNumber: new("RRM-001"), Name: new("Rhein-Ruhr Medical Supply")},
		Location: &payload.Location{ID: 34, Name: new("Essen Center"), City: new("Essen"), HasCoordinates: new(true)},
		Contact:  &payload.Contact{ID: 56, DisplayName: new("Anna Weber")},
		ExternalIDs: map[payload.Ref]string{
			{Kind: payload.KindCustomer, ID: 12}: "CUST-10042", {Kind: payload.KindLocation, ID: 34}: "LOC-200",
			{Kind: payload.KindContact, ID: 56}: "CON-300", {Kind: payload.KindTarget, ID: 455}: "JOB-455",
		},
	})
	return body
}
