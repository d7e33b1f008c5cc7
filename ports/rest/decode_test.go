package rest

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

// What the domain encodes, the decoder reads back: a field that one of them forgets is found here.
func TestDecodeReadsEveryField(t *testing.T) {
	for _, e := range append(samples(), filled()) {
		encoded, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		fields := problem.Collect("")
		events, batch, err := decodeEvents(encoded, fields)
		if err != nil || batch || fields.Err() != nil || len(events) != 1 {
			t.Fatalf("%s: %v %v %v", e.Type, err, batch, fields.Err())
		}
		if again, _ := json.Marshal(events[0]); string(again) != string(encoded) {
			t.Errorf("got  %s\nwant %s", again, encoded)
		}
	}
}

func samples() (all []event.Event) {
	for _, eventType := range event.Types() {
		all = append(all, event.Sample(eventType, "tenant-123"))
	}
	return all
}

// filled is an event with no field left empty of those that an emitter may send.
func filled() event.Event {
	e := event.Sample(event.BillingEventFailed, "tenant-123")
	fill(reflect.ValueOf(&e).Elem(), &e)
	e.Subscription, e.Delivery, e.SecretRotation = nil, nil, nil
	return e
}

// What the service tells of its own work, nobody else can put into an event.
func TestDecodeReadsNoOperationalBlock(t *testing.T) {
	for _, eventType := range event.OperationalTypes() {
		encoded, err := json.Marshal(event.Sample(eventType, "tenant-123"))
		if err != nil {
			t.Fatal(err)
		}
		fields := problem.Collect("")
		events, _, err := decodeEvents(encoded, fields)
		if err != nil || fields.Err() != nil || events[0].Subscription != nil || events[0].Delivery != nil || events[0].SecretRotation != nil {
			t.Errorf("%s: %+v, %v, %v", eventType, events, err, fields.Err())
		}
	}
}

func fill(v reflect.Value, sample *event.Event) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), sample)
	case reflect.Struct:
		if v.Type() == reflect.TypeOf(sample.OccurredAt) {
			v.Set(reflect.ValueOf(sample.OccurredAt))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), sample)
		}
	case reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		if v.String() == "" {
			v.SetString("text")
		}
	}
}

// The documentation of what is emitted names what the domain reads, no more and no less.
func TestEmittedSchemaKnowsEveryField(t *testing.T) {
	a := New(Dependencies{})
	schema := a.huma.OpenAPI().Components.Schemas.Map()["EmittedEvent"]
	encoded, err := json.Marshal(filled())
	if err != nil {
		t.Fatal(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	for name, value := range decoded {
		property := schema.Properties[name]
		if property == nil {
			t.Errorf("the schema lacks %s", name)
			continue
		}
		block, _ := value.(map[string]any)
		for inner := range block {
			if property.Properties[inner] == nil {
				t.Errorf("the schema lacks %s.%s", name, inner)
			}
		}
		if len(block) != len(property.Properties) {
			t.Errorf("%s has %d fields, the schema %d", name, len(block), len(property.Properties))
		}
	}
	if len(decoded) != len(schema.Properties) {
		t.Errorf("an event has %d fields, the schema %d", len(decoded), len(schema.Properties))
	}
}

// A field that the decoder learns must not be skipped beside a batch.
func TestDecodeKnowsEveryFieldBesideABatch(t *testing.T) {
	properties := New(Dependencies{}).huma.OpenAPI().Components.Schemas.Map()["EmittedEvent"].Properties
	if known := slices.Sorted(maps.Keys(properties)); !slices.Equal(known, slices.Sorted(slices.Values(eventFields[:]))) {
		t.Errorf("an event has %v, refused are %v", known, eventFields)
	}
}

func TestDecodeEscapedNames(t *testing.T) {
	fields := problem.Collect("")
	events, _, err := decodeEvents([]byte(`{"event\u0054ype":"target.imported","customerId":1.2e1,"\u0065vents2":[]}`), fields)
	if err != nil || fields.Err() != nil || events[0].Type != event.TargetImported || *events[0].CustomerID != 12 {
		t.Errorf("%v %v %v", events, err, fields.Err())
	}
}

func TestReadJSONRefusesWhatWouldBeRounded(t *testing.T) {
	var value any
	for _, number := range []string{"9007199254740992", "-9007199254740992", "1e300", "1e999"} {
		err := readJSON([]byte(`{"a":[`+number+`]}`), &value)
		var decode *decodeError
		if !errors.As(err, &decode) || decode.path != "a[0]" || decode.code != problem.ValidationFailed {
			t.Errorf("%s: %v", number, err)
		}
	}
	if err := readJSON([]byte(`{"a":[9007199254740991,-1.5,true,null,"x",{}]}`), &value); err != nil {
		t.Error(err)
	}
}

func TestPathOf(t *testing.T) {
	if got := pathOf("", "/events/3/visitReport/id"); got != "events[3].visitReport.id" {
		t.Error(got)
	}
	if got := pathOf("events[2]", "/a~1b"); got != "events[2].a/b" {
		t.Error(got)
	}
}

func FuzzDecodeEvents(f *testing.F) {
	for _, e := range samples() {
		encoded, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
		f.Add([]byte(`{"events":[` + string(encoded) + `]}`))
	}
	for _, odd := range []string{``, `{`, `null`, `[[[[`, `{"a":{"b":1,"b":2}}`, `{"visitReport":null,"target":[]}`, "{\"eventId\":\"\xff\"}", strings.Repeat(`{"a":`, 40)} {
		f.Add([]byte(odd))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		fields := problem.Collect("")
		events, _, err := decodeEvents(body, fields)
		if string(body) != before {
			t.Fatal("the decoder changed the body")
		}
		if err != nil {
			var decode *decodeError
			if !errors.As(err, &decode) || decode.path == "" || decode.message == "" {
				t.Fatalf("an error without a path: %v", err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("took what is not JSON: %q", body)
		}
		for i := range body { // the events must not point into the body
			body[i] = 'x'
		}
		for i, e := range events {
			e.Validate(fields.Under(problem.Index(i)))
			if fields.Err() == nil {
				if _, err := event.Encode(e); err != nil {
					t.Fatalf("a valid event cannot be encoded: %v", err)
				}
			}
		}
		_, _ = decodeLines([]byte(before), problem.Collect(""))
	})
}

func BenchmarkDecodeEvents(b *testing.B) {
	encoded, err := json.Marshal(event.Sample(event.VisitReportApproved, "tenant-123"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := decodeEvents(encoded, problem.Collect("")); err != nil {
			b.Fatal(err)
		}
	}
}
