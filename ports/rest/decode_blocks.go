package rest

import (
	"time"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

func (r *eventReader) targetField(at problem.Fields, name []byte, t *event.Target) error {
	switch string(name) {
	case "id":
		return r.integer(at, "id", func(n int64) { t.ID = n })
	case "title":
		return r.optionalText(at, "title", &t.Title)
	default:
		return r.unknown(at, name)
	}
}

func (r *eventReader) appointmentField(at problem.Fields, name []byte, a *event.Appointment) error {
	switch string(name) {
	case "id":
		return r.integer(at, "id", func(n int64) { a.ID = n })
	case "title":
		return r.optionalText(at, "title", &a.Title)
	case "status":
		return r.optionalText(at, "status", &a.Status)
	case "scheduledStart":
		return r.optionalMoment(at, "scheduledStart", &a.ScheduledStart)
	case "scheduledEnd":
		return r.optionalMoment(at, "scheduledEnd", &a.ScheduledEnd)
	case "startedAt":
		return r.optionalMoment(at, "startedAt", &a.StartedAt)
	case "completedAt":
		return r.optionalMoment(at, "completedAt", &a.CompletedAt)
	case "problem":
		return block(r, at, "problem", &a.Problem, (*eventReader).faultField)
	case "cancellationReason":
		return r.optionalText(at, "cancellationReason", &a.CancellationReason)
	default:
		return r.unknown(at, name)
	}
}

func (r *eventReader) faultField(at problem.Fields, name []byte, f *event.Fault) error {
	switch string(name) {
	case "code":
		return r.optionalText(at, "code", &f.Code)
	case "message":
		return r.optionalText(at, "message", &f.Message)
	default:
		return r.unknown(at, name)
	}
}

func (r *eventReader) visitReportField(at problem.Fields, name []byte, v *event.VisitReport) error {
	switch string(name) {
	case "id":
		return r.integer(at, "id", func(n int64) { v.ID = n })
	case "title":
		return r.optionalText(at, "title", &v.Title)
	case "status":
		return r.optionalText(at, "status", &v.Status)
	case "result":
		return r.optionalText(at, "result", &v.Result)
	case "followUpRequired":
		return r.optionalBool(at, "followUpRequired", &v.FollowUpRequired)
	case "isBillable":
		return r.optionalBool(at, "isBillable", &v.IsBillable)
	case "billingStatus":
		return r.optionalText(at, "billingStatus", &v.BillingStatus)
	case "attachmentCount":
		return r.optionalInteger(at, "attachmentCount", &v.AttachmentCount)
	case "summary":
		return r.optionalText(at, "summary", &v.Summary)
	default:
		return r.unknown(at, name)
	}
}

func (r *eventReader) followUpField(at problem.Fields, name []byte, f *event.FollowUp) error {
	switch string(name) {
	case "id":
		return r.integer(at, "id", func(n int64) { f.ID = n })
	case "reason":
		return r.optionalText(at, "reason", &f.Reason)
	case "dueDate":
		return r.optionalText(at, "dueDate", &f.DueDate)
	case "targetId":
		return r.optionalInteger(at, "targetId", &f.TargetID)
	default:
		return r.unknown(at, name)
	}
}

func (r *eventReader) billingEventField(at problem.Fields, name []byte, b *event.BillingEvent) error {
	switch string(name) {
	case "id":
		return r.integer(at, "id", func(n int64) { b.ID = n })
	case "status":
		return r.optionalText(at, "status", &b.Status)
	case "sourceType":
		return r.optionalText(at, "sourceType", &b.SourceType)
	case "visitReportId":
		return r.optionalInteger(at, "visitReportId", &b.VisitReportID)
	case "targetId":
		return r.optionalInteger(at, "targetId", &b.TargetID)
	case "appointmentId":
		return r.optionalInteger(at, "appointmentId", &b.AppointmentID)
	case "createdAtUtc":
		return r.moment(at, "createdAtUtc", func(t time.Time) { b.CreatedAtUTC = &t })
	case "error":
		return block(r, at, "error", &b.Error, (*eventReader).faultField)
	default:
		return r.unknown(at, name)
	}
}
