package event_test

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

// refused is the paths of the fields that Validate refuses.
func refused(e event.Event, prefix string) []string {
	fields := problem.Collect(prefix)
	e.Validate(fields)
	var refusal *problem.Error
	if !errors.As(fields.Err(), &refusal) {
		return nil
	}
	return slices.Sorted(maps.Keys(refusal.Fields))
}

func TestSamplesAreValid(t *testing.T) {
	for _, eventType := range event.Types() {
		if paths := refused(event.Sample(eventType, "tenant-123"), ""); paths != nil {
			t.Errorf("%s: %v", eventType, paths)
		}
	}
}

func TestSampleBelongsToTheCaller(t *testing.T) {
	first := event.Sample(event.BillingEventFailed, "a")
	*first.CustomerID, *first.Target.Title, first.VisitReport.ID = 99, "changed", 99
	second := event.Sample(event.BillingEventFailed, "a")
	if *second.CustomerID != 12 || *second.Target.Title != "Maintenance visit" || second.VisitReport.ID != 901 {
		t.Error("a sample shares memory with another")
	}
}

// full is an event with every field of every block.
func full() event.Event {
	e := event.Sample(event.VisitReportFollowUp, "tenant-123")
	e.Appointment = event.Sample(event.AppointmentCompleted, "").Appointment
	e.Appointment.Problem = &event.Fault{Code: new("c"), Message: new("m")}
	e.Appointment.CancellationReason = new("r")
	e.BillingEvent = event.Sample(event.BillingEventFailed, "").BillingEvent
	e.Subscription = event.Sample(event.SubscriptionFailing, "").Subscription
	e.Subscription.Reason = event.Sample(event.SubscriptionDisabled, "").Subscription.Reason
	e.Delivery = event.Sample(event.DeliveryDeadLettered, "").Delivery
	e.SecretRotation = event.Sample(event.SecretRotationEnding, "").SecretRotation
	return e
}

