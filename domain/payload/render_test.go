package payload_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
)

var everything = payload.View{
	Options: payload.Options{CustomerContext: true, ContactDetails: true, SummaryPreview: true, BillingDetails: true},
	Billing: true,
}

// value is the raw JSON at a path of the body.
func value(t *testing.T, body []byte, path string) string {
	t.Helper()
	raw := json.RawMessage(body)
	for key := range strings.SplitSeq(path, ".") {
		var block map[string]json.RawMessage
		if err := json.Unmarshal(raw, &block); err != nil {
			t.Fatalf("%s of %s: %v", path, body, err)
		}
		raw = block[key]
	}
	return string(raw)
}

func TestUnknownReferences(t *testing.T) {
	body, warnings := payload.Render(event.Sample(event.VisitReportApproved, owner), everything, payload.Context{})
	for block, want := range map[string]string{
		"customer": `{"ordinavoCustomerId":12,"externalId":null,"customerNumber":null,"name":null}`,
		"location": `{"ordinavoLocationId":34,"externalId":null,"name":null,"city":null,"hasCoordinates":null}`,
		"contact":  `{"ordinavoContactId":56,"externalId":null,"displayName":null}`,
		"target":   `{"id":455,"externalId":null,"title":"Maintenance visit"}`,
	} {
		if got := value(t, body, block); got != want {
			t.Errorf("%s is %s, want %s", block, got, want)
		}
	}
	want := []string{"customer 12 is not in the directory", "location 34 is not in the directory", "contact 56 is not in the directory"}
	if !slices.Equal(warnings, want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
}

func TestARecordOfAnotherEntityIsUnknown(t *testing.T) {
	e := event.Sample(event.AppointmentStarted, owner)
	e.CustomerID = new(int64(13))
	body, warnings := payload.Render(e, everything, exampleContext())
	if got, want := value(t, body, "customer"), `{"ordinavoCustomerId":13,"externalId":null,"customerNumber":null,"name":null}`; got != want {
		t.Errorf("customer is %s, want %s", got, want)
	}
	if want := []string{"customer 13 is not in the directory"}; !slices.Equal(warnings, want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
}

// Nothing but the customer record may be the source of a customer number (contract, section 2).
func TestLegacyCustomerNumberIsNeverSent(t *testing.T) {
	e, err := event.Decode([]byte(`{"eventId":"evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C","eventType":"target.follow_up_created","occurredAt":"2026-06-18T16:40:00Z",
		"tenantId":"t","customerId":12,"customerNumber":"LEGACY","followUp":{"id":1,"customerNumber":"LEGACY"},"target":{"id":455,"customerNumber":"LEGACY"}}`))
	if err != nil {
		t.Fatal(err)
	}
	c := exampleContext()
	c.Customer.CustomerNumber = nil
	body, _ := payload.Render(e, everything, c)
	if strings.Contains(string(body), "LEGACY") || value(t, body, "customer.customerNumber") != "null" {
		t.Errorf("sent %s", body)
	}
}

func TestKeysThatATypePromises(t *testing.T) {
	for _, c := range []struct {
		eventType event.Type
		change    func(*event.Event)
		path      string
		want      string
	}{
		{event.AppointmentProblemReported, func(e *event.Event) { e.Appointment.Problem = nil }, "appointment.problem", "null"},
		{event.AppointmentProblemReported, func(e *event.Event) { e.Appointment.Problem.Message = nil }, "appointment.problem", `{"code":"no_access","message":null}`},
		{event.AppointmentCompleted, func(e *event.Event) {}, "appointment.problem", ""},
		{event.AppointmentCancelled, func(e *event.Event) { e.Appointment.CancellationReason = nil }, "appointment.cancellationReason", "null"},
		{event.AppointmentCompleted, func(e *event.Event) {}, "appointment.cancellationReason", ""},
		{event.AppointmentCompleted, func(e *event.Event) { e.Appointment.CancellationReason = new("") }, "appointment.cancellationReason", `""`},
		{event.BillingEventFailed, func(e *event.Event) { e.BillingEvent.Error = nil }, "billingEvent.error", "null"},
		{event.BillingEventSent, func(e *event.Event) { e.BillingEvent.Error = &event.Fault{} }, "billingEvent.error", ""},
		{event.VisitReportCreated, func(e *event.Event) { e.VisitReport.Summary = nil }, "visitReport.summaryPreview", "null"},
		{event.VisitReportCreated, func(e *event.Event) { e.VisitReport.AttachmentCount = nil }, "visitReport.attachmentCount", "null"},
		{event.VisitReportCreated, func(e *event.Event) { e.VisitReport.AttachmentCount = new(int64(0)) }, "visitReport.attachmentCount", "0"},
		{event.VisitReportCreated, func(e *event.Event) { e.VisitReport.IsBillable = new(false) }, "visitReport.isBillable", "false"},
		{event.TargetFollowUpCreated, func(e *event.Event) { e.FollowUp.DueDate = nil }, "followUp.dueDate", "null"},
		{event.TargetFollowUpCreated, func(e *event.Event) { e.FollowUp.DueDate = new("2026-07-02T10:00:00+02:00") }, "followUp.dueDate", `"2026-07-02T08:00:00Z"`},
		{event.TargetImported, func(e *event.Event) { e.Target.Title = new(`<a> & "b"` + "\u00e4\U0001f600") }, "target.title", `"<a> & \"b\"` + "\u00e4\U0001f600" + `"`},
		{event.TargetImported, func(e *event.Event) { e.Target.ID = event.MaxID }, "target.id", "9007199254740991"},
	} {
		e := event.Sample(c.eventType, owner)
		c.change(&e)
		body, _ := payload.Render(e, everything, exampleContext())
		if got := value(t, body, c.path); got != c.want {
			t.Errorf("%s of %s is %q, want %q", c.path, c.eventType, got, c.want)
		}
	}
}

func TestTimesAreUTC(t *testing.T) {
	e := event.Sample(event.AppointmentStarted, owner)
	zone := time.FixedZone("CEST", 7200)
	e.OccurredAt = time.Date(2026, 6, 18, 18, 40, 0, 0, zone)
	e.Appointment.StartedAt = new(time.Date(2026, 6, 18, 0, 0, 0, 120_000_000, zone))
	body, _ := payload.Render(e, everything, exampleContext())
	if got := value(t, body, "occurredAt"); got != `"2026-06-18T16:40:00Z"` {
		t.Errorf("occurredAt is %s", got)
	}
	if got := value(t, body, "appointment.startedAt"); got != `"2026-06-17T22:00:00.12Z"` {
		t.Errorf("startedAt is %s", got)
	}
}

func TestRenderingTwiceGivesTheSameBytesAndOwnMemory(t *testing.T) {
	e := event.Sample(event.BillingEventFailed, owner)
	first, _ := payload.Render(e, everything, exampleContext())
	kept := bytes.Clone(first)
	second, _ := payload.Render(e, everything, exampleContext())
	if !bytes.Equal(first, second) {
		t.Errorf("got  %s\nthen %s", first, second)
	}
	clear(second)
	if !bytes.Equal(first, kept) {
		t.Error("two bodies share memory")
	}
}

func TestKeyLeavesOutWhatDoesNotMatter(t *testing.T) {
	bare := event.Sample(event.TargetFollowUpCreated, owner)
	bare.CustomerID, bare.LocationID, bare.ContactID, bare.Target = nil, nil, nil, nil
	if got := everything.KeyFor(bare, "sap"); got != (payload.Key{}) {
		t.Errorf("an event without references has the key %+v", got)
	}
	imported := event.Sample(event.TargetImported, owner)
	if got, want := everything.KeyFor(imported, "sap"), (payload.Key{SourceSystem: "sap"}); got != want {
		t.Errorf("target.imported has the key %+v, want %+v", got, want)
	}
	unbooked := payload.View{Options: everything.Options}
	if got := unbooked.For(event.Sample(event.BillingEventReady, owner)); got.BillingDetails || got.Billing {
		t.Errorf("billing details without the feature: %+v", got)
	}
}

func TestDefaultOptions(t *testing.T) {
	encoded, err := json.Marshal(payload.DefaultOptions())
	if want := `{"customerContext":true,"contactDetails":true,"summaryPreview":false,"billingDetails":false}`; err != nil || string(encoded) != want {
		t.Errorf("got %s, %v, want %s", encoded, err, want)
	}
}

func TestEntityKinds(t *testing.T) {
	for _, kind := range entityKinds {
		if !kind.Known() {
			t.Errorf("%s is not known", kind)
		}
	}
	if payload.EntityKind("report").Known() {
		t.Error("a report is known")
	}
}
