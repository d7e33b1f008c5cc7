// Package event holds the business facts that product services emit, and what the service itself tells of its work.
package event

import "strings"

// Type is one of the 19 event types of the contract, section 1, or one of the operational ones.
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

// The operational types: what the service tells a tenant's admins about their own subscriptions. The service alone
// makes such events.
const (
	SubscriptionDisabled Type = "ordinavo.subscription.disabled"
	SubscriptionFailing  Type = "ordinavo.subscription.failing"
	DeliveryDeadLettered Type = "ordinavo.delivery.dead_lettered"
	SecretRotationEnding Type = "ordinavo.secret.rotation_ending"
)

// Family is the part of a type before the first dot.
type Family string

// The families of the types.
const (
	FamilyTarget      Family = "target"
	FamilyAppointment Family = "appointment"
	FamilyVisitReport Family = "visit_report"
	FamilyBilling     Family = "billing"
	FamilyOperational Family = "ordinavo"
)

// Family is the type's family.
func (t Type) Family() Family {
	family, _, _ := strings.Cut(string(t), ".")
	return Family(family)
}

// HasFollowUp reports whether the type carries the followUp block.
func (t Type) HasFollowUp() bool { return t == TargetFollowUpCreated || t == VisitReportFollowUp }

// HasCustomerContext reports whether the type carries customer, location and contact (contract, section 1).
func (t Type) HasCustomerContext() bool {
	return !t.IsOperational() && (t.Family() != FamilyTarget || t.HasFollowUp())
}

// IsOperational reports whether the service alone makes events of the type.
func (t Type) IsOperational() bool { return t.Family() == FamilyOperational }
