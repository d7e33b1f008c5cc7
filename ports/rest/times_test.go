package rest_test

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/reconciliation"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/rest"
)

// nothingReconciled has accepted nothing.
type nothingReconciled struct{}

func (nothingReconciled) DeliveriesWithin(context.Context, tenant.ID, time.Time, time.Time) (int, error) {
	return 0, nil
}

func (nothingReconciled) Hours(context.Context, tenant.ID, time.Time, time.Time) ([]reconciliation.Hour, error) {
	return nil, nil
}

func (nothingReconciled) Unsettled(context.Context, tenant.ID, time.Time, time.Time, int) ([]delivery.Delivery, error) {
	return nil, nil
}

func reconciled(d *rest.Dependencies) {
	d.Reconciliation = &reconciliation.Service{Reader: nothingReconciled{}, Now: d.Now, Kept: streamKept}
}

// sentTime is a place in a request where the OpenAPI document has a time.
type sentTime struct {
	method, path, query string
	field               []string // in the body, a list's first entry by [0]
	body                map[string]any
}

// sentTimes finds them all.
func (h *harness) sentTimes() (all []sentTime) {
	h.Helper()
	document := h.call("", "GET", "/openapi.json", "").expect(200).json()
	schemas := document["components"].(map[string]any)["schemas"].(map[string]any)
	paths := document["paths"].(map[string]any)
	anEvent := exampleOf(paths["/v1/events/preview"].(map[string]any)["post"].(map[string]any))
	for path, methods := range paths {
		for method, o := range methods.(map[string]any) {
			o := o.(map[string]any)
			at := sentTime{method: strings.ToUpper(method), path: path}
			parameters, _ := o["parameters"].([]any)
			for _, p := range parameters {
				if p := p.(map[string]any); isMoment(p["schema"].(map[string]any)) {
					at.query = p["name"].(string)
					all = append(all, at)
				}
			}
			at.query = ""
			if o["requestBody"] == nil {
				continue
			}
			delete(exampleOf(o), "dryRun") // what is kept is shown later
			for _, at.field = range moments(schemas, schemaOf(o), nil) {
				switch at.body = exampleOf(o); at.field[0] {
				case "events":
					at.body = map[string]any{"events": []any{anEvent}}
				case "event":
					at.body = map[string]any{"event": anEvent}
				}
				all = append(all, at)
			}
		}
	}
	return all
}

func inJSON(o map[string]any) map[string]any {
	return o["requestBody"].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)
}

func schemaOf(o map[string]any) map[string]any { return inJSON(o)["schema"].(map[string]any) }

func exampleOf(o map[string]any) map[string]any { return inJSON(o)["example"].(map[string]any) }

func isMoment(schema map[string]any) bool { return schema["format"] == "date-time" }

