package rest_test

import (
	"bufio"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/ordinavo/webhooks/application/preview"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/ports/rest"
)

const somethingMapped = `{"customers":[{"ordinavoCustomerId":12,"customerNumber":"RRM-001"}],
	"externalIds":[{"sourceSystem":"sap","entityType":"customer","ordinavoId":12,"externalId":"CUST-10042"},
	{"sourceSystem":"crm","entityType":"target","ordinavoId":455,"externalId":"of another system"}]}`

// shown is a preview as a caller reads it.
type shown struct {
	EventID        string
	SubscriptionID string
	Matches        bool
	Outcome        string
	Status         *string
	Reason         string
	Request        *struct {
		URL, Body string
		Headers   map[string]string
	}
	Origins []struct {
		Path   string
		Value  any
		Origin string
		Detail string
	}
	Warnings []string
}

func into[T any](a answer) (v T) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

func (h *harness) subscribeWith(change ...string) string {
	h.Helper()
	return h.call(h.admin, "POST", "/v1/subscriptions", strings.NewReplacer(change...).Replace(newSubscription)).expect(201).text("id")
}

func (h *harness) previewAll(key, e string) map[string]shown {
	h.Helper()
	got := h.call(key, "POST", "/v1/events/preview", e).expect(200)
	bySubscription := map[string]shown{}
	for _, s := range into[struct{ Subscriptions []shown }](got).Subscriptions {
		bySubscription[s.SubscriptionID] = s
	}
	return bySubscription
}

func TestPreviewOfAnEvent(t *testing.T) {
	h := newHarness(t)
	h.call(h.admin, "POST", "/v1/directory", somethingMapped).expect(200)
	matching, paused := h.subscribe(), h.subscribe()
	none := h.subscribeWith(`"visit_report.*"`, `"appointment.started","visit_report.rejected","target.imported"`)
	h.call(h.admin, "POST", "/v1/subscriptions/"+paused+"/pause", `{"reason":"maintenance"}`).expect(200)
	writes := h.store.writes
	previews := h.previewAll(h.reader, oneEvent)

	got := previews[matching]
	if !got.Matches || got.Outcome != "delivery" || *got.Status != "pending" || got.Reason != "its pattern visit_report.* wants visit_report.approved" {
		t.Errorf("matching: %+v", got)
	}
	checkSigned(t, got)
	origins := ""
	for _, o := range got.Origins {
		origins += o.Path + "=" + o.Origin + " (" + o.Detail + ")\n"
	}
	want := "customer.externalId=mapping (mapping of customer 12 for source system sap)\n" +
		"customer.customerNumber=directory (customer record 12)\n" +
		"customer.name=none (none: customer record 12 has no name)\n" +
		"target.externalId=none (none found: there is no mapping of target 455 for source system sap)\n"
	if origins != want {
		t.Errorf("origins:\n%swant\n%s", origins, want)
	}
	if got := previews[paused]; *got.Status != "parked" || got.Request == nil || !strings.Contains(got.Reason, "paused (maintenance)") {
		t.Errorf("paused: %+v", got)
	}
	if got := previews[none]; got.Matches || got.Outcome != "not_matched" || got.Request != nil || got.Status != nil || !strings.HasSuffix(got.Reason, "the nearest is visit_report.rejected") {
		t.Errorf("not matched: %+v", got)
	}
	if len(previews) != 3 || h.store.writes != writes || len(h.store.events) != 0 {
		t.Errorf("%d previews, %d writes, %d events", len(previews), h.store.writes-writes, len(h.store.events))
	}
}

func checkSigned(t *testing.T, got shown) {
	t.Helper()
	if got.Request == nil || got.Request.URL != "https://erp.example.com/hook" || !strings.HasPrefix(got.Request.Headers["X-Ordinavo-Delivery-Id"], "dlv_") {
		t.Fatalf("request: %+v", got.Request)
	}
	if err := signature.VerifyBody(got.Request.Headers[signature.HeaderBody], []byte(got.Request.Body), secret.FromBytes([32]byte{1})); err != nil {
		t.Error(err)
	}
}

