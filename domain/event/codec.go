package event

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/stored"
)

// Due is the due date as it is stored and sent: a date stays a date, a time becomes UTC with Z.
// It is empty when there is none, or none that Validate would accept.
func (f FollowUp) Due() string {
	if f.DueDate == nil {
		return ""
	}
	if date, err := time.Parse(time.DateOnly, *f.DueDate); err == nil && validYear(date) {
		return *f.DueDate
	}
	if at, err := ParseTime(*f.DueDate); err == nil && validYear(at) {
		return at.UTC().Format(time.RFC3339Nano)
	}
	return ""
}

// ParseTime reads a time of RFC 3339. time.Parse also takes one-digit hours, a comma as the decimal point, and offsets beyond 23:59.
func ParseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, err
	}
	hours, minutes, _ := strings.Cut(text[len(text)-len("00:00"):], ":")
	if text[13] != ':' || strings.Contains(text, ",") || !strings.HasSuffix(text, "Z") && (hours > "23" || minutes > "59") {
		return time.Time{}, fmt.Errorf("%q is not a time of RFC 3339", text)
	}
	return at, nil
}

// Encode is the event's stored form: JSON of the known fields in a fixed order, times in UTC.
// Events that mean the same have the same bytes. It fails for a time outside the years 0 to 9999.
func Encode(e Event) ([]byte, error) {
	encoded, err := json.Marshal(e.Canonical())
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	return encoded, nil
}

// Decode reads what Encode wrote. Unknown fields are dropped.
func Decode(encoded []byte) (Event, error) {
	e, ok := decodeStored(string(encoded))
	if ok {
		return e.Canonical(), nil
	}
	e = Event{}
	if err := json.Unmarshal(encoded, &e); err != nil {
		return Event{}, fmt.Errorf("decode event: %w", err)
	}
	return e.Canonical(), nil
}

// decodeStored reads the form that Encode writes of emitters' events, and is false for most others.
func decodeStored(encoded string) (e Event, ok bool) {
	r := stored.Read(encoded)
	e.read(r)
	return e, r.End()
}

// Seal gives what Encode gives, and the fingerprint, which identifies the event's content, its ID apart: two events with
// the same ID and the same fingerprint are duplicates, with another one they are in conflict (contract, section 5).
// It fails as Encode does.
func Seal(e Event) (encoded []byte, fingerprint [sha256.Size]byte, err error) {
	id := e.ID
	e.ID = ""
	content, err := Encode(e)
	if err != nil {
		return nil, fingerprint, err
	}
	fingerprint = sha256.Sum256(content)
	if id == "" {
		return content, fingerprint, nil
	}
	// The ID is the first member, so that one encoding serves for both.
	named, err := json.Marshal(id)
	if err != nil {
		return nil, fingerprint, fmt.Errorf("encode the ID %s: %w", id, err)
	}
	return slices.Concat([]byte(`{"eventId":`), named, []byte{','}, content[1:]), fingerprint, nil
}

// Canonical is a copy as Decode would give it; the original's blocks are left alone.
func (e Event) Canonical() Event {
	e.OccurredAt = e.OccurredAt.UTC()
	if e.Appointment != nil {
		a := *e.Appointment
		a.ScheduledStart, a.ScheduledEnd = utc(a.ScheduledStart), utc(a.ScheduledEnd)
		a.StartedAt, a.CompletedAt = utc(a.StartedAt), utc(a.CompletedAt)
		e.Appointment = &a
	}
	if e.FollowUp != nil && e.FollowUp.Due() != "" {
		f := *e.FollowUp
		due := f.Due()
		f.DueDate = &due
		e.FollowUp = &f
	}
	if e.BillingEvent != nil {
		b := *e.BillingEvent
		b.CreatedAtUTC = utc(b.CreatedAtUTC)
		e.BillingEvent = &b
	}
	return e.canonicalOperational()
}

func (e Event) canonicalOperational() Event {
	if e.Subscription != nil {
		s := *e.Subscription
		s.FailingSince = utc(s.FailingSince)
		e.Subscription = &s
	}
	if e.Delivery != nil {
		d := *e.Delivery
		d.CreatedAt = d.CreatedAt.UTC()
		e.Delivery = &d
	}
	if e.SecretRotation != nil {
		e.SecretRotation = &SecretRotation{e.SecretRotation.OverlapEnd.UTC()}
	}
	return e
}

func utc(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	inUTC := at.UTC()
	return &inUTC
}
