package delivery

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Change is something that the aggregate decided. The set is closed.
type Change interface{ change() }

// Attempt is one HTTP exchange as the stream keeps it. Numbers start at 1.
type Attempt struct {
	Number int `json:"number"`
	Outcome
}

// Why a delivery was given up.
const (
	ReasonGone      = "the receiver answered 410 Gone"
	ReasonExhausted = "the retry schedule is used up"
)

// The changes of a delivery.
type (
	// Scheduled begins the stream.
	Scheduled struct {
		At                  time.Time  `json:"at"`
		ID                  string     `json:"deliveryId"`
		Tenant              tenant.ID  `json:"tenantId"`
		EventID             string     `json:"eventId"`
		EventType           event.Type `json:"eventType"`
		SubscriptionID      string     `json:"subscriptionId"`
		SubscriptionVersion int64      `json:"subscriptionVersion"`
		BodyNumber          int        `json:"bodyNumber"`
		Warnings            []string   `json:"warnings,omitempty"`
	}
	// AttemptSucceeded closes the delivery.
	AttemptSucceeded struct {
		At      time.Time `json:"at"`
		Attempt Attempt   `json:"attempt"`
	}
	// AttemptFailed says when the next attempt is due; zero when there is none.
	AttemptFailed struct {
		At      time.Time `json:"at"`
		Attempt Attempt   `json:"attempt"`
		NextAt  time.Time `json:"nextAt,omitzero"`
	}
	// AttemptAbandoned is an attempt whose end nobody knows.
	AttemptAbandoned struct {
		At        time.Time `json:"at"`
		Number    int       `json:"number"`
		StartedAt time.Time `json:"startedAt"`
		NextAt    time.Time `json:"nextAt"`
	}
	// Parked sets the delivery aside.
	Parked struct {
		At     time.Time `json:"at"`
		Reason string    `json:"reason"`
	}
	// Released makes it due again.
	Released struct {
		At time.Time `json:"at"`
	}
	// DeadLettered closes the delivery: no attempt is left.
	DeadLettered struct {
		At     time.Time `json:"at"`
		Reason string    `json:"reason"`
	}
	// RetryRequested opens it again, by hand.
	RetryRequested struct {
		At time.Time `json:"at"`
	}
	// Cancelled closes the delivery: nobody wants it any more.
	Cancelled struct {
		At     time.Time `json:"at"`
		Reason string    `json:"reason"`
	}
)

func (Scheduled) change()        {}
func (AttemptSucceeded) change() {}
func (AttemptFailed) change()    {}
func (AttemptAbandoned) change() {}
func (Parked) change()           {}
func (Released) change()         {}
func (DeadLettered) change()     {}
func (RetryRequested) change()   {}
func (Cancelled) change()        {}

// Stored names; they never change, a new form gets a new version.
const (
	typeScheduled        = "delivery.scheduled.v1"
	typeAttemptSucceeded = "delivery.attempt_succeeded.v1"
	typeAttemptFailed    = "delivery.attempt_failed.v1"
	typeAttemptAbandoned = "delivery.attempt_abandoned.v1"
	typeParked           = "delivery.parked.v1"
	typeReleased         = "delivery.released.v1"
	typeDeadLettered     = "delivery.dead_lettered.v1"
	typeRetryRequested   = "delivery.retry_requested.v1"
	typeCancelled        = "delivery.cancelled.v1"
)

// Decode is Encode's inverse; it reads every form that was ever stored.
func Decode(name string, data []byte) (Change, error) {
	switch name {
	case typeScheduled:
		return decode[Scheduled](name, data)
	case typeAttemptSucceeded:
		return decode[AttemptSucceeded](name, data)
	case typeAttemptFailed:
		return decode[AttemptFailed](name, data)
	case typeAttemptAbandoned:
		return decode[AttemptAbandoned](name, data)
	case typeParked:
		return decode[Parked](name, data)
	case typeReleased:
		return decode[Released](name, data)
	case typeDeadLettered:
		return decode[DeadLettered](name, data)
	case typeRetryRequested:
		return decode[RetryRequested](name, data)
	case typeCancelled:
		return decode[Cancelled](name, data)
	default:
		return nil, fmt.Errorf("delivery: unknown change %q", name)
	}
}

func decode[C Change](name string, data []byte) (Change, error) {
	var c C
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("delivery: decode %s: %w", name, err)
	}
	return c, nil
}

// Unknown is the abandoned attempt as one with an unknown end.
func (c AttemptAbandoned) Unknown() Attempt {
	return Attempt{Number: c.Number, Outcome: Outcome{
		Kind: KindLeaseExpired, StartedAt: c.StartedAt,
		Error: "the process that made this attempt is gone; whether the receiver got it is not known",
	}}
}