func TestPreviewOfABillingEventWithoutTheFeature(t *testing.T) {
	h := newHarness(t)
	all := h.subscribeWith("visit_report.*", "*")
	billing := strings.Replace(oneEvent, `visit_report.approved"`, `billing.event_ready","billingEvent":{"id":7}`, 1)
	if got := h.previewAll(h.admin, billing)[all]; !got.Matches || got.Outcome != "feature_gated" || got.Request != nil || !strings.Contains(got.Reason, "billing_webhooks") {
		t.Errorf("%+v", got)
	}
	h.call(h.admin, "POST", "/v1/subscriptions/"+all+"/preview", `{"eventType":"billing.event_ready"}`).expect(403).refused("feature_not_enabled")
	got := into[shown](h.call(h.admin, "POST", "/v1/subscriptions/"+all+"/preview", `{"eventType":"target.imported","payloadOptions":{"billingDetails":true}}`).expect(200))
	if !slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, "billing_webhooks") }) {
		t.Errorf("warnings: %v", got.Warnings)
	}
	h.call(h.platform, "PUT", "/v1/tenants/tenant-123/features/billing_webhooks", `{"enabled": true}`).expect(200)
	if got := h.previewAll(h.admin, billing)[all]; got.Outcome != "delivery" {
		t.Errorf("%+v", got)
	}
}

func TestPreviewOfAnEventRefuses(t *testing.T) {
	h := newHarness(t)
	h.subscribe()
	const path = "/v1/events/preview"
	h.call(h.reader, "POST", path, `{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z"}`).expect(400).refused("validation_failed", "visitReport")
	h.call(h.reader, "POST", path, `{"events":[`+oneEvent+`]}`).expect(400).refused("validation_failed", "events")
	h.call(h.reader, "POST", path, ``).expect(400).refused("invalid_request")
	h.call(h.reader, "POST", path, `{`).expect(400).refused("invalid_request")
	h.call(h.reader, "POST", path, oneEvent+"\n", "Content-Type", "application/x-ndjson").expect(400).refused("invalid_request")
	h.call(h.other, "POST", path, oneEvent).expect(403).refused("forbidden")
	h.call(h.reader, "POST", path, oneEvent, "X-Ordinavo-Tenant", alien).expect(404).refused("not_found")
	h.call(h.platform, "POST", path, strings.Replace(oneEvent, own, "nobody", 1)).expect(400).refused("validation_failed", "tenantId")
	emitter := h.call(h.platform, "POST", "/v1/api-keys", `{"name":"x","tenantId":"tenant-123","scopes":["events.write"]}`).expect(201).text("key")
	h.call(emitter, "POST", path, oneEvent).expect(403).refused("missing_scope")
	if got := h.previewAll(h.platform, oneEvent); len(got) != 1 {
		t.Errorf("a platform key sees %v", got)
	}
	if got := h.previewAll(h.other, strings.Replace(oneEvent, own, alien, 1)); len(got) != 0 {
		t.Errorf("another tenant sees %v", got)
	}
}

func TestAKeyThatIsBoundPreviewsItsOwnSubscription(t *testing.T) {
	h := newHarness(t)
	id, other := h.subscribe(), h.subscribe()
	bound := h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read","webhooks.manage"],"subscriptionId":"`+id+`"}`).expect(201).text("key")
	if got := h.previewAll(bound, oneEvent); len(got) != 1 || got[id].Outcome != "delivery" {
		t.Errorf("got %v", got)
	}
	h.call(bound, "POST", "/v1/subscriptions/"+id+"/preview", `{"eventType":"target.imported"}`).expect(200)
	h.call(bound, "POST", "/v1/subscriptions/"+other+"/preview", `{"eventType":"target.imported"}`).expect(404).refused("not_found")
	h.call(bound, "POST", "/v1/signature-doctor", `{"headers":{},"body":"","subscriptionId":"`+other+`"}`).expect(404).refused("not_found")
}