// moments is the paths of the times in a schema.
func moments(schemas, schema map[string]any, at []string) (found [][]string) {
	if ref, ok := schema["$ref"].(string); ok {
		return moments(schemas, schemas[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any), at)
	}
	if isMoment(schema) {
		found = append(found, at)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, property := range properties {
		found = append(found, moments(schemas, property.(map[string]any), append(slices.Clone(at), name))...)
	}
	if items, ok := schema["items"].(map[string]any); ok {
		found = append(found, moments(schemas, items, append(slices.Clone(at), "[0]"))...)
	}
	for _, word := range []string{"anyOf", "oneOf", "allOf"} {
		alternatives, _ := schema[word].([]any)
		for _, alternative := range alternatives {
			found = append(found, moments(schemas, alternative.(map[string]any), at)...)
		}
	}
	return found
}

// name is what an answer calls the place.
func (s sentTime) name() string {
	return s.query + strings.ReplaceAll(strings.Join(s.field, "."), ".[", "[")
}

// send puts the value there.
func (s sentTime) send(h *harness, subscription, value string) answer {
	h.Helper()
	path, body := strings.ReplaceAll(s.path, "{subscriptionId}", subscription), ""
	if s.query != "" {
		path += "?" + s.query + "=" + url.QueryEscape(value)
	} else {
		body = string(mustJSON(h.T, put(s.body, s.field, value)))
	}
	return h.call(h.platform, s.method, path, body, "X-Ordinavo-Tenant", own)
}

// put is the value with another one at the place, in a copy.
func put(in any, place []string, value string) any {
	if len(place) == 0 {
		return value
	}
	if list, ok := in.([]any); ok {
		return append([]any{put(list[0], place[1:], value)}, list[1:]...)
	}
	object, _ := in.(map[string]any)
	if object = maps.Clone(object); object == nil {
		object = map[string]any{"id": 1}
	}
	object[place[0]] = put(object[place[0]], place[1:], value)
	return object
}

// getAll asks for everything there is to get, and ends the test at what the service fails at.
func (h *harness) getAll(replace ...string) {
	h.Helper()
	for path, methods := range h.document().Paths {
		if methods["get"].OperationID == "" || strings.HasSuffix(path, "/stream") {
			continue
		}
		path = strings.NewReplacer(append(replace, "{tenantId}", own, "{id}", "12", "{eventType}", "visit_report.approved")...).Replace(path)
		for _, key := range []string{h.platform, h.admin} {
			if got := h.call(key, "GET", path, "", "X-Ordinavo-Tenant", own); got.status >= 500 {
				h.Errorf("GET %s: %d %s", path, got.status, got.body)
			}
		}
	}
}

// A year that no answer can show, or that stands for no time in Go and .NET, is refused wherever a time is sent.
func TestTimesOutOfRange(t *testing.T) {
	h := newHarness(t, reconciled)
	subscription, places := h.subscribe(), h.sentTimes()
	if len(places) < 30 {
		t.Fatalf("only %d times are sent", len(places))
	}
	h.live.Close() // so that a stream which is not refused ends
	writes := h.store.writes
	for _, s := range places {
		for _, value := range []string{
			"9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999999-00:01", "10000-01-01T00:00:00Z",
			"0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "0001-01-01T01:00:00+01:00", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01",
		} {
			got := s.send(h, subscription, value)
			if got.status != 400 || !strings.Contains(got.body, `"`+s.name()+`":["`) {
				t.Errorf("%s %s with %s %s: %d %s", s.method, s.path, s.name(), value, got.status, got.body)
			}
		}
	}
	if h.store.writes != writes {
		t.Errorf("%d writes by refused requests", h.store.writes-writes)
	}
}

// What time.Parse takes beside RFC 3339 is refused wherever a time is sent: one-digit hours, a comma, and offsets of a day or of sixty minutes.
func TestTimesThatAreNotRFC3339(t *testing.T) {
	h := newHarness(t, reconciled)
	subscription, places := h.subscribe(), h.sentTimes()
	h.live.Close() // so that a stream which is not refused ends
	for _, s := range places {
		for _, value := range []string{"2026-06-18T1:40:00Z", "2026-06-18T16:40:00,5Z", "2026-06-18T16:40:00+24:00", "2026-06-18T16:40:00-23:60"} {
			got := s.send(h, subscription, value)
			if got.status != 400 || !strings.Contains(got.body, `"`+s.name()+`":["`) {
				t.Errorf("%s %s with %s %s: %d %s", s.method, s.path, s.name(), value, got.status, got.body)
			}
		}
	}
}

// The first and the last moment that may be sent break no answer, neither at once nor later.
func TestTimesAtTheEndsOfTheRange(t *testing.T) {
	h := newHarness(t, reconciled)
	subscription := h.subscribe()
	for _, s := range h.sentTimes() {
		if strings.HasSuffix(s.path, "/stream") {
			continue // it does not end
		}
		for _, value := range []string{"1970-01-01T00:00:00Z", "9999-12-31T23:30:00Z", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59+23:59"} {
			if got := s.send(h, subscription, value); got.status >= 500 {
				t.Errorf("%s %s with %s %s: %d %s", s.method, s.path, s.name(), value, got.status, got.body)
			}
		}
	}
	h.getAll("{subscriptionId}", subscription)
	h.call(h.admin, "GET", "/v1/reconciliation?since=9999-12-31T23:30:00Z", "").expect(400).refused("validation_failed", "since")
}

// What is stored already is shown, however far out of range it is: as the nearest moment that RFC 3339 can write.
func TestStoredTimesOutOfRangeAreShown(t *testing.T) {
	for year, want := range map[int]string{12_000: "9999-12-31T23:59:59Z", -5: "0000-01-01T00:00:00Z"} {
		h := withDeliveries(t, reconciled)
		h.now = time.Date(year, 6, 18, 17, 0, 0, 0, time.UTC)
		key := h.key(domain.Key{Tenant: own, Scopes: domain.Scopes()[:7], ExpiresAt: time.Date(12_345, 1, 1, 0, 0, 0, 0, time.UTC)})
		h.store.deliveries[0].DueAt, h.store.deliveries[0].CreatedAt, h.store.accepted[0].AcceptedAt = h.now, h.now, h.now
		path := historyOf(h)
		h.call(h.platform, "POST", "/v1/tenants", `{"tenantId":"tenant-fresh","name":"x"}`).expect(201)
		job := h.call(h.admin, "POST", "/v1/deliveries/retry", "{}", "Idempotency-Key", "k").expect(202)
		h.getAll("{subscriptionId}", strings.TrimPrefix(path, "/v1/subscriptions/"), "{deliveryId}", "dlv_0", "{eventId}", "evt_1", "{jobId}", job.text("id"))
		for get, field := range map[string]string{
			"/v1/api-keys": "createdAt", path: "overlapEnd", "/v1/jobs": "createdAt", "/v1/deliveries/dlv_0": "nextAttemptAt", "/v1/events/evt_1": "acceptedAt",
		} {
			if got := h.call(key, "GET", get, "").expect(200); !strings.Contains(got.body, `"`+field+`":"`+want+`"`) {
				t.Errorf("%s has no %s of %s: %s", get, field, want, got.body)
			}
		}
		if got := h.call(h.platform, "GET", "/v1/api-keys", "").expect(200); !strings.Contains(got.body, `"expiresAt":"9999-12-31T23:59:59Z"`) {
			t.Errorf("the keys are %s", got.body)
		}
		if got := h.call(key, "GET", path+"/history", "").expect(200); !strings.Contains(got.body, `{"field":"secretRotation.overlapEnd","before":null,"after":"`+want+`"}`) {
			t.Errorf("the history is %s", got.body)
		}
		f := h.follow(h.serve(), key, "")
		f.next()
		h.schedule(own, "dlv_9", "sub_1")
		h.step()
		if got := f.is("dlv_9", "pending"); !strings.Contains(got.data, `"createdAt":"`+want+`"`) {
			t.Errorf("the stream tells %s", got.data)
		}
	}
}
