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
	"github.com/ordinavo/webhooks/domain/tenant"
)

// DecodeEvent reads the stored content of an accepted event.
func DecodeEvent(content []byte, owner tenant.ID, id string) (event.Event, error) {
	plain, err := compact.Unpack(content, string(owner), id)
	if err != nil {
		return event.Event{}, err
	}
	return event.Decode(plain)
}

// DecodeNotes reads what is noted of an event beside it; nil for nothing.
func DecodeNotes(e *queries.Event, setAside, retried []byte) error {
	err := errors.Join(decodeInto(&e.SetAside, setAside), decodeInto(&e.Retried, retried))
	if err == nil && e.SetAside != nil {
		e.SetAside.Tenant = e.Tenant
	}
	return err
}

// decodeInto leaves what is NULL as it is.
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

// NoBody says that the body of a delivery is gone.
func NoBody(d delivery.Delivery) error {
	return fmt.Errorf("%w: event %s has no body %d", dispatch.ErrUnreadable, d.EventID, d.BodyNumber)
}

// Warnings reads those of a delivery: they are for people to read, and damage to them keeps nothing from being sent.
func Warnings(text []byte) (warnings []string) {
	if json.Unmarshal(text, &warnings) != nil {
		return []string{"the warnings that are stored cannot be read"}
	}
	return warnings
}