// An answer of many megabytes counts until it is written, not until the handler has made it.
func TestPreviewsOfATenantAtOnceAreBounded(t *testing.T) {
	var previews *preview.Previewer
	h := newHarness(t, func(d *rest.Dependencies) { previews = d.Previews })
	h.subscribe()
	const path = "/v1/events/preview"
	for range 2 * preview.MaxAtOnceForTenant { // one after the other
		h.call(h.reader, "POST", path, oneEvent).expect(200)
		h.call(h.reader, "POST", path, `{}`).expect(400)
		h.store.fail = io.ErrUnexpectedEOF
		h.call(h.reader, "POST", path, oneEvent).expect(500)
		h.store.fail = nil
	}
	raw := "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + h.reader + "\r\nContent-Length: " + strconv.Itoa(len(oneEvent)) + "\r\n\r\n" + oneEvent
	var made fasthttp.Request
	if err := made.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
		t.Fatal(err)
	}
	var waiting fasthttp.RequestCtx
	waiting.Init(&made, nil, nil)
	h.api.App().Handler()(&waiting) // which nobody has read yet
	if status := waiting.Response.StatusCode(); status != 200 {
		t.Fatalf("status %d", status)
	}
	for range preview.MaxAtOnceForTenant - 1 {
		end, err := previews.Begin(own)
		if err != nil {
			t.Fatal(err)
		}
		defer end()
	}
	if got := h.call(h.reader, "POST", path, oneEvent).expect(429).refused("rate_limited"); got.header.Get("Retry-After") != "1" {
		t.Error(got.header)
	}
	h.call(h.other, "POST", path, strings.Replace(oneEvent, own, alien, 1)).expect(200)
	waiting.Response.Reset() // the connection is gone
	h.call(h.reader, "POST", path, oneEvent).expect(200)
}

func TestPreviewOfASubscription(t *testing.T) {
	h := newHarness(t)
	path := "/v1/subscriptions/" + h.subscribe() + "/preview"
	writes := h.store.writes
	sample := into[shown](h.call(h.admin, "POST", path, `{"eventType":"visit_report.approved"}`).expect(200))
	checkSigned(t, sample)
	if !sample.Matches || strings.Contains(sample.Request.Body, "summaryPreview") || !strings.Contains(sample.Request.Body, `"contact"`) || len(sample.Warnings) != 3 {
		t.Errorf("sample: %+v", sample)
	}
	tried := into[shown](h.call(h.admin, "POST", path, `{"eventType":"visit_report.approved","payloadOptions":{"summaryPreview":true,"contactDetails":false}}`).expect(200))
	if !strings.Contains(tried.Request.Body, "summaryPreview") || strings.Contains(tried.Request.Body, `"contact"`) {
		t.Errorf("with other options: %s", tried.Request.Body)
	}
	own := into[shown](h.call(h.admin, "POST", path, `{"event":`+strings.Replace(oneEvent, `"eventType"`, `"eventId":"evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C","eventType"`, 1)+`}`).expect(200))
	if own.EventID != "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C" || !strings.Contains(own.Request.Body, `"title":"Ä"`) || strings.Contains(own.Request.Body, "legacy") {
		t.Errorf("an event: %+v", own)
	}
	unwanted := into[shown](h.call(h.admin, "POST", path, `{"eventType":"target.imported"}`).expect(200))
	if unwanted.Matches || unwanted.Outcome != "not_matched" || unwanted.Request == nil {
		t.Errorf("an event that it does not want: %+v", unwanted)
	}
	if h.store.writes != writes {
		t.Error("a preview wrote")
	}
}

