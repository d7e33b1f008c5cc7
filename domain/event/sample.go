package event

import (
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// SampleID is the eventId of the public documentation's example. Who sends a sample gives it one
// of its own.
const SampleID = "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"

var sampleTime = time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)

// Sample is a valid event of the type as a field service would emit it, or the service itself, for documentation and
// tests: the maintenance visit of the public example (customer 12, location 34, contact 56,
// report 901, target 455). The caller owns all of it.
func Sample(t Type, owner tenant.ID) Event {
	e := Event{ID: SampleID, Type: t, OccurredAt: sampleTime, TenantID: owner}
	if t.IsOperational() {
		return operationalSample(t, e)
	}
	e.Target = &Target{ID: 455, Title: new("Maintenance visit")}
	if t.HasCustomerContext() {
		e.CustomerID, e.LocationID, e.ContactID = new(int64(12)), new(int64(34)), new(int64(56))
	}
	switch t.Family() {
	case FamilyTarget, FamilyOperational: // complete
	case FamilyAppointment:
		e.Appointment = sampleAppointment(t)
	case FamilyVisitReport:
		e.VisitReport = sampleVisitReport(t)
	case FamilyBilling:
		e.VisitReport = sampleVisitReport(VisitReportApproved)
		e.VisitReport.BillingStatus = new("Ready")
		e.BillingEvent = sampleBillingEvent(t)
	}
	if t.HasFollowUp() {
		e.FollowUp = &FollowUp{ID: 77, Reason: new("Filter must be replaced"), DueDate: new("2026-07-02"), TargetID: new(int64(455))}
	}
	return e
}

func sampleAppointment(t Type) *Appointment {
	start := time.Date(2026, 6, 18, 14, 0, 0, 0, time.UTC)
	end := start.Add(2 * time.Hour)
	a := &Appointment{ID: 678, Title: new("Maintenance visit - Essen Center"), ScheduledStart: &start, ScheduledEnd: &end}
	switch t {
	case AppointmentStarted:
		a.Status, a.StartedAt = new("Started"), new(start.Add(5*time.Minute))
	case AppointmentCompleted:
		a.Status, a.StartedAt, a.CompletedAt = new("Completed"), new(start.Add(5*time.Minute)), new(end.Add(-10*time.Minute))
	case AppointmentProblemReported:
		a.Status, a.StartedAt = new("Problem"), new(start.Add(5*time.Minute))
		a.Problem = &Fault{Code: new("no_access"), Message: new("The plant room was locked.")}
	case AppointmentCancelled:
		a.Status, a.CancellationReason = new("Cancelled"), new("The customer asked for another week")
	default:
		a.Status = new("Scheduled")
	}
	return a
}

func sampleVisitReport(t Type) *VisitReport {
	report := &VisitReport{
		ID:               901,
		Title:            new("Maintenance visit - Essen Center"),
		Status:           new("Submitted"),
		Result:           new("Successful"),
		FollowUpRequired: new(false),
		IsBillable:       new(true),
		BillingStatus:    new("NotReady"),
		AttachmentCount:  new(int64(2)),
		Summary:          new("All units inspected, filters cleaned.\nNo defects found; next service is due in a year."),
	}
	switch t {
	case VisitReportCreated:
		report.Status, report.Result, report.AttachmentCount, report.Summary = new("Draft"), nil, new(int64(0)), nil
	case VisitReportApproved:
		report.Status = new("Approved")
	case VisitReportRejected:
		report.Status = new("Rejected")
	case VisitReportFollowUp:
		report.Result, report.FollowUpRequired = new("FollowUpRequired"), new(true)
		report.Summary = new("Unit 3 runs, but its filter is worn and must be replaced within two weeks.")
	case VisitReportProblemReported:
		report.Result, report.IsBillable = new("Problem"), new(false)
		report.Summary = new("Unit 3 leaks coolant; it was switched off.")
	}
	return report
}

func sampleBillingEvent(t Type) *BillingEvent {
	b := &BillingEvent{
		ID:            3301,
		SourceType:    new("VisitReport"),
		VisitReportID: new(int64(901)),
		TargetID:      new(int64(455)),
		AppointmentID: new(int64(678)),
		CreatedAtUTC:  new(sampleTime.Add(-time.Minute)),
	}
	switch t {
	case BillingEventReady:
		b.Status = new("Ready")
	case BillingEventSent:
		b.Status = new("Sent")
	case BillingEventFailed:
		b.Status = new("Failed")
		b.Error = &Fault{Code: new("accounting_rejected"), Message: new("The accounting system does not know cost centre 4711.")}
	default:
		b.Status = new("Created")
	}
	return b
}
