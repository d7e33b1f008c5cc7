package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

// webhook is what is documented about the requests of one event type; OpenAPI and AsyncAPI say the same
// because both are written from it.
type webhook struct {
	event.Type
	// schemaName is the body's schema among the components: VisitReportApprovedBody.
	schemaName string
	schema     *huma.Schema
	example    json.RawMessage
	headers    []webhookHeader
}

// webhookHeader is a header of section 4 of the contract, or the one that only a sample has. Those of HTTP itself are the same for any sender.
type webhookHeader struct {
	name, example, description string
	schema                     *huma.Schema
	ofHTTP, ofSamples          bool
}

// The attempt that the examples show.
const exampleDeliveryID = "dlv_01JZ8A2MV4N8S6D2K5X0R7T9QA"

var (
	exampleAttempt = time.Date(2026, time.June, 18, 16, 40, 2, 0, time.UTC)
	exampleSecret  = secret.FromBytes([32]byte([]byte("documentation is not a secret :)")))
)

// webhooks is all 19, in the order of the contract, followed by the operational ones.
func (a *API) webhooks() []webhook {
	all := make([]webhook, 0, len(event.AllTypes()))
	for _, t := range event.AllTypes() {
		body := exampleBody(t)
		all = append(all, webhook{
			Type: t, schemaName: pascalCase(string(t)) + "Body", schema: bodySchema(t), example: body,
			headers: webhookHeaders(t, body, a.userAgent()),
		})
	}
	return all
}

func (a *API) userAgent() string { return "Ordinavo-Webhooks/" + a.Version }

// pascalCase makes VisitReportApproved of visit_report.approved.
func pascalCase(name string) string {
	var joined strings.Builder
	for word := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '.' || r == '_' }) {
		joined.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return joined.String()
}

const headerEventType = "X-Ordinavo-Event-Type"

func webhookHeaders(t event.Type, body []byte, userAgent string) []webhookHeader {
	signed := signature.Sign(body, exampleAttempt, event.SampleID, exampleSecret, exampleSecret)
	id := pattern(`^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	return []webhookHeader{
		{"User-Agent", userAgent, "Who sends, with the service's version.", pattern(`^Ordinavo-Webhooks/`), true, false},
		{"X-Ordinavo-Event-Id", event.SampleID, "The body's eventId: the same for every attempt and replay, so keep it to recognise a repetition.", id, false, false},
		{headerEventType, string(t), "The body's eventType.", constant(string(t)), false, false},
		{"X-Ordinavo-Delivery-Id", exampleDeliveryID, "The same for every attempt of a delivery. A replay that renders an event anew brings another one with the same eventId.", pattern(`^dlv_[0-7][0-9A-HJKMNP-TV-Z]{25}$`), false, false},
		{"X-Ordinavo-Timestamp", exampleAttempt.Format(time.RFC3339), "When this attempt was made, in UTC.", moment(), false, false},
		{signature.HeaderBody, signed.Body, "sha256= and the lower-case hex HMAC-SHA256 of the raw body. The key is the whole secret as it was shown, whsec_ included. " +
			"During a rotation it is made with the old secret until the rotation is completed or its overlap ends.", pattern(`^sha256=[0-9a-f]{64}$`), false, false},
		{"X-Ordinavo-Webhook-Version", "v1", "The version of these headers.", constant("v1"), false, false},
		{signature.HeaderID, signed.ID, "Standard Webhooks 1.0: the eventId.", id, false, false},
		{signature.HeaderTimestamp, signed.Timestamp, "Standard Webhooks 1.0: when this attempt was made, in Unix seconds.", pattern(`^[0-9]+$`), false, false},
		{signature.HeaderStandard, signed.Standard, "Standard Webhooks 1.0: v1, and the base64 HMAC-SHA256 of id.timestamp.body. The key is the base64 part of the secret, decoded. " +
			"During a rotation there is one signature for each valid secret, separated by a space.", pattern(`^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$`), false, false},
		{headerTraceParent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "W3C Trace Context: the attempt's span.",
			pattern(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`), false, false},
		{dispatch.HeaderTest, "true", "Only on a sample that a tenant's admin had sent by POST /v1/subscriptions/{subscriptionId}/test: nothing of it happened, and it comes once.",
			constant("true"), false, true},
	}
}

const webhookDescription = "Sent to the URL of every subscription whose eventTypes match. The bytes of the body are the same for every attempt. Any 2xx that is " +
	"complete within the timeout is success; anything else, redirects included, is tried again by the subscription's schedule, unless it is 410. Several are on their way at once, and what " +
	"failed comes again later: events may arrive in another order than they happened, which occurredAt tells."

const operationalDescription = "Operational: made by the service about a subscription of the tenant, and sent to who asks for it by name or by ordinavo.*, not with *. " +
	"Failing deliveries of operational events make no operational events. "

// about is the longer description.
func (w webhook) about() string {
	if w.IsOperational() {
		return operationalDescription + webhookDescription
	}
	return webhookDescription
}

// tag shows the operational ones apart.
func (w webhook) tag() string {
	if w.IsOperational() {
		return tagOperational
	}
	return tagWebhooks
}

// describeWebhooks adds the requests that receivers get to the OpenAPI document.
func (a *API) describeWebhooks() {
	document := a.huma.OpenAPI()
	document.Webhooks = map[string]*huma.PathItem{}
	document.Components.Parameters = map[string]*huma.Param{}
	for _, w := range a.webhooks() {
		document.Components.Schemas.Map()[w.schemaName] = w.schema
		document.Webhooks[string(w.Type)] = &huma.PathItem{Post: &huma.Operation{
			OperationID: "receive" + pascalCase(string(w.Type)), Tags: []string{w.tag()},
			Summary: w.Description(), Description: w.about(), Security: []map[string][]string{},
			Parameters: headerParameters(document.Components.Parameters, w.headers),
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
				contentTypeJSON: {Schema: &huma.Schema{Ref: refSchema + w.schemaName}, Example: w.example},
			}},
			Responses: webhookResponses(),
		}}
	}
}

// headerParameters refers to one description of each header, except that the type's differs from webhook to webhook.
func headerParameters(shared map[string]*huma.Param, headers []webhookHeader) []*huma.Param {
	parameters := make([]*huma.Param, 0, len(headers))
	for _, h := range headers {
		described := &huma.Param{Name: h.name, In: "header", Description: h.description, Required: !h.ofSamples, Schema: h.schema, Example: h.example}
		switch {
		case h.name == headerEventType:
			parameters = append(parameters, described)
			continue
		case shared[h.name] == nil:
			shared[h.name] = described
		}
		parameters = append(parameters, &huma.Param{Ref: "#/components/parameters/" + h.name})
	}
	return parameters
}

func webhookResponses() map[string]*huma.Response {
	retryAfter := &huma.Param{Schema: text(), Description: "Seconds or a date, at most 24 hours: the next attempt is not made before."}
	return map[string]*huma.Response{
		"2XX": {Description: "Taken, if the whole answer comes within the timeout, or 64 KiB of its body; what the body says does not matter."},
		"410": {Description: http.StatusText(http.StatusGone) + ": ends the delivery and disables the subscription."},
		"default": {Description: "Not taken: the next attempt follows by the subscription's schedule.",
			Headers: map[string]*huma.Param{"Retry-After": retryAfter}},
	}
}
