package records

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// longContent is from where on an event's content is not kept as it is, in bytes.
const longContent = 64 << 10

// DecodeEvent reads the stored content of an accepted event, as far as anything is rendered of it: of hundreds that are read together each may
// have a report of 400 KB.
func DecodeEvent(content []byte, owner tenant.ID, id string) (event.Event, error) {
	plain, err := compact.Unpack(content, string(owner), id)
	if err != nil {
		return event.Event{}, err
	}
	e, err := event.Decode(plain)
	if err != nil || len(plain) < longContent {
		return e, err
	}
	shown, err := event.Encode(payload.Shown(e)) // what was decoded shares the memory of all of it
	if err != nil {
		return event.Event{}, err
	}
	return event.Decode(shown)
}

// DecodeNotes reads the columns beside an event that say whether it was set aside and retried; NULL (nil) for neither.
func DecodeNotes(e *queries.Event, setAside, retried []byte) error {
	err := errors.Join(decodeInto(&e.SetAside, setAside), decodeInto(&e.Retried, retried))
	if err == nil && e.SetAside != nil {
		e.SetAside.Tenant = e.Tenant
	}
	return err
}

// decodeInto leaves to as it is when the column is NULL.
func decodeInto[T any](to **T, stored []byte) error {
	if stored == nil {
		return nil
	}
	return json.Unmarshal(stored, to)
}

// UnpackBody reads the stored body of an event; dispatch.ErrUnreadable when it is damaged.
func UnpackBody(stored []byte, owner tenant.ID, eventID string) ([]byte, error) {
	body, err := compact.Unpack(stored, string(owner), eventID)
	if err != nil {
		err = fmt.Errorf("%w: the body of event %s: %w", dispatch.ErrUnreadable, eventID, err)
	}
	return body, err
}

// NoBody is the error for a delivery whose body is gone.
func NoBody(d delivery.Delivery) error {
	return fmt.Errorf("%w: event %s has no body %d", dispatch.ErrUnreadable, d.EventID, d.BodyNumber)
}

// Warnings reads a delivery's warnings. They are for people, so damaged ones must not keep the delivery from being sent.
func Warnings(text []byte) (warnings []string) {
	if json.Unmarshal(text, &warnings) != nil {
		return []string{"the warnings that are stored cannot be read"}
	}
	return warnings
}
