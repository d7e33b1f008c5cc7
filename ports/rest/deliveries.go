package rest

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

// Delivery is one event on its way to one subscription.
type Delivery struct {
	ID                  string     `json:"id" example:"dlv_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`
	TenantID            string     `json:"tenantId"`
	EventID             string     `json:"eventId"`
	EventType           string     `json:"eventType"`
	SubscriptionID      string     `json:"subscriptionId"`
	Status              string     `json:"status" enum:"pending,delivering,retrying,parked,succeeded,dead_letter,cancelled" doc:"pending waits for an attempt, retrying for the next one after a failure, parked until its subscription is resumed; dead_letter was given up, and is sent again if somebody retries it; cancelled is not sent, since its subscription was deleted, or resumed without it."`
	AttemptCount        int        `json:"attemptCount"`
	NextAttemptAt       *time.Time `json:"nextAttemptAt" doc:"null when there is none; of a backlog it comes later while the receiver is being spared, which circuit in GET /v1/subscriptions/{subscriptionId} tells."`
	SubscriptionVersion int64      `json:"subscriptionVersion" doc:"The version that rendered the body."`
	Warnings            []string   `json:"warnings" doc:"What was odd when the body was rendered."`
	CreatedAt           time.Time  `json:"createdAt"`
	UpdatedAt           time.Time  `json:"updatedAt"`
}

// ListedDelivery is a delivery in a list.
type ListedDelivery struct {
	Delivery
	LastAttempt *LastAttempt `json:"lastAttempt" doc:"How the last attempt ended; null before the first has, or, with a warning, where that cannot be read."`
}

// TransformSchema lets a property be null.
func (ListedDelivery) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	letBeNull(s, "lastAttempt")
	return s
}

// LastAttempt is an attempt without what was sent and answered, which GET /v1/deliveries/{deliveryId} has.
type LastAttempt struct {
	Number         int       `json:"number"`
	StartedAt      time.Time `json:"startedAt"`
	DurationMs     float64   `json:"durationMs"`
	Outcome        string    `json:"outcome" enum:"succeeded,http_status,timeout,connection_refused,dns,tls,blocked_address,redirect,response_too_large,lease_expired"`
	ResponseStatus *int      `json:"responseStatus"`
	Error          *string   `json:"error"`
}

// DeliveryRequest is what is sent.
type DeliveryRequest struct {
	URL     string            `json:"url" doc:"Where the last attempt that sent anything went; before it, where the next one goes. Empty when the subscription cannot be read, which a warning says."`
	Headers map[string]string `json:"headers" doc:"Of the last attempt that sent anything; empty before it."`
	Body    string            `json:"body" doc:"The bytes that every attempt sends."`
}

// Attempt is one HTTP exchange.
type Attempt struct {
	Number          int               `json:"number"`
	StartedAt       time.Time         `json:"startedAt"`
	DurationMs      float64           `json:"durationMs"`
	Outcome         string            `json:"outcome" enum:"succeeded,http_status,timeout,connection_refused,dns,tls,blocked_address,redirect,response_too_large,lease_expired"`
	RequestHeaders  map[string]string `json:"requestHeaders"`
	ResponseStatus  *int              `json:"responseStatus"`
	ResponseHeaders map[string]string `json:"responseHeaders"`
	ResponseBody    string            `json:"responseBody" doc:"At most the first 4 KiB."`
	Error           *string           `json:"error"`
	TraceID         string            `json:"traceId"`
}

// DeliveryDetail is a delivery with all that was sent and answered.
type DeliveryDetail struct {
	Delivery
	RenderedBy string          `json:"renderedBy" doc:"Where the subscription is shown as it was when it rendered the body." example:"/v1/subscriptions/sub_01JZ8A2MT8G7C3Y7V0WQ1M9B3C?version=3"`
	Request    DeliveryRequest `json:"request"`
	Attempts   []Attempt       `json:"attempts" doc:"Oldest first."`
	Test       bool            `json:"test" doc:"Whether it is a sample that POST /v1/subscriptions/{id}/test sent."`
}

// DeliveryOutput is a delivery as an answer.
type DeliveryOutput struct{ Body Delivery }

