package event

import "github.com/ordinavo/webhooks/domain/stored"

// The members that Encode writes, in its order. A field that is not here is still read, by encoding/json and in
// several times the time.
func (e *Event) read(r *stored.Reader) {
	r.Text("eventId", &e.ID)
	r.Text("eventType", (*string)(&e.Type))
	r.Time("occurredAt", &e.OccurredAt)
	r.Text("tenantId", (*string)(&e.TenantID))
	e.CustomerID = stored.If(r, "customerId", integer)
	e.LocationID = stored.If(r, "locationId", integer)
	e.ContactID = stored.If(r, "contactId", integer)
	e.Appointment = stored.Inner(r, "appointment", (*Appointment).read)
	e.VisitReport = stored.Inner(r, "visitReport", (*VisitReport).read)
	e.FollowUp = stored.Inner(r, "followUp", (*FollowUp).read)
	e.BillingEvent = stored.Inner(r, "billingEvent", (*BillingEvent).read)
	e.Target = stored.Inner(r, "target", (*Target).read)
}

var (
	text    = (*stored.Reader).Text
	integer = (*stored.Reader).Int
	truth   = (*stored.Reader).Bool
	moment  = (*stored.Reader).Time
)

func (a *Appointment) read(r *stored.Reader) {
	r.Int("id", &a.ID)
	a.Title = stored.If(r, "title", text)
	a.Status = stored.If(r, "status", text)
	a.ScheduledStart = stored.If(r, "scheduledStart", moment)
	a.ScheduledEnd = stored.If(r, "scheduledEnd", moment)
	a.StartedAt = stored.If(r, "startedAt", moment)
	a.CompletedAt = stored.If(r, "completedAt", moment)
	a.Problem = stored.Inner(r, "problem", (*Fault).read)
	a.CancellationReason = stored.If(r, "cancellationReason", text)
}

func (f *Fault) read(r *stored.Reader) {
	f.Code = stored.If(r, "code", text)
	f.Message = stored.If(r, "message", text)
}

func (v *VisitReport) read(r *stored.Reader) {
	r.Int("id", &v.ID)
	v.Title = stored.If(r, "title", text)
	v.Status = stored.If(r, "status", text)
	v.Result = stored.If(r, "result", text)
	v.FollowUpRequired = stored.If(r, "followUpRequired", truth)
	v.IsBillable = stored.If(r, "isBillable", truth)
	v.BillingStatus = stored.If(r, "billingStatus", text)
	v.AttachmentCount = stored.If(r, "attachmentCount", integer)
	v.Summary = stored.If(r, "summary", text)
}

func (f *FollowUp) read(r *stored.Reader) {
	r.Int("id", &f.ID)
	f.Reason = stored.If(r, "reason", text)
	f.DueDate = stored.If(r, "dueDate", text)
	f.TargetID = stored.If(r, "targetId", integer)
}

func (b *BillingEvent) read(r *stored.Reader) {
	r.Int("id", &b.ID)
	b.Status = stored.If(r, "status", text)
	b.SourceType = stored.If(r, "sourceType", text)
	b.VisitReportID = stored.If(r, "visitReportId", integer)
	b.TargetID = stored.If(r, "targetId", integer)
	b.AppointmentID = stored.If(r, "appointmentId", integer)
	b.CreatedAtUTC = stored.If(r, "createdAtUtc", moment)
	b.Error = stored.Inner(r, "error", (*Fault).read)
}

func (t *Target) read(r *stored.Reader) {
	r.Int("id", &t.ID)
	t.Title = stored.If(r, "title", text)
}