func TestPreviewOfASubscriptionRefuses(t *testing.T) {
	h := newHarness(t)
	path := "/v1/subscriptions/" + h.subscribe() + "/preview"
	h.call(h.admin, "POST", path, ``).expect(400).refused("validation_failed", "event")
	h.call(h.admin, "POST", path, `{}`).expect(400).refused("validation_failed", "event")
	h.call(h.admin, "POST", path, `{"eventType":"x"}`).expect(400).refused("validation_failed", "eventType")
	h.call(h.admin, "POST", path, `{"eventType":"target.imported","event":`+oneEvent+`}`).expect(400).refused("validation_failed", "eventType")
	h.call(h.admin, "POST", path, `{"event":{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z"}}`).expect(400).refused("validation_failed", "event.visitReport")
	h.call(h.admin, "POST", path, `{"event":{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","visitReport":{"id":"x"}}}`).expect(400).refused("validation_failed", "event.visitReport.id")
	h.call(h.admin, "POST", path, `{"event":{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","visitReport":{"id":1},"followUp":{"id":1,"dueDate":"soon"}}}`).expect(400).refused("validation_failed", "event.followUp.dueDate")
	h.call(h.admin, "POST", path, `{"event":[]}`).expect(400).refused("validation_failed", "event")
	h.call(h.admin, "POST", path, `{"eventType":"target.imported","payloadOptions":{"summaryPreview":null}}`).expect(400).refused("validation_failed", "payloadOptions.summaryPreview")
	h.call(h.platform, "POST", path, `{"event":`+strings.Replace(oneEvent, own, alien, 1)+`}`, "X-Ordinavo-Tenant", own).expect(400).refused("validation_failed", "event.tenantId")
	h.call(h.admin, "POST", path, `{"event":`+strings.Replace(oneEvent, own, alien, 1)+`}`).expect(403).refused("forbidden")
	h.call(h.other, "POST", path, `{"eventType":"target.imported"}`).expect(404).refused("not_found")
	h.call(h.reader, "POST", path, `{"eventType":"target.imported"}`).expect(403).refused("missing_scope")
	h.call(h.admin, "POST", "/v1/subscriptions/sub_none/preview", `{"eventType":"target.imported"}`).expect(404).refused("not_found")
}

// Whoever misspells an optional field is answered 202 when the event is emitted, and its receivers get null: only a preview can tell.
func TestPreviewNamesFieldsThatAreNotRead(t *testing.T) {
	h := newHarness(t)
	id := h.subscribe()
	e := `{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","tenantId":"` + string(own) + `","customer_id":12,"customer":{"id":12},
		"visitReport":{"id":901,"isbillable":true,"` + strings.Repeat("x", 101) + `":1},"target":{"id":455,"customerNumber":"legacy"}}`
	const want = "never sent on: customer_id, customer, visitReport.isbillable, target.customerNumber, others."
	for path, body := range map[string]string{"/v1/events/preview": e, "/v1/subscriptions/" + id + "/preview": `{"event":` + e + `}`} {
		notes := into[struct{ Notes []string }](h.call(h.admin, "POST", path, body).expect(200)).Notes
		if last := notes[len(notes)-1]; !strings.HasSuffix(last, want) {
			t.Errorf("%s: %q lacks %q", path, last, want)
		}
	}
	// Who mends those that are named has to know that there are more.
	many := `{"eventType":"target.imported","occurredAt":"2026-06-18T16:40:00Z","target":{"id":455},"b1":1,"b2":2,"b3":3,"b4":4,"b5":5,"b6":6,"b7":7,"b8":8,"b9":9,"b10":10`
	for rest, want := range map[string]string{`}`: "b9, b10.", `,"b11":11}`: "b9, b10, others."} {
		if got := h.call(h.admin, "POST", "/v1/events/preview", many+rest).expect(200); !strings.Contains(got.body, want) {
			t.Errorf("it lacks %q: %s", want, got.body)
		}
	}
	known := `{"eventType":"target.imported","occurredAt":"2026-06-18T16:40:00Z","target":{"id":455,"title":"Visit"}}`
	if got := h.call(h.admin, "POST", "/v1/events/preview", known).expect(200); strings.Contains(got.body, "not read") {
		t.Errorf("every field of it is read: %s", got.body)
	}
}
