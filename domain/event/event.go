package event

import (
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Event is an emitted event (contract, section 5 and section 7, POST /v1/events), or an operational one. Its fields are
// all that is ever read of one: what an emitter adds is neither stored nor sent. A nil field was
// absent or null. Validate says which values are allowed.
type Event struct {
	// ID is evt_ and a ULID; empty until the emitter or the server has given one.
	ID         string    `json:"eventId,omitempty"`
	Type       Type      `json:"eventType"`
	OccurredAt time.Time `json:"occurredAt,omitzero"`
	TenantID   tenant.ID `json:"tenantId"`

	CustomerID *int64 `json:"customerId,omitempty"`
	LocationID *int64 `json:"locationId,omitempty"`
	ContactID  *int64 `json:"contactId,omitempty"`

	Appointment  *Appointment  `json:"appointment,omitempty"`
	VisitReport  *VisitReport  `json:"visitReport,omitempty"`
	FollowUp     *FollowUp     `json:"followUp,omitempty"`
	BillingEvent *BillingEvent `json:"billingEvent,omitempty"`
	Target       *Target       `json:"target,omitempty"`

	// Of operational events alone: no emitter's are read.
	Subscription   *Subscription   `json:"subscription,omitempty"`
	Delivery       *Delivery       `json:"delivery,omitempty"`
	SecretRotation *SecretRotation `json:"secretRotation,omitempty"`
}

// Target is the job that an event is about. It has no customer number on purpose: emitters may
// still send a legacy one, and the contract (section 2) forbids reading it.
type Target struct {
	ID    int64   `json:"id"`
	Title *string `json:"title,omitempty"`
}

// Appointment is a planned visit.
type Appointment struct {
	ID                 int64      `json:"id"`
	Title              *string    `json:"title,omitempty"`
	Status             *string    `json:"status,omitempty"`
	ScheduledStart     *time.Time `json:"scheduledStart,omitempty"`
	ScheduledEnd       *time.Time `json:"scheduledEnd,omitempty"`
	StartedAt          *time.Time `json:"startedAt,omitempty"`
	CompletedAt        *time.Time `json:"completedAt,omitempty"`
	Problem            *Fault     `json:"problem,omitempty"`
	CancellationReason *string    `json:"cancellationReason,omitempty"`
}

// Fault is what went wrong: an appointment's problem, or a billing event's error.
type Fault struct {
	Code    *string `json:"code,omitempty"`
	Message *string `json:"message,omitempty"`
}

// VisitReport is what a technician wrote about a visit.
type VisitReport struct {
	ID               int64   `json:"id"`
	Title            *string `json:"title,omitempty"`
	Status           *string `json:"status,omitempty"`
	Result           *string `json:"result,omitempty"`
	FollowUpRequired *bool   `json:"followUpRequired,omitempty"`
	IsBillable       *bool   `json:"isBillable,omitempty"`
	BillingStatus    *string `json:"billingStatus,omitempty"`
	AttachmentCount  *int64  `json:"attachmentCount,omitempty"`
	// Summary is free text; receivers see at most a preview of it, and only when they opted in.
	Summary *string `json:"summary,omitempty"`
}

// FollowUp is further work that came out of a visit.
type FollowUp struct {
	ID     int64   `json:"id"`
	Reason *string `json:"reason,omitempty"`
	// DueDate is a date (2026-07-01) or an RFC 3339 time.
	DueDate  *string `json:"dueDate,omitempty"`
	TargetID *int64  `json:"targetId,omitempty"`
}

// BillingEvent is work on its way to accounting.
type BillingEvent struct {
	ID            int64      `json:"id"`
	Status        *string    `json:"status,omitempty"`
	SourceType    *string    `json:"sourceType,omitempty"`
	VisitReportID *int64     `json:"visitReportId,omitempty"`
	TargetID      *int64     `json:"targetId,omitempty"`
	AppointmentID *int64     `json:"appointmentId,omitempty"`
	CreatedAtUTC  *time.Time `json:"createdAtUtc,omitempty"`
	Error         *Fault     `json:"error,omitempty"`
}

// has reports whether the event has the block.
func (e Event) has(block Block) bool {
	switch block {
	case BlockAppointment:
		return e.Appointment != nil
	case BlockVisitReport:
		return e.VisitReport != nil
	case BlockFollowUp:
		return e.FollowUp != nil
	case BlockBillingEvent:
		return e.BillingEvent != nil
	case BlockTarget:
		return e.Target != nil
	case BlockSubscription:
		return e.Subscription != nil
	case BlockDelivery:
		return e.Delivery != nil
	case BlockSecretRotation:
		return e.SecretRotation != nil
	default:
		return false
	}
}