// DeliveryDetailOutput is a delivery with its attempts as an answer.
type DeliveryDetailOutput struct{ Body DeliveryDetail }

type deliveryInput struct {
	ID string `path:"deliveryId" maxLength:"100"`
}

// Period is a span of time; each end may be left open.
type Period struct {
	Since queryTime `query:"since" doc:"RFC 3339; inclusive."`
	Until queryTime `query:"until" doc:"RFC 3339; exclusive."`
}

type listDeliveriesInput struct {
	Paging
	Period
	Status         string `query:"status" enum:"pending,delivering,retrying,parked,succeeded,dead_letter,cancelled"`
	SubscriptionID string `query:"subscriptionId" pattern:"^sub_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with sub_"`
	EventID        string `query:"eventId" pattern:"^evt_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with evt_"`
	EventType      string `query:"eventType" maxLength:"100"`
}

// retryBegins is what somebody has to know who asks for an attempt by hand: it is not the only one.
const retryBegins = "and if that fails, the subscription's retry schedule begins anew."

func (a *API) routeDeliveries() {
	const one = "/v1/deliveries/{deliveryId}"
	register(a, operation{id: "listDeliveries", method: http.MethodGet, path: "/v1/deliveries", tag: tagDeliveries, scope: access.DeliveriesRead, perTenant: true, forBound: true,
		summary: "List deliveries", description: "since and until are about when the delivery was created."}, a.listDeliveries)
	register(a, operation{id: "getDelivery", method: http.MethodGet, path: one, tag: tagDeliveries, scope: access.DeliveriesRead, perTenant: true, forBound: true,
		summary: "Get a delivery with its attempts",
		description: "The id of a test (POST /v1/subscriptions/{id}/test) shows its one exchange in the same form, with test true, as long as events are kept. " +
			"Tests are in no list, cannot be retried, and have no accepted event."}, a.getDelivery)
	register(a, operation{id: "retryDelivery", method: http.MethodPost, path: one + "/retry", tag: tagDeliveries, scope: access.DeliveriesRetry, perTenant: true, forBound: true,
		status: http.StatusAccepted, summary: "Attempt a delivery now",
		description: "The stored bytes are sent again under the same ids, " + retryBegins + " One of a billing event needs the tenant's feature. " +
			fmt.Sprintf("One that has been attempted %d times is not attempted again.", delivery.MaxAttempts)}, a.retryDelivery)
}

func (a *API) listDeliveries(ctx context.Context, in *listDeliveriesInput) (*PageOutput[ListedDelivery], error) {
	if err := checkEventType(in.EventType); err != nil {
		return nil, err
	}
	if err := in.Period.check(); err != nil {
		return nil, err
	}
	l := a.listOf(ctx, "deliveries", in.Paging, in.Status, in.SubscriptionID, in.EventID, in.EventType, in.Since.UTC(), in.Until.UTC())
	after, err := l.after()
	if err != nil {
		return nil, err
	}
	filter := queries.DeliveryFilter{
		Tenant: ownerOf(ctx), Status: delivery.Status(in.Status), SubscriptionID: in.SubscriptionID, EventID: in.EventID,
		EventType: event.Type(in.EventType), Since: in.Since.Time, Until: in.Until.Time, Before: after, Limit: l.fetch(),
	}
	found, err := a.visibleDeliveries(ctx, filter)
	if err != nil {
		return nil, err
	}
	return pageOf(l, found, func(d queries.ListedDelivery) string { return d.ID }, viewListed)
}

// visibleDeliveries lists what the caller may see: for a bound key those of its one subscription.
func (a *API) visibleDeliveries(ctx context.Context, filter queries.DeliveryFilter) ([]queries.ListedDelivery, error) {
	if bound := callerOf(ctx).SubscriptionID; bound != "" {
		if filter.SubscriptionID != "" && filter.SubscriptionID != bound {
			return nil, nil
		}
		filter.SubscriptionID = bound
	}
	return a.Deliveries.List(ctx, filter)
}

func (p Period) check() error { return checkPeriod(p.Since.wanted(), p.Until.wanted()) }

