package rest

import (
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/domain/event"
)

// emittedSchema is one event or a batch of at most so many. Each has a name: client generators lose what is in a choice without one,
// and send an empty object.
func emittedSchema(schemas huma.Registry, most int) *huma.Schema {
	const batch, either = "EmittedEvents", "EmittedEventOrEvents"
	one := emittedEventSchema(schemas)
	schemas.Map()[batch] = open(map[string]*huma.Schema{"events": {Type: huma.TypeArray, Items: one, MinItems: new(1), MaxItems: &most}}, "events")
	schemas.Map()[either] = &huma.Schema{OneOf: []*huma.Schema{one, {Ref: refSchema + batch}}}
	return &huma.Schema{Ref: refSchema + either}
}

// emittedEventSchema documents what the hand-written event decoder accepts; a test keeps the two in step.
func emittedEventSchema(schemas huma.Registry) *huma.Schema {
	const name = "EmittedEvent"
	types := make([]any, 0, len(event.Types()))
	for _, t := range event.Types() {
		types = append(types, string(t))
	}
	eventID := pattern(`^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	eventID.Description = "Made by the service when it is absent. Make it yourself, and send the same one again, where an answer may be lost."
	emitted := open(map[string]*huma.Schema{
		"eventId": nullable(eventID), "eventType": {Type: huma.TypeString, Enum: types}, "occurredAt": moment(),
		"tenantId":   nullable(pattern(`^[A-Za-z0-9._-]{1,64}$`)),
		"customerId": referenceTo("customer"), "locationId": referenceTo("location"), "contactId": referenceTo("contact"),
		"appointment": emittedAppointment(), "visitReport": emittedVisitReport(), "followUp": emittedFollowUp(),
		"billingEvent": emittedBillingEvent(), "target": open(map[string]*huma.Schema{"id": id(), "title": line(event.MaxTextLength)}, "id"),
	}, "eventType", "occurredAt")
	for _, block := range []event.Block{event.BlockAppointment, event.BlockVisitReport, event.BlockFollowUp, event.BlockBillingEvent, event.BlockTarget} {
		about("Needed by "+typesThat(func(t event.Type) bool { return t.Needs(block) })+
			". Sent on with "+typesThat(func(t event.Type) bool { return t.Carries(block) })+".", emitted.Properties[string(block)])
	}
	emitted.Description = "Unknown fields are accepted and never sent on. A null is as good as an absent field."
	schemas.Map()[name] = emitted
	return &huma.Schema{Ref: refSchema + name}
}

func referenceTo(kind string) *huma.Schema {
	return about("The "+kind+" in the directory. Sent on with "+typesThat(event.Type.HasCustomerContext)+".", reference())
}

// typesThat names the types for which something holds, a whole family by its pattern.
func typesThat(holds func(event.Type) bool) string {
	types := event.Types()
	isNot := func(t event.Type) bool { return !holds(t) }
	if !slices.ContainsFunc(types, isNot) {
		return "all types"
	}
	var names []string
	for _, t := range types {
		family := slices.DeleteFunc(event.Types(), func(other event.Type) bool { return other.Family() != t.Family() })
		if !slices.ContainsFunc(family, isNot) {
			names = append(names, string(t.Family())+".*")
		} else if holds(t) {
			names = append(names, string(t))
		}
	}
	return strings.Join(slices.Compact(names), ", ")
}

func emittedAppointment() *huma.Schema {
	return open(map[string]*huma.Schema{
		"id": id(), "title": line(event.MaxTextLength), "status": line(event.MaxCodeLength),
		"scheduledStart": nullable(moment()), "scheduledEnd": nullable(moment()), "startedAt": nullable(moment()), "completedAt": nullable(moment()),
		"problem": emittedFault(), "cancellationReason": line(event.MaxTextLength),
	}, "id")
}

func emittedVisitReport() *huma.Schema {
	summary := line(event.MaxSummaryLength)
	summary.Description = "Free text; receivers get at most a preview of it, and only when they opted in."
	attachments := nullable(integer())
	attachments.Minimum, attachments.Maximum = new(0.0), new(float64(event.MaxAttachmentCount))
	return open(map[string]*huma.Schema{
		"id": id(), "title": line(event.MaxTextLength), "status": line(event.MaxCodeLength), "result": line(event.MaxCodeLength),
		"followUpRequired": nullable(boolean()), "isBillable": nullable(boolean()), "billingStatus": line(event.MaxCodeLength),
		"attachmentCount": attachments, "summary": summary,
	}, "id")
}

func emittedFollowUp() *huma.Schema {
	due := nullable(text())
	due.Description = "A date (2026-07-01) or a time of RFC 3339."
	return open(map[string]*huma.Schema{"id": id(), "reason": line(event.MaxTextLength), "dueDate": due, "targetId": reference()}, "id")
}

func emittedBillingEvent() *huma.Schema {
	return open(map[string]*huma.Schema{
		"id": id(), "status": line(event.MaxCodeLength), "sourceType": line(event.MaxCodeLength), "visitReportId": reference(),
		"targetId": reference(), "appointmentId": reference(), "createdAtUtc": nullable(moment()), "error": emittedFault(),
	}, "id")
}

func emittedFault() *huma.Schema {
	fault := open(map[string]*huma.Schema{"code": line(event.MaxCodeLength), "message": line(event.MaxMessageLength)})
	return &huma.Schema{AnyOf: []*huma.Schema{fault, {Type: "null"}}}
}

// open is an object that may have other fields.
func open(properties map[string]*huma.Schema, required ...string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Properties: properties, Required: required, AdditionalProperties: true}
}

func id() *huma.Schema {
	schema := integer()
	schema.Minimum, schema.Maximum = new(1.0), new(float64(event.MaxID))
	return schema
}

func reference() *huma.Schema { return nullable(id()) }

func line(longest int) *huma.Schema {
	schema := nullable(text())
	schema.MaxLength = &longest
	return schema
}
