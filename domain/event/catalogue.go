package event

import (
	"fmt"
	"slices"
)

// entry is what the catalogue knows about a type.
type entry struct {
	eventType   Type
	description string
	needs       []Block
}

var catalogue = [...]entry{
	{TargetImported, "A target (a job at a customer's site) was imported into Ordinavo.", []Block{BlockTarget}},
	{TargetScheduled, "A target was given a place in the schedule.", []Block{BlockTarget}},
	{TargetCompleted, "All work on a target is done.", []Block{BlockTarget}},
	{TargetFollowUpCreated, "A follow-up was created for a target.", []Block{BlockFollowUp}},
	{AppointmentScheduled, "An appointment was scheduled, or moved to another time.", []Block{BlockAppointment}},
	{AppointmentStarted, "A technician started an appointment.", []Block{BlockAppointment}},
	{AppointmentCompleted, "A technician completed an appointment.", []Block{BlockAppointment}},
	{AppointmentProblemReported, "A problem was reported that hinders an appointment.", []Block{BlockAppointment}},
	{AppointmentCancelled, "An appointment was cancelled.", []Block{BlockAppointment}},
	{VisitReportCreated, "A visit report was begun.", []Block{BlockVisitReport}},
	{VisitReportSubmitted, "A visit report was handed in for approval.", []Block{BlockVisitReport}},
	{VisitReportApproved, "A visit report was approved by the back office.", []Block{BlockVisitReport}},
	{VisitReportRejected, "A visit report was sent back by the back office.", []Block{BlockVisitReport}},
	{VisitReportFollowUp, "A visit report says that another visit is needed.", []Block{BlockVisitReport, BlockFollowUp}},
	{VisitReportProblemReported, "A visit report describes a problem found on site.", []Block{BlockVisitReport}},
	{BillingEventCreated, "A billing event was created from completed work.", []Block{BlockBillingEvent}},
	{BillingEventReady, "A billing event is complete and ready to be sent to accounting.", []Block{BlockBillingEvent}},
	{BillingEventSent, "A billing event was sent to accounting.", []Block{BlockBillingEvent}},
	{BillingEventFailed, "A billing event could not be sent to accounting.", []Block{BlockBillingEvent}},
}

var operational = [...]entry{
	{SubscriptionDisabled, "The service disabled a subscription: its receiver is gone, or has done nothing but fail for five days.", []Block{BlockSubscription}},
	{SubscriptionFailing, "Ten attempts in a row of a subscription failed.", []Block{BlockSubscription}},
	{DeliveryDeadLettered, "A delivery was given up: no attempt follows unless somebody asks for one.", []Block{BlockSubscription, BlockDelivery}},
	{SecretRotationEnding, "The old signing secret of a subscription soon ends: a receiver that knows only that one will refuse what is sent.",
		[]Block{BlockSubscription, BlockSecretRotation}},
}

var byType = func() map[Type]*entry {
	index := make(map[Type]*entry, len(catalogue)+len(operational))
	for i := range catalogue {
		index[catalogue[i].eventType] = &catalogue[i]
	}
	for i := range operational {
		index[operational[i].eventType] = &operational[i]
	}
	return index
}()

// Types is the 19 types that product services emit, in the order of the contract, section 1; the caller owns the slice.
func Types() []Type { return typesOf(catalogue[:]) }

// OperationalTypes is the types of what the service tells of its own work; the caller owns the slice.
func OperationalTypes() []Type { return typesOf(operational[:]) }

// AllTypes is Types with the operational ones behind them; the caller owns the slice.
func AllTypes() []Type { return append(Types(), OperationalTypes()...) }

func typesOf(entries []entry) []Type {
	types := make([]Type, len(entries))
	for i, known := range entries {
		types[i] = known.eventType
	}
	return types
}

// ParseType is the type of that name; names are case-sensitive.
func ParseType(name string) (Type, error) {
	t := Type(name)
	if !t.Known() {
		return "", fmt.Errorf("%q is not a known event type", name)
	}
	return t, nil
}

// Known reports whether there is such a type.
func (t Type) Known() bool { return byType[t] != nil }

// Description says in one sentence what happened; it is empty for an unknown type.
func (t Type) Description() string {
	if known := byType[t]; known != nil {
		return known.description
	}
	return ""
}

// Block names a part of an emitted event by its key.
type Block string

// The blocks that describe what happened.
const (
	BlockAppointment  Block = "appointment"
	BlockVisitReport  Block = "visitReport"
	BlockFollowUp     Block = "followUp"
	BlockBillingEvent Block = "billingEvent"
	BlockTarget       Block = "target"
)

// The blocks of operational events.
const (
	BlockSubscription   Block = "subscription"
	BlockDelivery       Block = "delivery"
	BlockSecretRotation Block = "secretRotation"
)

// Needs reports whether an event of the type is refused without the block.
func (t Type) Needs(block Block) bool {
	known := byType[t]
	return known != nil && slices.Contains(known.needs, block)
}

// Carries reports whether the block of an event of the type is sent on, when the event has it
// (contract, section 2); what else an emitter adds is accepted and stays here.
func (t Type) Carries(block Block) bool {
	if t.IsOperational() {
		return t.Needs(block)
	}
	switch block {
	case BlockAppointment, BlockTarget:
		return true
	case BlockVisitReport:
		return t.Family() == FamilyVisitReport || t.Family() == FamilyBilling
	case BlockFollowUp:
		return t.HasFollowUp()
	case BlockBillingEvent:
		return t.Family() == FamilyBilling
	default:
		return false
	}
}
