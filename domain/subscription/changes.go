package subscription

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Change is something that the aggregate decided. The set is closed.
type Change interface{ change() }

// The changes of a subscription. Secrets are named here, never held.
type (
	// Created begins the stream.
	Created struct {
		At       time.Time `json:"at"`
		ID       string    `json:"subscriptionId"`
		Tenant   tenant.ID `json:"tenantId"`
		Settings Settings  `json:"settings"`
		SecretID string    `json:"secretId"`
	}
	// EndpointChanged is about where and how to send.
	EndpointChanged struct {
		At            time.Time       `json:"at"`
		Name          string          `json:"name"`
		URL           string          `json:"url"`
		Timeout       time.Duration   `json:"timeoutNs"`
		MaxInFlight   int             `json:"maxInFlight"`
		RetrySchedule []time.Duration `json:"retryScheduleNs"`
	}
	// FilterChanged is about which events.
	FilterChanged struct {
		At         time.Time `json:"at"`
		EventTypes Filter    `json:"eventTypes"`
	}
	// OptionsChanged is about what a body holds.
	OptionsChanged struct {
		At           time.Time       `json:"at"`
		SourceSystem string          `json:"sourceSystem"`
		Options      payload.Options `json:"payloadOptions"`
	}
	// SecretRotationStarted makes a new secret current; the old one is valid until OverlapEnd.
	SecretRotationStarted struct {
		At         time.Time `json:"at"`
		SecretID   string    `json:"secretId"`
		OverlapEnd time.Time `json:"overlapEnd"`
	}
	// SecretRotationCompleted ends the old secret.
	SecretRotationCompleted struct {
		At time.Time `json:"at"`
	}
	// Paused parks what comes, by an admin.
	Paused struct {
		At     time.Time `json:"at"`
		Reason string    `json:"reason,omitempty"`
	}
	// Resumed sends again, what was parked too unless it is skipped.
	Resumed struct {
		At         time.Time `json:"at"`
		SkipParked bool      `json:"skipParked"`
	}
	// Disabled parks what comes, by the service.
	Disabled struct {
		At     time.Time `json:"at"`
		Reason string    `json:"reason"`
	}
	// Deleted ends the stream.
	Deleted struct {
		At time.Time `json:"at"`
	}
)

func (Created) change()                 {}
func (EndpointChanged) change()         {}
func (FilterChanged) change()           {}
func (OptionsChanged) change()          {}
func (SecretRotationStarted) change()   {}
func (SecretRotationCompleted) change() {}
func (Paused) change()                  {}
func (Resumed) change()                 {}
func (Disabled) change()                {}
func (Deleted) change()                 {}

// Stored names; they never change, a new form gets a new version.
const (
	typeCreated                 = "subscription.created.v1"
	typeEndpointChanged         = "subscription.endpoint_changed.v1"
	typeFilterChanged           = "subscription.filter_changed.v1"
	typeOptionsChanged          = "subscription.options_changed.v1"
	typeSecretRotationStarted   = "subscription.secret_rotation_started.v1"
	typeSecretRotationCompleted = "subscription.secret_rotation_completed.v1"
	typePaused                  = "subscription.paused.v1"
	typeResumed                 = "subscription.resumed.v1"
	typeDisabled                = "subscription.disabled.v1"
	typeDeleted                 = "subscription.deleted.v1"
)

// Encode gives a change's stored name and data.
func Encode(c Change) (name string, data []byte, err error) {
	switch c.(type) {
	case Created:
		name = typeCreated
	case EndpointChanged:
		name = typeEndpointChanged
	case FilterChanged:
		name = typeFilterChanged
	case OptionsChanged:
		name = typeOptionsChanged
	case SecretRotationStarted:
		name = typeSecretRotationStarted
	case SecretRotationCompleted:
		name = typeSecretRotationCompleted
	case Paused:
		name = typePaused
	case Resumed:
		name = typeResumed
	case Disabled:
		name = typeDisabled
	case Deleted:
		name = typeDeleted
	default:
		return "", nil, fmt.Errorf("subscription: no stored name for %T", c)
	}
	data, err = json.Marshal(c)
	return name, data, err
}

// Decode is Encode's inverse; it reads every form that was ever stored.
func Decode(name string, data []byte) (Change, error) {
	switch name {
	case typeCreated:
		return decode[Created](name, data)
	case typeEndpointChanged:
		return decode[EndpointChanged](name, data)
	case typeFilterChanged:
		return decode[FilterChanged](name, data)
	case typeOptionsChanged:
		return decode[OptionsChanged](name, data)
	case typeSecretRotationStarted:
		return decode[SecretRotationStarted](name, data)
	case typeSecretRotationCompleted:
		return decode[SecretRotationCompleted](name, data)
	case typePaused:
		return decode[Paused](name, data)
	case typeResumed:
		return decode[Resumed](name, data)
	case typeDisabled:
		return decode[Disabled](name, data)
	case typeDeleted:
		return decode[Deleted](name, data)
	default:
		return nil, fmt.Errorf("subscription: unknown change %q", name)
	}
}

func decode[C Change](name string, data []byte) (Change, error) {
	var c C
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("subscription: decode %s: %w", name, err)
	}
	return c, nil
}
