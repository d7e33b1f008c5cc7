package event_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
)

func encode(t testing.TB, e event.Event) string {
	t.Helper()
	encoded, err := event.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func fingerprint(t testing.TB, e event.Event) [32]byte {
	t.Helper()
	_, print, err := event.Seal(e)
	if err != nil {
		t.Fatal(err)
	}
	return print
}

func TestEncodeDecodeKeepsEverything(t *testing.T) {
	for _, eventType := range event.AllTypes() {
		e := event.Sample(eventType, "tenant-123")
		decoded, err := event.Decode([]byte(encode(t, e)))
		if err != nil || !reflect.DeepEqual(decoded, e) {
			t.Errorf("%s: %+v, %v", eventType, decoded, err)
		}
	}
	if decoded, err := event.Decode([]byte(encode(t, full()))); err != nil || !reflect.DeepEqual(decoded, full()) {
		t.Errorf("full: %+v, %v", decoded, err)
	}
}

// The form of stored events must stay readable: change it only by adding.
func TestStoredFormIsPinned(t *testing.T) {
	const want = `{"eventId":"evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C","eventType":"target.follow_up_created","occurredAt":"2026-06-18T16:40:00Z",` +
		`"tenantId":"tenant-123","customerId":12,"locationId":34,"contactId":56,` +
		`"followUp":{"id":77,"reason":"Filter must be replaced","dueDate":"2026-07-02","targetId":455},"target":{"id":455,"title":"Maintenance visit"}}`
	if got := encode(t, event.Sample(event.TargetFollowUpCreated, "tenant-123")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDecodeDropsWhatIsNotKnown(t *testing.T) {
	emitted := `{"eventType":"target.imported","occurredAt":"2026-06-18T18:40:00+02:00","tenantId":"t","internalNotes":"MARKER",
		"target":{"id":1,"customerNumber":"MARKER","email":"MARKER"},"appointment":null,"customerId":null}`
	e, err := event.Decode([]byte(emitted))
	if err != nil {
		t.Fatal(err)
	}
	if e.OccurredAt.Location() != time.UTC || e.Appointment != nil || e.CustomerID != nil {
		t.Errorf("decoded %+v", e)
	}
	if stored := encode(t, e); strings.Contains(stored, "MARKER") {
		t.Errorf("stored %s", stored)
	}
}

func TestDecodeFails(t *testing.T) {
	for _, text := range []string{"", "[]", `{"occurredAt":"yesterday"}`, `{"customerId":1.5}`, `{"target":[]}`, `{} {}`} {
		if _, err := event.Decode([]byte(text)); err == nil {
			t.Errorf("%s was decoded", text)
		}
	}
}

func TestEncodeFailsBeyondYear9999(t *testing.T) {
	e := event.Sample(event.TargetImported, "t")
	e.OccurredAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := event.Encode(e); err == nil {
		t.Error("encoded")
	}
	if _, _, err := event.Seal(e); err == nil {
		t.Error("sealed")
	}
}

func TestFingerprintIsOfTheMeaning(t *testing.T) {
	e := full()
	other := full()
	other.ID = "evt_00000000000000000000000000"
	zone := time.FixedZone("CEST", 7200)
	other.OccurredAt = e.OccurredAt.In(zone)
	for _, at := range []**time.Time{
		&other.Appointment.ScheduledStart, &other.Appointment.ScheduledEnd, &other.Appointment.StartedAt, &other.Appointment.CompletedAt,
	} {
		*at = new((*at).In(zone))
	}
	other.BillingEvent.CreatedAtUTC = new(e.BillingEvent.CreatedAtUTC.In(zone))
	other.Subscription.FailingSince = new(e.Subscription.FailingSince.In(zone))
	other.Delivery.CreatedAt, other.SecretRotation.OverlapEnd = e.Delivery.CreatedAt.In(zone), e.SecretRotation.OverlapEnd.In(zone)
	e.FollowUp.DueDate, other.FollowUp.DueDate = new("2026-07-01T07:00:00Z"), new("2026-07-01T09:00:00+02:00")
	if fingerprint(t, e) != fingerprint(t, other) {
		t.Error("the same content has two fingerprints")
	}
	if other.OccurredAt.Location() != zone || *other.FollowUp.DueDate != "2026-07-01T09:00:00+02:00" {
		t.Error("the event was changed")
	}
}

func TestSealEncodesAsEncode(t *testing.T) {
	for _, eventType := range event.AllTypes() {
		for _, id := range []string{"evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", "", `"<\u00e9` + "\n\xff"} {
			e := event.Sample(eventType, "tenant-123")
			e.ID = id
			encoded, print, err := event.Seal(e)
			if want := encode(t, e); err != nil || string(encoded) != want || print != fingerprint(t, event.Sample(eventType, "tenant-123")) {
				t.Errorf("sealed %s (%x, %v), want %s", encoded, print, err, want)
			}
		}
	}
}

// Each field must count, also one that is added later.
func TestFingerprintChangesWithEveryField(t *testing.T) {
	seen := map[[32]byte]string{fingerprint(t, full()): "nothing"}
	var visit func(path string, at func(*event.Event) reflect.Value)
	visit = func(path string, at func(*event.Event) reflect.Value) {
		sample := full()
		value := at(&sample)
		switch {
		case path == ".ID":
			return
		case value.Kind() == reflect.Struct && value.Type() != reflect.TypeFor[time.Time]():
			for i := range value.NumField() {
				visit(path+"."+value.Type().Field(i).Name, func(e *event.Event) reflect.Value { return at(e).Field(i) })
			}
			return
		case value.Kind() == reflect.Pointer:
			if value.IsNil() {
				t.Fatalf("full() leaves %s out", path)
			}
			visit(path, func(e *event.Event) reflect.Value { return at(e).Elem() })
			return
		}
		alter(value)
		print := fingerprint(t, sample)
		if before, found := seen[print]; found {
			t.Errorf("%s: same fingerprint as with %s changed", path, before)
		}
		seen[print] = path
	}
	visit("", func(e *event.Event) reflect.Value { return reflect.ValueOf(e).Elem() })
	if len(seen) < 54 {
		t.Errorf("only %d fields were visited", len(seen)-1)
	}
}

func alter(value reflect.Value) {
	switch value.Kind() {
	case reflect.String:
		value.SetString(value.String() + "x")
	case reflect.Bool:
		value.SetBool(!value.Bool())
	case reflect.Int64:
		value.SetInt(value.Int() + 1)
	default:
		value.Set(reflect.ValueOf(value.Interface().(time.Time).Add(time.Second)))
	}
}

func TestDue(t *testing.T) {
	for given, want := range map[string]string{
		"2026-07-01":                "2026-07-01",
		"2026-07-01T09:00:00+02:00": "2026-07-01T07:00:00Z",
		"2026-07-01T09:00:00.25Z":   "2026-07-01T09:00:00.25Z",
		"1970-01-01T00:30:00+01:00": "",
		"1969-12-31":                "",
		"2026-13-01":                "",
		"01.07.2026":                "",
		"2026-07-01T9:00:00Z":       "",
		"2026-07-01T09:00:00,5Z":    "",
		"2026-07-01T09:00:00+24:00": "",
		"2026-07-01T09:00:00-23:60": "",
	} {
		if got := (event.FollowUp{DueDate: &given}).Due(); got != want {
			t.Errorf("%s became %q, want %q", given, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, eventType := range event.Types() {
		f.Add([]byte(encode(f, event.Sample(eventType, "tenant-123"))))
	}
	f.Add([]byte(`{"occurredAt":"0000-01-01T00:00:00+23:59","followUp":{"dueDate":"9999-12-31T23:59:59-23:59"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := event.Decode(text)
		if err != nil || refused(e, "") != nil {
			return
		}
		encoded := encode(t, e)
		again, err := event.Decode([]byte(encoded))
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%s became %s: %v", text, encoded, err)
		}
		if !json.Valid([]byte(encoded)) || encode(t, again) != encoded {
			t.Fatalf("%s is not canonical", encoded)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	e := event.Sample(event.VisitReportApproved, "tenant-123")
	for b.Loop() {
		if _, _, err := event.Seal(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	encoded := bytes.Clone([]byte(encode(b, event.Sample(event.VisitReportApproved, "tenant-123"))))
	for b.Loop() {
		if _, err := event.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
