package payload

import (
	"fmt"

	"github.com/ordinavo/webhooks/domain/event"
)

// The envelope's constants (contract, section 2).
const (
	source         = "ordinavo"
	payloadVersion = "1.0"
)

// usualSize holds most bodies without growing.
const usualSize = 1280

// Render is the body of the event for one view, as compact JSON, and what was odd about it:
// references that the directory does not know. It is a pure function of its arguments; the event
// must be valid and have its ID.
func Render(e event.Event, v View, c Context) (body []byte, warnings []string) {
	r := renderer{writer: writer{make([]byte, 0, usualSize)}, event: &e, view: v.For(e), context: c}
	r.open("")
	r.envelope()
	r.customer()
	r.location()
	r.contact()
	r.appointment()
	r.visitReport()
	r.followUp()
	r.billingEvent()
	r.target()
	r.subscription()
	r.delivery()
	r.secretRotation()
	r.close()
	return r.buf, r.warnings
}

// renderer writes one block per method, in the order of the contract's table.
type renderer struct {
	writer
	event    *event.Event
	view     View
	context  Context
	warnings []string
}

func (r *renderer) envelope() {
	r.text("eventId", r.event.ID)
	r.text("eventType", string(r.event.Type))
	r.moment("occurredAt", r.event.OccurredAt)
	r.text("tenantId", string(r.event.TenantID))
	r.text("source", source)
	r.text("payloadVersion", payloadVersion)
}

func (r *renderer) customer() {
	id := r.event.CustomerID
	if !r.view.CustomerContext || id == nil {
		return
	}
	record := r.context.Customer
	if record == nil || record.ID != *id {
		record = &Customer{ID: *id}
		r.unknown(KindCustomer, *id)
	}
	r.open("customer")
	r.integer("ordinavoCustomerId", *id)
	r.externalID(KindCustomer, *id)
	r.optionalText("customerNumber", record.CustomerNumber)
	r.optionalText("name", record.Name)
	r.close()
}

func (r *renderer) location() {
	id := r.event.LocationID
	if !r.view.CustomerContext || id == nil {
		return
	}
	record := r.context.Location
	if record == nil || record.ID != *id {
		record = &Location{ID: *id}
		r.unknown(KindLocation, *id)
	}
	r.open("location")
	r.integer("ordinavoLocationId", *id)
	r.externalID(KindLocation, *id)
	r.optionalText("name", record.Name)
	r.optionalText("city", record.City)
	r.optionalBool("hasCoordinates", record.HasCoordinates)
	r.close()
}

func (r *renderer) contact() {
	id := r.event.ContactID
	if !r.view.ContactDetails || id == nil {
		return
	}
	record := r.context.Contact
	if record == nil || record.ID != *id {
		record = &Contact{ID: *id}
		r.unknown(KindContact, *id)
	}
	r.open("contact")
	r.integer("ordinavoContactId", *id)
	r.externalID(KindContact, *id)
	r.optionalText("displayName", record.DisplayName)
	r.close()
}

func (r *renderer) appointment() {
	a := r.event.Appointment
	if a == nil || !r.event.Type.Carries(event.BlockAppointment) {
		return
	}
	r.open("appointment")
	r.integer("id", a.ID)
	r.optionalText("title", a.Title)
	r.optionalText("status", a.Status)
	r.optionalMoment("scheduledStart", a.ScheduledStart)
	r.optionalMoment("scheduledEnd", a.ScheduledEnd)
	r.optionalMoment("startedAt", a.StartedAt)
	r.optionalMoment("completedAt", a.CompletedAt)
	if a.Problem != nil || r.event.Type == event.AppointmentProblemReported {
		r.fault("problem", a.Problem)
	}
	if a.CancellationReason != nil || r.event.Type == event.AppointmentCancelled {
		r.optionalText("cancellationReason", a.CancellationReason)
	}
	r.close()
}

func (r *renderer) visitReport() {
	report := r.event.VisitReport
	if report == nil || !r.event.Type.Carries(event.BlockVisitReport) {
		return
	}
	r.open("visitReport")
	r.integer("id", report.ID)
	r.optionalText("title", report.Title)
	r.optionalText("status", report.Status)
	r.optionalText("result", report.Result)
	r.optionalBool("followUpRequired", report.FollowUpRequired)
	r.optionalBool("isBillable", report.IsBillable)
	r.optionalText("billingStatus", report.BillingStatus)
	r.optionalInteger("attachmentCount", report.AttachmentCount)
	if r.view.SummaryPreview {
		r.optionalText("summaryPreview", summaryPreview(report.Summary))
	}
	r.close()
}

func (r *renderer) followUp() {
	f := r.event.FollowUp
	if f == nil || !r.event.Type.Carries(event.BlockFollowUp) {
		return
	}
	r.open("followUp")
	r.integer("id", f.ID)
	r.optionalText("reason", f.Reason)
	if due := f.Due(); due != "" {
		r.text("dueDate", due)
	} else {
		r.null("dueDate")
	}
	r.optionalInteger("targetId", f.TargetID)
	r.close()
}

func (r *renderer) billingEvent() {
	b := r.event.BillingEvent
	if !r.view.BillingDetails || b == nil {
		return
	}
	r.open("billingEvent")
	r.integer("id", b.ID)
	r.optionalText("status", b.Status)
	r.optionalText("sourceType", b.SourceType)
	r.optionalInteger("visitReportId", b.VisitReportID)
	r.optionalInteger("targetId", b.TargetID)
	r.optionalInteger("appointmentId", b.AppointmentID)
	r.optionalMoment("createdAtUtc", b.CreatedAtUTC)
	if r.event.Type == event.BillingEventFailed {
		r.fault("error", b.Error)
	}
	r.close()
}

func (r *renderer) target() {
	t := r.event.Target
	if t == nil || !r.event.Type.Carries(event.BlockTarget) {
		return
	}
	r.open("target")
	r.integer("id", t.ID)
	r.externalID(KindTarget, t.ID)
	r.optionalText("title", t.Title)
	r.close()
}

func (r *renderer) fault(name string, f *event.Fault) {
	if f == nil {
		r.null(name)
		return
	}
	r.open(name)
	r.optionalText("code", f.Code)
	r.optionalText("message", f.Message)
	r.close()
}

// externalID writes the ID of the subscription's source system, or null.
func (r *renderer) externalID(kind EntityKind, id int64) {
	if external, found := r.context.ExternalIDs[Ref{kind, id}]; found {
		r.text("externalId", external)
		return
	}
	r.null("externalId")
}

func (r *renderer) unknown(kind EntityKind, id int64) {
	r.warnings = append(r.warnings, fmt.Sprintf("%s %d is not in the directory", kind, id))
}
