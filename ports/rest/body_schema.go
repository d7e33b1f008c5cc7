package rest

import (
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/domain/event"
)

// bodySchema is the JSON Schema of the body that a receiver gets (contract, section 2). Objects are
// open: a later version may add keys.
func bodySchema(t event.Type) *huma.Schema {
	body := object(
		field{"eventId", about("The same for every attempt and replay: go by it to recognise what was handled before.", pattern(`^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$`))},
		field{"eventType", constant(string(t))}, field{"occurredAt", about("When it happened, in UTC. Events may arrive in another order.", moment())},
		field{"tenantId", text()}, field{"source", constant("ordinavo")},
		field{"payloadVersion", about("Keys may be added to this version, so let others than these pass.", constant("1.0"))},
	)
	body.Title, body.Description = string(t), t.Description()
	if t.HasCustomerContext() {
		body.Properties["customer"] = customerSchema()
		body.Properties["location"] = locationSchema()
		body.Properties["contact"] = contactSchema()
	}
	blocks := map[event.Block]*huma.Schema{
		event.BlockAppointment: appointmentSchema(t), event.BlockVisitReport: visitReportSchema(), event.BlockFollowUp: followUpSchema(),
		event.BlockBillingEvent: billingEventSchema(t), event.BlockTarget: targetSchema(),
		event.BlockSubscription: subscriptionSchema(t), event.BlockDelivery: deliverySchema(), event.BlockSecretRotation: object(field{"overlapEnd", moment()}),
	}
	for block, schema := range blocks {
		if !t.Carries(block) {
			continue
		}
		body.Properties[string(block)] = schema
		// Whether billing details are sent is the subscription's choice.
		if t.Needs(block) && block != event.BlockBillingEvent {
			body.Required = append(body.Required, string(block))
		}
	}
	slices.Sort(body.Required)
	return body
}

// fromDirectory is why a block is there with nothing but its id.
const fromDirectory = "What the directory does not know of it when the body is made is null."

func customerSchema() *huma.Schema {
	return about("There if the event names a customer, with the option customerContext. "+fromDirectory,
		object(field{"ordinavoCustomerId", integer()}, field{"externalId", externalID()},
			field{"customerNumber", nullable(text())}, field{"name", nullable(text())}))
}

func locationSchema() *huma.Schema {
	return about("There if the event names a location, with the option customerContext. "+fromDirectory,
		object(field{"ordinavoLocationId", integer()}, field{"externalId", externalID()}, field{"name", nullable(text())},
			field{"city", nullable(text())}, field{"hasCoordinates", nullable(boolean())}))
}

func contactSchema() *huma.Schema {
	return about("There if the event names a contact, with the options customerContext and contactDetails. "+fromDirectory,
		object(field{"ordinavoContactId", integer()}, field{"externalId", externalID()}, field{"displayName", nullable(text())}))
}

func targetSchema() *huma.Schema {
	return object(field{"id", integer()}, field{"externalId", externalID()}, field{"title", nullable(text())})
}

// externalID is what receivers look their own records up by.
func externalID() *huma.Schema {
	return about("What the subscription's sourceSystem calls it; null if that names no system, or none of its IDs is known for this.", nullable(text()))
}

func appointmentSchema(t event.Type) *huma.Schema {
	schema := object(field{"id", integer()}, field{"title", nullable(text())}, field{"status", nullable(text())},
		field{"scheduledStart", nullable(moment())}, field{"scheduledEnd", nullable(moment())},
		field{"startedAt", nullable(moment())}, field{"completedAt", nullable(moment())})
	schema.Properties["problem"] = faultSchema()
	schema.Properties["cancellationReason"] = nullable(text())
	switch t {
	case event.AppointmentProblemReported:
		schema.Required = append(schema.Required, "problem")
	case event.AppointmentCancelled:
		schema.Required = append(schema.Required, "cancellationReason")
	}
	return schema
}

