// Package event holds the business facts that product services emit.
package event

import "strings"

// Type is one of the 19 event types of the contract, section 1.
type Type string

// The event types, in the order of the contract.
const (
	TargetImported             Type = "target.imported"
	TargetScheduled            Type = "target.scheduled"
	TargetCompleted            Type = "target.completed"
	TargetFollowUpCreated      Type = "target.follow_up_created"
	AppointmentScheduled       Type = "appointment.scheduled"
	AppointmentStarted         Type = "appointment.started"
	AppointmentCompleted       Type = "appointment.completed"
	AppointmentProblemReported Type = "appointment.problem_reported"
	AppointmentCancelled       Type = "appointment.cancelled"
	VisitReportCreated         Type = "visit_report.created"
	VisitReportSubmitted       Type = "visit_report.submitted"
	VisitReportApproved        Type = "visit_report.approved"
	VisitReportRejected        Type = "visit_report.rejected"
	VisitReportFollowUp        Type = "visit_report.follow_up_required"
	VisitReportProblemReported Type = "visit_report.problem_reported"
	BillingEventCreated        Type = "billing.event_created"
	BillingEventReady          Type = "billing.event_ready"
	BillingEventSent           Type = "billing.event_sent"
	BillingEventFailed         Type = "billing.event_failed"
)

// Family is the part of a type before the dot.
type Family string

// The families of the 19 types.
const (
	FamilyTarget      Family = "target"
	FamilyAppointment Family = "appointment"
	FamilyVisitReport Family = "visit_report"
	FamilyBilling     Family = "billing"
)

// Family is the type's family.
func (t Type) Family() Family {
	family, _, _ := strings.Cut(string(t), ".")
	return Family(family)
}

// HasFollowUp reports whether the type carries the followUp block.
func (t Type) HasFollowUp() bool { return t == TargetFollowUpCreated || t == VisitReportFollowUp }

// HasCustomerContext reports whether the type carries customer, location and contact (contract, section 1).
func (t Type) HasCustomerContext() bool { return t.Family() != FamilyTarget || t.HasFollowUp() }
