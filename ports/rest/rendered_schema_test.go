package rest_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Whatever the renderer can make of a valid event is as the published schema of its type says, and has no
// key that the schema does not know.
func TestRenderedBodiesSatisfyTheirSchema(t *testing.T) {
	schemas := closedSchemas(t, newHarness(t))
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		fields := problem.Collect("")
		e.Validate(fields)
		if err := fields.Err(); err != nil && !e.Type.IsOperational() {
			t.Fatalf("the generator made an event that is not valid: %v", err)
		}
		view := payload.View{Billing: rapid.Bool().Draw(t, "billing"), Options: payload.Options{
			CustomerContext: rapid.Bool().Draw(t, "customerContext"), ContactDetails: rapid.Bool().Draw(t, "contactDetails"),
			SummaryPreview: rapid.Bool().Draw(t, "summaryPreview"), BillingDetails: rapid.Bool().Draw(t, "billingDetails"),
		}}
		body, _ := payload.Render(e, view, drawContext(t, e))
		if err := valid(schemas[e.Type], body); err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
	})
}

// closedSchemas is the published schemas, changed so that they refuse unknown keys.
func closedSchemas(t *testing.T, h *harness) map[event.Type]*jsonschema.Schema {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal([]byte(h.call("", "GET", "/openapi.json", "").expect(200).body), &d); err != nil {
		t.Fatal(err)
	}
	items, _ := webhooksOf(t, h)
	schemas := map[event.Type]*jsonschema.Schema{}
	for name, item := range items {
		schema := lookup(d, item.Post.RequestBody.Content["application/json"].Schema.Ref)
		closed := 0
		walk(schema, "", func(_ string, node map[string]any) {
			if node["properties"] != nil && node["type"] != nil {
				node["additionalProperties"] = false
				closed++
			}
		})
		if closed < 2 {
			t.Errorf("%s has %d objects", name, closed)
		}
		schemas[event.Type(name)] = compile(t, compilerOf(t, string(mustJSON(t, schema))), "")
	}
	return schemas
}

func drawEvent(t *rapid.T) event.Event {
	var e event.Event
	e.Type = rapid.SampledFrom(event.AllTypes()).Draw(t, "type")
	fillFields(t, reflect.ValueOf(&e).Elem(), e.Type)
	e.ID = "evt_" + rapid.StringMatching(`[0-7][0-9A-HJKMNP-TV-Z]{25}`).Draw(t, "eventId")
	e.TenantID = tenant.ID(rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "tenantId"))
	return e
}

// fillFields fills all that an emitter may send, also blocks that the type does not ask for.
func fillFields(t *rapid.T, block reflect.Value, eventType event.Type) {
	for i := range block.NumField() {
		field := block.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		needed := eventType.Needs(event.Block(name))
		if value := block.Field(i); value.Kind() != reflect.Pointer {
			fillValue(t, value, name, eventType)
		} else if needed || rapid.Bool().Draw(t, name+" given") {
			value.Set(reflect.New(field.Type.Elem()))
			fillValue(t, value.Elem(), name, eventType)
		}
	}
}

func fillValue(t *rapid.T, value reflect.Value, name string, eventType event.Type) {
	if drawID(t, value, name) {
		return
	}
	switch into := value.Addr().Interface().(type) {
	case *event.Type, *tenant.ID: // drawn apart
	case *time.Time:
		zone := time.FixedZone("", rapid.IntRange(-14*60, 14*60).Draw(t, name+" zone")*60)
		*into = time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name+" ns")).In(zone)
	case *int64:
		*into = rapid.Int64Range(1, event.MaxID).Draw(t, name)
		if name == "attachmentCount" {
			*into = rapid.Int64Range(0, event.MaxAttachmentCount).Draw(t, name)
		}
	case *bool:
		*into = rapid.Bool().Draw(t, name)
	case *string:
		*into = drawText(t, name)
	default:
		if value.Kind() != reflect.Struct {
			t.Fatalf("an event has a field of a new kind: %s %s", name, value.Type())
		}
		fillFields(t, value, eventType)
	}
}

// drawID draws the IDs that the service gives, in operational events.
func drawID(t *rapid.T, value reflect.Value, name string) bool {
	prefix := map[reflect.Type]string{reflect.TypeFor[event.Subscription](): "sub_", reflect.TypeFor[event.Delivery](): "dlv_"}[value.Type()]
	if prefix == "" {
		return false
	}
	fillFields(t, value, event.DeliveryDeadLettered)
	value.FieldByName("ID").SetString(prefix + oneLine(t, "id", 26))
	if of := value.FieldByName("EventID"); of.IsValid() {
		of.SetString("evt_" + oneLine(t, "eventId", 26))
	}
	return true
}

func drawText(t *rapid.T, name string) string {
	switch name {
	case "dueDate":
		return rapid.SampledFrom([]string{"2026-07-02", "1970-01-01", "9999-12-31", "2026-07-02T23:59:59.5+14:00", "2028-02-29T00:00:00Z"}).Draw(t, name)
	case "summary":
		return strings.Repeat(oneLine(t, name, event.MaxCodeLength)+rapid.SampledFrom([]string{" ", "\n", "\t", "", "\r\n"}).Draw(t, "space"), rapid.SampledFrom([]int{0, 1, 5, 400}).Draw(t, "times"))
	default:
		return oneLine(t, name, event.MaxCodeLength)
	}
}

// oneLine is any text without control characters.
func oneLine(t *rapid.T, name string, longest int) string {
	letters := []rune("aZ09 \"\\/<>&'{}[]:,äß€😀\u2028\u2029\uFEFF\u00A0\u0301…\U0010FFFF\uFFFD")
	return rapid.StringOfN(rapid.RuneFrom(letters), 0, longest, math.MaxInt).Draw(t, name)
}

// drawContext is what a directory might hold of what the event refers to.
func drawContext(t *rapid.T, e event.Event) payload.Context {
	c := payload.Context{ExternalIDs: map[payload.Ref]string{}}
	maybe := func(name string) *string {
		if !rapid.Bool().Draw(t, name+" known") {
			return nil
		}
		return new(oneLine(t, name, 50))
	}
	if e.CustomerID != nil && rapid.Bool().Draw(t, "customer record") {
		c.Customer = &payload.Customer{ID: *e.CustomerID, CustomerNumber: maybe("customerNumber"), Name: maybe("name")}
	}
	if e.LocationID != nil && rapid.Bool().Draw(t, "location record") {
		c.Location = &payload.Location{ID: *e.LocationID, Name: maybe("name"), City: maybe("city"), HasCoordinates: new(rapid.Bool().Draw(t, "coordinates"))}
	}
	if e.ContactID != nil && rapid.Bool().Draw(t, "contact record") {
		c.Contact = &payload.Contact{ID: *e.ContactID, DisplayName: maybe("displayName")}
	}
	for _, wanted := range payload.References(e, payload.Options{CustomerContext: true, ContactDetails: true}) {
		if external := maybe("externalId"); external != nil {
			c.ExternalIDs[wanted] = *external
		}
	}
	return c
}