func visitReportSchema() *huma.Schema {
	schema := object(field{"id", integer()}, field{"title", nullable(text())}, field{"status", nullable(text())}, field{"result", nullable(text())},
		field{"followUpRequired", nullable(boolean())}, field{"isBillable", nullable(boolean())}, field{"billingStatus", nullable(text())},
		field{"attachmentCount", nullable(integer())})
	preview := about("The beginning of the report's free text, with the option summaryPreview.", nullable(text()))
	preview.MaxLength = new(280)
	schema.Properties["summaryPreview"] = preview
	return schema
}

func followUpSchema() *huma.Schema {
	due := about("A date, or a time of RFC 3339.", nullable(text()))
	return object(field{"id", integer()}, field{"reason", nullable(text())}, field{"dueDate", due}, field{"targetId", nullable(integer())})
}

func billingEventSchema(t event.Type) *huma.Schema {
	schema := object(field{"id", integer()}, field{"status", nullable(text())}, field{"sourceType", nullable(text())},
		field{"visitReportId", nullable(integer())}, field{"targetId", nullable(integer())}, field{"appointmentId", nullable(integer())},
		field{"createdAtUtc", nullable(moment())})
	schema.Description = "With the option billingDetails and the feature billing_webhooks."
	if t == event.BillingEventFailed {
		schema.Properties["error"] = faultSchema()
		schema.Required = append(schema.Required, "error")
	}
	return schema
}

func subscriptionSchema(t event.Type) *huma.Schema {
	fields := []field{{"id", pattern(`^sub_`)}, {"name", text()}}
	switch t {
	case event.SubscriptionDisabled:
		fields = append(fields, field{"reason", nullable(text())})
	case event.SubscriptionFailing:
		fields = append(fields, field{"failuresInARow", nullable(integer())}, field{"failingSince", nullable(moment())})
	}
	return object(fields...)
}

func deliverySchema() *huma.Schema {
	status := about("Of the last attempt; null when nothing was answered.", nullable(integer()))
	return object(field{"id", pattern(`^dlv_`)}, field{"eventId", pattern(`^evt_`)}, field{"eventType", text()}, field{"status", text()}, field{"reason", text()},
		field{"attemptCount", integer()}, field{"createdAt", moment()}, field{"lastOutcome", text()}, field{"lastResponseStatus", status})
}

// faultSchema allows null: the emitter may not have said what went wrong.
func faultSchema() *huma.Schema {
	fault := object(field{"code", nullable(text())}, field{"message", nullable(text())})
	return &huma.Schema{AnyOf: []*huma.Schema{fault, {Type: "null"}}}
}

// field is a key that is always there.
type field struct {
	name   string
	schema *huma.Schema
}

func object(fields ...field) *huma.Schema {
	schema := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
	for _, f := range fields {
		schema.Properties[f.name] = f.schema
		schema.Required = append(schema.Required, f.name)
	}
	return schema
}

func about(description string, schema *huma.Schema) *huma.Schema {
	schema.Description = description
	return schema
}

func nullable(schema *huma.Schema) *huma.Schema {
	schema.Nullable = true
	return schema
}

// letBeNull lets properties that are objects be null; huma has no tag for that.
func letBeNull(s *huma.Schema, names ...string) {
	for _, name := range names {
		object := s.Properties[name]
		s.Properties[name] = &huma.Schema{Description: object.Description, AnyOf: []*huma.Schema{{Ref: object.Ref}, {Type: "null"}}}
	}
}

func text() *huma.Schema    { return &huma.Schema{Type: huma.TypeString} }
func boolean() *huma.Schema { return &huma.Schema{Type: huma.TypeBoolean} }
func integer() *huma.Schema { return &huma.Schema{Type: huma.TypeInteger, Format: "int64"} }
func moment() *huma.Schema  { return &huma.Schema{Type: huma.TypeString, Format: "date-time"} }

func pattern(expression string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: expression}
}

func constant(value string) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{value}}
}
