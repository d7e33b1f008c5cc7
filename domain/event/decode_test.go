package event

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever an event says: it is read as encoding/json reads it.
func TestAnEventIsReadAsByEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e Event
		fill(t, reflect.ValueOf(&e).Elem())
		encoded, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		readAsByJSON(t, string(encoded))
		damaged := append([]byte{}, encoded...)
		at := rapid.IntRange(0, len(damaged)-1).Draw(t, "at")
		damaged[at] = rapid.SampledFrom([]byte("\"\\{}[],:0-1eE. \x00\xfftn")).Draw(t, "damage")
		readAsByJSON(t, string(damaged))
		readAsByJSON(t, string(encoded[:at]))
	})
}

func TestUnusualFormsAreReadAsByEncodingJSON(t *testing.T) {
	for _, text := range []string{
		"", "{", "{}", "{}}", "{} ", "{,}", "null", `{"eventId":"a","eventId":"b"}`, `{"EVENTID":"a"}`, `{"eventId":null}`, `{"tenantId":"a","eventId":"b"}`,
		`{"eventId":"\u00e4"}`, `{"eventId":"\"}`, `{"eventId":"\\"}`, `{"eventId":"\x"}`, `{"eventId":"\`, `{"eventId":"\n","tenantId":"t"}`, "{\"eventId\":\"\xff\"}", "{\"eventId\":\"\n\"}", "{\"eventId\":\"\x7fä\u2028\"}", `{"eventId":"a",}`, `{"eventId":1}`, `{"eventId":"a`,
		`{"customerId":01}`, `{"customerId":-0}`, `{"customerId":-1}`, `{"customerId":1e3}`, `{"customerId":1.0}`, `{"customerId":-}`, `{"customerId":}`,
		`{"customerId":9223372036854775807}`, `{"customerId":9223372036854775808}`, `{"customerId":null}`, `{"other":1,"customerId":2}`,
		`{"occurredAt":"2026-06-18T18:40:00+02:00"}`, `{"occurredAt":"2026-06-18T18:40:00,5Z"}`, `{"occurredAt":"2026-06-18"}`, `{"occurredAt":""}`,
		`{"visitReport":{}}`, `{"visitReport":{"id":1,"isBillable":true}}`, `{"visitReport":{"isBillable":false,"summary":""},"target":{"id":1}}`, `{"visitReport":{"isBillable":tru}}`,
		`{"visitReport":[]}`, `{"visitReport":{"id":1}`, `{"visitReport":{"id":1,}}`, `{"visitReport":{,"id":1}}`, `{"appointment":{"problem":{"code":"c"},"cancellationReason":"r"}}`,
	} {
		readAsByJSON(t, text)
	}
}

func readAsByJSON(t rapid.TB, text string) {
	t.Helper()
	var want Event
	wantErr := json.Unmarshal([]byte(text), &want)
	if got, ok := decodeStored(text); ok && (wantErr != nil || !reflect.DeepEqual(got.Canonical(), want.Canonical())) {
		t.Errorf("%q is read as\n%+v, want\n%+v (%v)", text, got, want, wantErr)
	}
}

// TestEmittersEventsAreReadFast fails when a field is added that decodeStored does not know.
func TestEmittersEventsAreReadFast(t *testing.T) {
	for _, eventType := range Types() {
		readFast(t, Sample(eventType, "tenant-123"))
	}
	rapid.Check(t, func(t *rapid.T) {
		var e Event
		fill(t, reflect.ValueOf(&e).Elem())
		e.Subscription, e.Delivery, e.SecretRotation = nil, nil, nil
		readFast(t, e)
	})
}

func readFast(t rapid.TB, e Event) {
	t.Helper()
	encoded, err := Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := decodeStored(string(encoded)); !ok {
		t.Errorf("%s is left to encoding/json", encoded)
	}
}

// fill draws each field, also one that is added later.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9 ./:äöü€-]*`), rapid.SampledFrom([]string{"<&>", "\u2028", "\xff\x00\"\\"})).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "truth"))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "number"))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(-60e9, 250e9).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "fraction"))))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("fields of the kind %s are not drawn", v.Kind())
	}
}
