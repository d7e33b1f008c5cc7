package event

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Bounds of an emitted event's fields; lengths are in characters (Unicode code points).
const (
	MaxID              = 1<<53 - 1 // the largest integer that every JSON reader keeps exact
	MaxTextLength      = 500
	MaxCodeLength      = 100
	MaxMessageLength   = 2000
	MaxSummaryLength   = 100_000
	MaxAttachmentCount = 1_000_000
)

const (
	idPrefix      = "evt_"
	ulidLength    = 26
	crockfordBase = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// ValidID reports whether id is evt_ and a ULID in upper case; the first character is at most 7,
// since a ULID has 128 bits and 26 characters could hold 130.
func ValidID(id string) bool {
	ulid, found := strings.CutPrefix(id, idPrefix)
	if !found || len(ulid) != ulidLength || ulid[0] > '7' {
		return false
	}
	return strings.Trim(ulid, crockfordBase) == ""
}

// Validate notes every field that is missing or out of bounds. Blocks that the type does not
// need are checked as well, since they are stored with the event.
func (e Event) Validate(into problem.Fields) {
	check := checker{into}
	if e.ID != "" && !ValidID(e.ID) {
		into.Add("eventId", "must be evt_ followed by a ULID of 26 characters in upper case")
	}
	e.validateType(into)
	if e.TenantID == "" {
		into.Add("tenantId", "is missing")
	} else if !e.TenantID.Valid() {
		into.Add("tenantId", tenant.IDRule)
	}
	if e.OccurredAt.IsZero() {
		into.Add("occurredAt", "is missing")
	} else {
		check.moment("occurredAt", &e.OccurredAt)
	}
	check.reference("customerId", e.CustomerID)
	check.reference("locationId", e.LocationID)
	check.reference("contactId", e.ContactID)
	e.validateBlocks(into)
}

func (e Event) validateType(into problem.Fields) {
	known := byType[e.Type]
	switch {
	case e.Type == "":
		into.Add("eventType", "is missing")
	case known == nil:
		into.Add("eventType", "is not a known event type")
	case e.Type.IsOperational():
		into.Add("eventType", "is operational: the service alone makes such events")
	default:
		for _, block := range known.needs {
			if !e.has(block) {
				into.Add(string(block), "is missing: %s needs it", e.Type)
			}
		}
	}
}

func (e Event) validateBlocks(into problem.Fields) {
	if e.Appointment != nil {
		e.Appointment.validate(checker{into.Under(string(BlockAppointment))})
	}
	if e.VisitReport != nil {
		e.VisitReport.validate(checker{into.Under(string(BlockVisitReport))})
	}
	if e.FollowUp != nil {
		e.FollowUp.validate(checker{into.Under(string(BlockFollowUp))})
	}
	if e.BillingEvent != nil {
		e.BillingEvent.validate(checker{into.Under(string(BlockBillingEvent))})
	}
	if e.Target != nil {
		check := checker{into.Under(string(BlockTarget))}
		check.id(e.Target.ID)
		check.text("title", e.Target.Title, MaxTextLength)
	}
}

func (a Appointment) validate(check checker) {
	check.id(a.ID)
	check.text("title", a.Title, MaxTextLength)
	check.text("status", a.Status, MaxCodeLength)
	check.moment("scheduledStart", a.ScheduledStart)
	check.moment("scheduledEnd", a.ScheduledEnd)
	check.moment("startedAt", a.StartedAt)
	check.moment("completedAt", a.CompletedAt)
	check.fault("problem", a.Problem)
	check.prose("cancellationReason", a.CancellationReason, MaxTextLength)
}

func (r VisitReport) validate(check checker) {
	check.id(r.ID)
	check.text("title", r.Title, MaxTextLength)
	check.text("status", r.Status, MaxCodeLength)
	check.text("result", r.Result, MaxCodeLength)
	check.text("billingStatus", r.BillingStatus, MaxCodeLength)
	if r.AttachmentCount != nil && (*r.AttachmentCount < 0 || *r.AttachmentCount > MaxAttachmentCount) {
		check.Add("attachmentCount", "must be between 0 and %d", MaxAttachmentCount)
	}
	check.prose("summary", r.Summary, MaxSummaryLength)
}

func (f FollowUp) validate(check checker) {
	check.id(f.ID)
	check.prose("reason", f.Reason, MaxTextLength)
	check.reference("targetId", f.TargetID)
	if f.DueDate != nil && f.Due() == "" {
		check.Add("dueDate", "must be a date (2026-07-01) or an RFC 3339 time, in the years 1970 to 9999")
	}
}

func (b BillingEvent) validate(check checker) {
	check.id(b.ID)
	check.text("status", b.Status, MaxCodeLength)
	check.text("sourceType", b.SourceType, MaxCodeLength)
	check.reference("visitReportId", b.VisitReportID)
	check.reference("targetId", b.TargetID)
	check.reference("appointmentId", b.AppointmentID)
	check.moment("createdAtUtc", b.CreatedAtUTC)
	check.fault("error", b.Error)
}

// checker notes what is wrong with a block's fields; nil values are absent and fine.
type checker struct{ problem.Fields }

func (c checker) id(id int64) {
	if id == 0 {
		c.Add("id", "is missing, or 0: ids begin at 1")
		return
	}
	c.reference("id", &id)
}

func (c checker) reference(field string, id *int64) {
	if id != nil && (*id < 1 || *id > MaxID) {
		c.Add(field, "must be an integer between 1 and %d", int64(MaxID))
	}
}

func (c checker) moment(field string, at *time.Time) {
	if at != nil && !validYear(*at) {
		c.Add(field, "must be in the years 1970 to 9999")
	}
}

func validYear(at time.Time) bool {
	year := at.UTC().Year()
	return year >= 1970 && year <= 9999
}

func (c checker) fault(field string, fault *Fault) {
	if fault != nil {
		under := checker{c.Under(field)}
		under.text("code", fault.Code, MaxCodeLength)
		under.prose("message", fault.Message, MaxMessageLength)
	}
}

// text checks a string of one line.
func (c checker) text(field string, text *string, longest int) {
	c.characters(field, text, longest, unicode.IsControl)
}

// prose checks a string that may have several lines, as what people write into a form may.
func (c checker) prose(field string, text *string, longest int) {
	c.characters(field, text, longest, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

func (c checker) characters(field string, text *string, longest int, forbidden func(rune) bool) {
	switch {
	case text == nil:
	case !utf8.ValidString(*text):
		c.Add(field, "is not valid UTF-8")
	case utf8.RuneCountInString(*text) > longest:
		c.Add(field, "is longer than %d characters", longest)
	case strings.ContainsFunc(*text, forbidden):
		c.Add(field, "has a control character")
	}
}