func TestValidateRefuses(t *testing.T) {
	long := func(n int) *string { return new(strings.Repeat("ä", n)) }
	late := new(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		path   string
		change func(*event.Event)
	}{
		{"eventId", func(e *event.Event) { e.ID = "evt_1" }},
		{"eventType", func(e *event.Event) { e.Type = "" }},
		{"eventType", func(e *event.Event) { e.Type = "Visit_report.approved" }},
		{"tenantId", func(e *event.Event) { e.TenantID = "" }},
		{"tenantId", func(e *event.Event) { e.TenantID = "a/b" }},
		{"occurredAt", func(e *event.Event) { e.OccurredAt = time.Time{} }},
		{"occurredAt", func(e *event.Event) { e.OccurredAt = *late }},
		{"occurredAt", func(e *event.Event) { e.OccurredAt = time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC) }},
		{"customerId", func(e *event.Event) { e.CustomerID = new(int64(0)) }},
		{"locationId", func(e *event.Event) { e.LocationID = new(int64(-1)) }},
		{"contactId", func(e *event.Event) { e.ContactID = new(int64(math.MaxInt64)) }},
		{"visitReport", func(e *event.Event) { e.VisitReport = nil }},
		{"followUp", func(e *event.Event) { e.FollowUp = nil }},
		{"appointment.id", func(e *event.Event) { e.Appointment.ID = 0 }},
		{"appointment.title", func(e *event.Event) { e.Appointment.Title = long(501) }},
		{"appointment.status", func(e *event.Event) { e.Appointment.Status = long(101) }},
		{"appointment.scheduledStart", func(e *event.Event) { e.Appointment.ScheduledStart = late }},
		{"appointment.scheduledEnd", func(e *event.Event) { e.Appointment.ScheduledEnd = late }},
		{"appointment.startedAt", func(e *event.Event) { e.Appointment.StartedAt = late }},
		{"appointment.completedAt", func(e *event.Event) { e.Appointment.CompletedAt = late }},
		{"appointment.problem.code", func(e *event.Event) { e.Appointment.Problem.Code = long(101) }},
		{"appointment.problem.message", func(e *event.Event) { e.Appointment.Problem.Message = long(2001) }},
		{"appointment.cancellationReason", func(e *event.Event) { e.Appointment.CancellationReason = long(501) }},
		{"appointment.cancellationReason", func(e *event.Event) { e.Appointment.CancellationReason = new("a\x00b") }},
		{"visitReport.id", func(e *event.Event) { e.VisitReport.ID = event.MaxID + 1 }},
		{"visitReport.title", func(e *event.Event) { e.VisitReport.Title = new("a\nb") }},
		{"visitReport.status", func(e *event.Event) { e.VisitReport.Status = new("\x7f") }},
		{"visitReport.result", func(e *event.Event) { e.VisitReport.Result = new("\xff") }},
		{"visitReport.billingStatus", func(e *event.Event) { e.VisitReport.BillingStatus = long(101) }},
		{"visitReport.attachmentCount", func(e *event.Event) { e.VisitReport.AttachmentCount = new(int64(-1)) }},
		{"visitReport.attachmentCount", func(e *event.Event) { e.VisitReport.AttachmentCount = new(int64(1_000_001)) }},
		{"visitReport.summary", func(e *event.Event) { e.VisitReport.Summary = new("a\x00b") }},
		{"visitReport.summary", func(e *event.Event) { e.VisitReport.Summary = long(100_001) }},
		{"followUp.id", func(e *event.Event) { e.FollowUp.ID = -1 }},
		{"followUp.reason", func(e *event.Event) { e.FollowUp.Reason = long(501) }},
		{"followUp.reason", func(e *event.Event) { e.FollowUp.Reason = new("a\x1bb") }},
		{"followUp.dueDate", func(e *event.Event) { e.FollowUp.DueDate = new("tomorrow") }},
		{"followUp.dueDate", func(e *event.Event) { e.FollowUp.DueDate = new("2026-02-30") }},
		{"followUp.dueDate", func(e *event.Event) { e.FollowUp.DueDate = new("") }},
		{"followUp.targetId", func(e *event.Event) { e.FollowUp.TargetID = new(int64(0)) }},
		{"billingEvent.id", func(e *event.Event) { e.BillingEvent.ID = 0 }},
		{"billingEvent.status", func(e *event.Event) { e.BillingEvent.Status = long(101) }},
		{"billingEvent.sourceType", func(e *event.Event) { e.BillingEvent.SourceType = long(101) }},
		{"billingEvent.visitReportId", func(e *event.Event) { e.BillingEvent.VisitReportID = new(int64(0)) }},
		{"billingEvent.targetId", func(e *event.Event) { e.BillingEvent.TargetID = new(int64(0)) }},
		{"billingEvent.appointmentId", func(e *event.Event) { e.BillingEvent.AppointmentID = new(int64(0)) }},
		{"billingEvent.createdAtUtc", func(e *event.Event) { e.BillingEvent.CreatedAtUTC = late }},
		{"billingEvent.error.code", func(e *event.Event) { e.BillingEvent.Error.Code = new("a\x00") }},
		{"billingEvent.error.message", func(e *event.Event) { e.BillingEvent.Error.Message = new("a\x00") }},
		{"target.id", func(e *event.Event) { e.Target.ID = 0 }},
		{"target.title", func(e *event.Event) { e.Target.Title = long(501) }},
	} {
		e := full()
		c.change(&e)
		if got, want := refused(e, "events[3]"), []string{"events[3]." + c.path}; !slices.Equal(got, want) {
			t.Errorf("refused %v, want %v", got, want)
		}
	}
}