func (a *API) getDelivery(ctx context.Context, in *deliveryInput) (*DeliveryDetailOutput, error) {
	detail, err := a.Deliveries.Detail(ctx, ownerOf(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	if _, err := lane(ctx, detail.SubscriptionID); err != nil {
		return nil, noDelivery()
	}
	return &DeliveryDetailOutput{viewDetail(detail)}, nil
}

func (a *API) retryDelivery(ctx context.Context, in *deliveryInput) (*DeliveryOutput, error) {
	if callerOf(ctx).SubscriptionID != "" {
		found, err := a.Deliveries.Reader.Delivery(ctx, ownerOf(ctx), in.ID)
		if err != nil {
			return nil, err
		}
		if _, err := lane(ctx, found.SubscriptionID); err != nil {
			return nil, noDelivery()
		}
	}
	return once(ctx, a, http.StatusAccepted, func(ctx context.Context) (*DeliveryOutput, error) {
		after, err := a.Retries.Retry(ctx, ownerOf(ctx), in.ID)
		if err != nil {
			return nil, err
		}
		return &DeliveryOutput{viewDelivery(after)}, nil
	})
}

func viewDelivery(d delivery.Delivery) Delivery {
	return Delivery{
		ID: d.ID, TenantID: string(d.Tenant), EventID: d.EventID, EventType: string(d.EventType), SubscriptionID: d.SubscriptionID,
		Status: string(d.Status), AttemptCount: d.Attempts, NextAttemptAt: unlessZero(d.DueAt), SubscriptionVersion: d.SubscriptionVersion,
		Warnings: append([]string{}, d.Warnings...), CreatedAt: d.CreatedAt.UTC(), UpdatedAt: d.UpdatedAt.UTC(),
	}
}

func viewListed(d queries.ListedDelivery) ListedDelivery {
	view := ListedDelivery{Delivery: viewDelivery(d.Delivery)}
	if d.Last != nil {
		last := viewAttempt(d.Last.Number, d.Last.Outcome)
		view.LastAttempt = &LastAttempt{last.Number, last.StartedAt, last.DurationMs, last.Outcome, last.ResponseStatus, last.Error}
	}
	return view
}

func viewDetail(d queries.DeliveryDetail) DeliveryDetail {
	view := DeliveryDetail{
		Delivery: viewDelivery(d.Delivery), RenderedBy: versionLink(d.SubscriptionID, d.SubscriptionVersion), Attempts: []Attempt{}, Test: d.Test,
		Request: DeliveryRequest{URL: d.URL, Headers: notNil(d.Headers), Body: string(d.Body)},
	}
	for _, attempt := range d.Attempts {
		view.Attempts = append(view.Attempts, viewAttempt(attempt.Number, attempt.Outcome))
	}
	return view
}

// milliseconds keeps microseconds, as three decimals.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Millisecond)*1000) / 1000
}

func viewAttempt(number int, o delivery.Outcome) Attempt {
	view := Attempt{
		Number: number, StartedAt: o.StartedAt.UTC(), DurationMs: milliseconds(o.Duration),
		Outcome: string(o.Kind.Public()), RequestHeaders: notNil(o.RequestHeaders), ResponseHeaders: notNil(o.ResponseHeaders),
		ResponseBody: harmless(o.ResponseBody), Error: unlessEmpty(o.Error), TraceID: o.TraceID,
	}
	if o.Status != 0 {
		view.ResponseStatus = &o.Status
	}
	return view
}

// harmless puts U+FFFD for what JSON leaves unescaped and a terminal may obey: DEL and the C1 control characters, one of which begins the
// same sequences as ESC [.
func harmless(body []byte) string {
	return strings.Map(func(r rune) rune {
		if r >= '\u007f' && r <= '\u009f' {
			return utf8.RuneError
		}
		return r // invalid UTF-8 arrives here as U+FFFD
	}, string(body))
}

func viewExchange(e subscriptions.Exchange) TestResult {
	return TestResult{
		EventID: e.EventID, DeliveryID: e.DeliveryID, Attempt: viewAttempt(1, *e.Outcome),
		Request: DeliveryRequest{URL: e.URL, Headers: notNil(e.Outcome.RequestHeaders), Body: string(e.Body)},
	}
}

func notNil(headers map[string]string) map[string]string {
	if headers == nil {
		return map[string]string{}
	}
	return headers
}
