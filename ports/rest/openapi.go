package rest

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"

	"github.com/ordinavo/webhooks/application/idempotency"
)

const securityScheme = "apiKey"

const apiDescription = `Ordinavo Webhooks takes business events from product services and delivers them, signed, to the URLs of subscriptions.

Every request carries ` + "`Authorization: Bearer ord_live_…`" + `. A tenant's key acts for its tenant; a platform key names the tenant in the
header X-Ordinavo-Tenant. Errors are application/problem+json (RFC 9457) with a stable code. Every write takes an Idempotency-Key;
its answer is given again for 24 hours to the same key with the same content, unless its body is larger than 1 MiB. Every answer carries X-RateLimit-Limit,
X-RateLimit-Remaining and X-RateLimit-Reset, of the key or of all the tenant's keys, whichever leaves less; 429 and 503 say in Retry-After when to come back. Names are case-sensitive.
Times are those of RFC 3339, in the years 1970 to 9999 (UTC). Fields that a route does not know are refused, except in events.
A null for a field that is not needed is as good as leaving it out, or is refused where it could be mistaken for a wish to empty the field.
Texts have no control characters, but for line breaks and tabs in an event's summary, message, reason and cancellationReason.
A body may have 1,000 values (objects, lists, texts, numbers and so on), a batch of the directory 30,000; events are counted as such.
It has less than 8 MiB at /v1/events, /v1/events/preview and /v1/directory, 2 MiB at /v1/signature-doctor, and 1 MiB elsewhere; a request's headers have 16 KiB at most.`

func (a *API) newHuma() huma.API {
	registry := huma.NewMapRegistry(refSchema, huma.DefaultSchemaNamer)
	return humafiber.New(a.app, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Ordinavo Webhooks", Version: a.Version, Description: apiDescription,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: registry, Responses: map[string]*huma.Response{},
				SecuritySchemes: map[string]*huma.SecurityScheme{
					securityScheme: {Type: "http", Scheme: "bearer", Description: "A platform key or a tenant's key: ord_live_…"},
				},
			},
			Tags: []*huma.Tag{
				{Name: tagEvents, Description: "What happened, and what became of it."},
				{Name: tagEventTypes, Description: "The 19 event types that product services emit, and the operational ones that the service makes itself, with the body that a receiver gets."},
				{Name: tagDirectory, Description: "Customers, locations, contacts, and what source systems call them."},
				{Name: tagSubscriptions, Description: "Who gets which events, and how."},
				{Name: tagDeliveries, Description: "Events on their way to subscriptions, attempt by attempt."},
				{Name: tagJobs, Description: "Bulk retries and replays, and how far they have come."},
				{Name: tagTenants, Description: "Tenants and what they have booked."},
				{Name: tagKeys, Description: "API keys."},
				{Name: tagService, Description: "The service itself."},
				{Name: tagWebhooks, Description: "The requests that receivers get, by event type."},
				{Name: tagOperational, Description: "Requests about the receiver's own subscriptions, for a tenant's admins: they come to who asks for ordinavo.*, or for one of them."},
			},
		},
		Formats:                      map[string]huma.Format{contentTypeJSON: strictJSON, "json": strictJSON},
		DefaultFormat:                contentTypeJSON,
		RejectUnknownQueryParameters: true,
	})
}

const (
	tagEvents        = "Events"
	tagEventTypes    = "Event types"
	tagDirectory     = "Directory"
	tagSubscriptions = "Subscriptions"
	tagDeliveries    = "Deliveries"
	tagJobs          = "Jobs"
	tagTenants       = "Tenants"
	tagKeys          = "API keys"
	tagService       = "Service"
	tagWebhooks      = "Webhooks"
	tagOperational   = "Operational webhooks"
)

func tenantParameter() *huma.Param {
	return &huma.Param{
		Name: headerTenant, In: "header", Schema: &huma.Schema{Type: huma.TypeString, Pattern: `^[A-Za-z0-9._-]{1,64}$`},
		Description: "The tenant that a platform key acts for. A tenant's key needs none.",
	}
}

func idempotencyParameter() *huma.Param {
	shortest, longest := 1, idempotency.MaxKeyLength
	return &huma.Param{
		Name: headerIdempotencyKey, In: "header",
		Schema:      &huma.Schema{Type: huma.TypeString, MinLength: &shortest, MaxLength: &longest},
		Description: "The same key with the same content, If-Match included, gets the same answer again, for 24 hours.",
	}
}

// completeDocuments completes the OpenAPI document once all routes are registered. It and the AsyncAPI document are encoded only when first
// asked for, to start faster: what a dead process had leased waits for the start of another.
func (a *API) completeDocuments() {
	a.describeAnswers()
	a.describeWebhooks()
	a.dropPatternDescriptions()
	// huma's types write themselves by methods of encoding/json.
	a.document = sync.OnceValue(func() []byte { return encodeDocument(a.huma.OpenAPI()) })
	a.asyncDocument = sync.OnceValue(func() []byte { return encodeDocument(a.asyncAPI()) })
}

// dropPatternDescriptions takes out what huma has made its messages of by now: it is no keyword of JSON Schema, and strict tools refuse the
// document over it.
func (a *API) dropPatternDescriptions() {
	document := a.huma.OpenAPI()
	for _, schema := range document.Components.Schemas.Map() {
		schema.PatternDescription = ""
		for _, property := range schema.Properties {
			property.PatternDescription = ""
		}
	}
	for _, item := range document.Paths {
		for _, o := range operationsOf(item) {
			for _, parameter := range o.Parameters {
				parameter.Schema.PatternDescription = ""
			}
		}
	}
}

func encodeDocument(document any) []byte {
	encoded, err := json.Marshal(document)
	if err != nil {
		panic(fmt.Errorf("encode a document about the API: %w", err)) // routes and messages are fixed, so a test sees it
	}
	return encoded
}