func TestValidateAcceptsTheBounds(t *testing.T) {
	e := full()
	e.ID = ""
	e.OccurredAt = time.Unix(0, 0).In(time.FixedZone("west", -3600))
	e.Appointment.CompletedAt = new(time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC))
	e.CustomerID = new(int64(event.MaxID))
	e.VisitReport.Title = new(strings.Repeat("😀", event.MaxTextLength))
	e.VisitReport.Summary = new(strings.Repeat("ä", event.MaxSummaryLength-3) + "\r\n\t")
	e.VisitReport.AttachmentCount = new(int64(event.MaxAttachmentCount))
	e.Appointment.Problem.Message = new("one\ntwo")
	e.Appointment.CancellationReason = new("one\r\ntwo")
	e.FollowUp.Reason = new("one\n\ttwo")
	e.FollowUp.DueDate = new("2026-07-01T09:00:00+02:00")
	if paths := refused(e, ""); paths != nil {
		t.Errorf("refused %v", paths)
	}
}

func TestEachTypeNeedsItsBlocks(t *testing.T) {
	needs := func(eventType event.Type) []string {
		switch {
		case eventType == event.TargetFollowUpCreated:
			return []string{"followUp"}
		case eventType == event.VisitReportFollowUp:
			return []string{"followUp", "visitReport"}
		case eventType.Family() == event.FamilyBilling:
			return []string{"billingEvent"}
		case eventType.Family() == event.FamilyVisitReport:
			return []string{"visitReport"}
		default:
			return []string{string(eventType.Family())}
		}
	}
	for _, eventType := range event.Types() {
		bare := event.Event{Type: eventType, TenantID: "t", OccurredAt: time.Unix(1, 0)}
		if got, want := refused(bare, ""), needs(eventType); !slices.Equal(got, want) {
			t.Errorf("%s without blocks: refused %v, want %v", eventType, got, want)
		}
		for _, block := range needs(eventType) {
			if !eventType.Needs(event.Block(block)) || !eventType.Carries(event.Block(block)) {
				t.Errorf("%s needs %s, but does not say so or does not send it", eventType, block)
			}
		}
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		event.SampleID:                    true,
		"evt_7ZZZZZZZZZZZZZZZZZZZZZZZZZ":  true,
		"evt_00000000000000000000000000":  true,
		"evt_80000000000000000000000000":  false,
		"evt_0000000000000000000000000I":  false,
		"evt_01jz8a2mt8g7c3y7v0wq1m9b3c":  false,
		"evt_0000000000000000000000000":   false,
		"evt_000000000000000000000000000": false,
		"evt_0000000000000\n000000000000": false,
		"sub_00000000000000000000000000":  false,
		"":                                false,
	} {
		if event.ValidID(id) != want {
			t.Errorf("%q: want %v", id, want)
		}
	}
}

func TestCatalogue(t *testing.T) {
	types := event.Types()
	if len(types) != 19 || types[0] != event.TargetImported || types[18] != event.BillingEventFailed {
		t.Errorf("the types are %v", types)
	}
	types[0] = "changed"
	if event.Types()[0] != event.TargetImported {
		t.Error("a caller changed the catalogue")
	}
	for _, eventType := range event.Types() {
		parsed, err := event.ParseType(string(eventType))
		if err != nil || parsed != eventType || !eventType.Known() || eventType.Description() == "" {
			t.Errorf("%s: %v, %v", eventType, parsed, err)
		}
	}
	unknown := event.Type("visit_report.*")
	if _, err := event.ParseType(string(unknown)); err == nil || unknown.Known() || unknown.Description() != "" || unknown.Needs(event.BlockTarget) {
		t.Errorf("%s is taken for a type", unknown)
	}
	if event.TargetImported.Carries("notes") {
		t.Error("an unknown block is sent")
	}
}

func TestCustomerContext(t *testing.T) {
	var without []event.Type
	for _, eventType := range event.Types() {
		if !eventType.HasCustomerContext() {
			without = append(without, eventType)
		}
	}
	if want := []event.Type{event.TargetImported, event.TargetScheduled, event.TargetCompleted}; !slices.Equal(without, want) {
		t.Errorf("without customer context: %v, want %v", without, want)
	}
}
