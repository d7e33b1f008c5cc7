package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// What somebody did by the API had consequences that no document told, and was found out by them.
func TestWhatFollowsIsSaid(t *testing.T) {
	paths := newHarness(t).document().Paths
	const one = "/v1/subscriptions/{subscriptionId}"
	for _, c := range []struct{ method, path, want, why string }{
		{"post", "/v1/deliveries/{deliveryId}/retry", "schedule begins anew", "a retry that fails is the first of ten more attempts, over two days"},
		{"post", "/v1/deliveries/retry", "schedule begins anew", "so is each of a bulk retry"},
		{"post", "/v1/deliveries/retry", "without a body", "a client that lost its body had months of failures of all subscriptions sent again"},
		{"patch", one, "for every attempt from then on", "who corrects a URL has to know whether what failed goes there"},
		{"patch", one, "accepted from then on", "who corrects a filter or an option has to know that what failed goes as it was"},
		{"post", one + "/pause", "refused with", "a pause that is forgotten has all the tenant's events refused in the end"},
		{"post", one + "/resume", "/v1/deliveries/retry", "what was given up before the service disabled it does not come by a resume"},
		{"get", one + "/events", "skipParked", "a receiver that only pulls fills the tenant's room for unfinished deliveries, however much it reads"},
	} {
		if about := strings.Join(strings.Fields(paths[c.path][c.method].Description), " "); !strings.Contains(about, c.want) {
			t.Errorf("%s %s lacks %q (%s): %s", c.method, c.path, c.want, c.why, about)
		}
	}
}

// Who wrote a receiver from the documents alone found no word on whose external ID it gets and when that is null, and refused the first key
// that was added.
func TestBodiesSayWhatAReceiverHasToKnow(t *testing.T) {
	h := newHarness(t)
	for path, want := range map[string]string{
		"eventId": "recognise what was handled", "payloadVersion": "Keys may be added", "occurredAt": "another order",
		"customer": "customerContext", "location": "does not know", "contact": "contactDetails",
		"customer.externalId": "sourceSystem", "location.externalId": "null if", "contact.externalId": "null if", "target.externalId": "null if",
		"visitReport.summaryPreview": "beginning",
	} {
		schema := h.bodySchema("visit_report.approved")
		for name := range strings.SplitSeq(path, ".") {
			schema = schema.Properties[name]
		}
		if !strings.Contains(schema.Description, want) {
			t.Errorf("%s lacks %q: %q", path, want, schema.Description)
		}
	}
}

type describedSchema struct {
	Description string
	Properties  map[string]describedSchema
}

func (h *harness) bodySchema(eventType string) describedSchema {
	h.Helper()
	var detail struct{ Schema describedSchema }
	if err := json.Unmarshal([]byte(h.call(h.reader, "GET", "/v1/event-types/"+eventType, "").expect(http.StatusOK).body), &detail); err != nil {
		h.Fatal(err)
	}
	return detail.Schema
}

// An event that was rendered anew, to mend what a receiver has, was passed over by every receiver that goes by the eventId, as it is told to.
func TestWhatIsRenderedAnewIsToldFromARepetition(t *testing.T) {
	document := newHarness(t).call("", "GET", "/openapi.json", "").expect(http.StatusOK).body
	for _, want := range []string{"passes over that too", "brings another one with the same eventId"} {
		if !strings.Contains(document, want) {
			t.Errorf("the document lacks %q", want)
		}
	}
}

// Which blocks an event needs, and with which types one is sent on, was only told by a refusal, or by receivers that missed it.
func TestAnEmitterIsToldWhichBlocksATypeTakes(t *testing.T) {
	var document struct {
		Components struct{ Schemas map[string]describedSchema }
	}
	if err := json.Unmarshal([]byte(newHarness(t).call("", "GET", "/openapi.json", "").expect(http.StatusOK).body), &document); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"target":       "Needed by target.imported, target.scheduled, target.completed. Sent on with all types.",
		"appointment":  "Needed by appointment.*. Sent on with all types.",
		"visitReport":  "Needed by visit_report.*. Sent on with visit_report.*, billing.*.",
		"followUp":     "Needed by target.follow_up_created, visit_report.follow_up_required. Sent on with target.follow_up_created, visit_report.follow_up_required.",
		"billingEvent": "Needed by billing.*. Sent on with billing.*.",
		"customerId":   "The customer in the directory. Sent on with target.follow_up_created, appointment.*, visit_report.*, billing.*.",
	} {
		if got := document.Components.Schemas["EmittedEvent"].Properties[field].Description; got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
}
