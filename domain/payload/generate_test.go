package payload_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
)

// forbidden is in everything that must never be sent.
const forbidden = "FORBIDDEN"

// drawEvent is an event of any type with any blocks and fields. The text of each string field is
// @ and the field's path, so that a body shows where it took a text from.
func drawEvent(t *rapid.T) event.Event {
	var e event.Event
	fill(t, reflect.ValueOf(&e).Elem(), "")
	e.ID, e.TenantID = event.SampleID, owner
	e.Type = rapid.SampledFrom(event.AllTypes()).Draw(t, "type")
	if e.FollowUp != nil && e.FollowUp.DueDate != nil {
		e.FollowUp.DueDate = new("2026-07-02")
	}
	return e
}

func fill(t *rapid.T, value reflect.Value, path string) {
	switch value.Kind() {
	case reflect.Pointer:
		if rapid.Bool().Draw(t, path+" given") {
			value.Set(reflect.New(value.Type().Elem()))
			fill(t, value.Elem(), path)
		}
	case reflect.String:
		value.SetString("@" + path)
	case reflect.Bool:
		value.SetBool(rapid.Bool().Draw(t, path))
	case reflect.Int64:
		value.SetInt(rapid.Int64Range(1, 3).Draw(t, path))
	case reflect.Struct:
		fillStruct(t, value, path)
	default:
		panic("an event has a field of a new kind: " + path)
	}
}

func fillStruct(t *rapid.T, value reflect.Value, path string) {
	if value.Type() == reflect.TypeFor[time.Time]() {
		value.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1<<37).Draw(t, path), rapid.Int64Range(0, 3).Draw(t, path+" ns"))))
		return
	}
	for i := range value.NumField() {
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		fill(t, value.Field(i), strings.TrimPrefix(path+"."+name, "."))
	}
}

// withForbiddenFields is the event as an emitter sent it who adds what must never leave: in every
// block, beside the known fields.
func withForbiddenFields(t *rapid.T, e event.Event) event.Event {
	encoded, err := event.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(encoded, &tree); err != nil {
		t.Fatal(err)
	}
	pollute(tree)
	polluted, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := event.Decode(polluted)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

func pollute(block map[string]any) {
	for _, value := range block {
		if inner, ok := value.(map[string]any); ok {
			pollute(inner)
		}
	}
	for _, name := range []string{
		"customerNumber", "internalNotes", "email", "phone", "apiKey", "secret", "latitude", "longitude", "coordinates",
		"externalId", "name", "displayName", "city", "source", "payloadVersion", "customer", "location", "contact", "summaryPreview",
	} {
		if _, known := block[name]; !known { // a subscription has a name of its own
			block[name] = forbidden + " " + name
		}
	}
	block["nested"] = map[string]any{"notes": forbidden}
}

func drawView(t *rapid.T) payload.View { return rapid.SampledFrom(allViews()).Draw(t, "view") }

// drawContext is what a directory might hold, also of entities that were not asked for; the
// records and external IDs of others are marked as forbidden.
func drawContext(t *rapid.T, e event.Event) payload.Context {
	given := func(name string) bool { return rapid.Bool().Draw(t, name) }
	text := func(mine bool, path string) *string {
		if !mine {
			return new(forbidden)
		}
		return new("@" + path)
	}
	c := payload.Context{ExternalIDs: map[payload.Ref]string{}}
	if given("customer") {
		id := rapid.Int64Range(1, 3).Draw(t, "customer record")
		mine := is(e.CustomerID, id)
		c.Customer = &payload.Customer{ID: id, CustomerNumber: text(mine, "customer.customerNumber"), Name: text(mine, "customer.name")}
	}
	if given("location") {
		id := rapid.Int64Range(1, 3).Draw(t, "location record")
		mine := is(e.LocationID, id)
		c.Location = &payload.Location{ID: id, Name: text(mine, "location.name"), City: text(mine, "location.city"), HasCoordinates: new(true)}
	}
	if given("contact") {
		id := rapid.Int64Range(1, 3).Draw(t, "contact record")
		c.Contact = &payload.Contact{ID: id, DisplayName: text(is(e.ContactID, id), "contact.displayName")}
	}
	drawExternalIDs(t, e, c.ExternalIDs)
	return c
}

var entityKinds = []payload.EntityKind{payload.KindCustomer, payload.KindLocation, payload.KindContact, payload.KindTarget}

func drawExternalIDs(t *rapid.T, e event.Event, into map[payload.Ref]string) {
	referenced := map[payload.EntityKind]*int64{
		payload.KindCustomer: e.CustomerID, payload.KindLocation: e.LocationID, payload.KindContact: e.ContactID,
	}
	if e.Target != nil {
		referenced[payload.KindTarget] = &e.Target.ID
	}
	for _, kind := range entityKinds {
		for id := int64(1); id <= 3; id++ {
			if !rapid.Bool().Draw(t, fmt.Sprintf("%s %d mapped", kind, id)) {
				continue
			}
			into[payload.Ref{Kind: kind, ID: id}] = forbidden
			if is(referenced[kind], id) {
				into[payload.Ref{Kind: kind, ID: id}] = "@" + string(kind) + ".externalId"
			}
		}
	}
}

func is(reference *int64, id int64) bool { return reference != nil && *reference == id }

// member is a key of a body, by its path, with its value where it is a scalar.
type member struct {
	path  string
	value any
}

// members is a body's keys in their order, checked to be one whole compact JSON document.
func members(t rapid.TB, body []byte) []member {
	t.Helper()
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil || !bytes.Equal(compact.Bytes(), body) {
		t.Fatalf("not compact JSON (%v): %q", err, body)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	token := func() json.Token {
		next, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	var found []member
	var object func(prefix string)
	object = func(prefix string) {
		for key := token(); key != json.Delim('}'); key = token() {
			path := strings.TrimPrefix(prefix+"."+key.(string), ".")
			value := token()
			found = append(found, member{path, value})
			if value == json.Delim('{') {
				object(path)
			}
		}
	}
	if token() != json.Delim('{') {
		t.Fatalf("not an object: %s", body)
	}
	object("")
	return found
}

func paths(found []member) []string {
	all := make([]string, len(found))
	for i, m := range found {
		all[i] = m.path
	}
	return all
}
