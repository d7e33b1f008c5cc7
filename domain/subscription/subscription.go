// Package subscription is a tenant's standing order for events: an event-sourced
// aggregate. Commands decide and return changes; Apply folds changes into state.
package subscription

import (
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Status is what a subscription does with its events.
type Status string

// The statuses: active sends; paused (by an admin) and disabled (by the service) park; deleted takes no more.
const (
	StatusActive   Status = "active"
	StatusPaused   Status = "paused"
	StatusDisabled Status = "disabled"
	StatusDeleted  Status = "deleted"
)

// Subscription is the state that the stream's changes lead to.
type Subscription struct {
	Settings
	ID     string    `json:"id"`
	Tenant tenant.ID `json:"tenantId"`
	Status Status    `json:"status"`
	Reason string    `json:"reason,omitempty"` // why it is paused or disabled
	// SkippedParked says that it was resumed, and that of what was accepted before nothing that was parked is sent.
	SkippedParked bool    `json:"skippedParked,omitempty"`
	Secrets       Secrets `json:"secrets"`
	// Version is the number of changes in the stream: the ETag.
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Create begins a subscription with settings that were validated.
func Create(id string, owner tenant.ID, settings Settings, secretID string, now time.Time) []Change {
	return []Change{Created{At: now, ID: id, Tenant: owner, Settings: settings, SecretID: secretID}}
}

// Update changes what differs between the settings and those in force; no changes when nothing does.
func (s Subscription) Update(to Settings, now time.Time) ([]Change, error) {
	if err := s.MustExist(); err != nil {
		return nil, err
	}
	var changes []Change
	if s.Name != to.Name || s.URL != to.URL || s.Timeout != to.Timeout || s.MaxInFlight != to.MaxInFlight ||
		!slices.Equal(s.RetrySchedule, to.RetrySchedule) {
		changes = append(changes, EndpointChanged{At: now, Name: to.Name, URL: to.URL, Timeout: to.Timeout,
			MaxInFlight: to.MaxInFlight, RetrySchedule: to.RetrySchedule})
	}
	if !slices.Equal(s.EventTypes, to.EventTypes) {
		changes = append(changes, FilterChanged{At: now, EventTypes: to.EventTypes})
	}
	if s.Options != to.Options || s.SourceSystem != to.SourceSystem {
		changes = append(changes, OptionsChanged{At: now, SourceSystem: to.SourceSystem, Options: to.Options})
	}
	return changes, nil
}

// Pause parks what comes from now on. Pausing what is paused changes nothing.
func (s Subscription) Pause(reason string, now time.Time) ([]Change, error) {
	if err := s.MustExist(); err != nil {
		return nil, err
	}
	switch s.Status {
	case StatusPaused:
		return nil, nil
	case StatusDisabled:
		return nil, problem.New(problem.Conflict, "Subscription %s is disabled by the service; resume it first.", s.ID)
	default:
		return []Change{Paused{At: now, Reason: reason}}, nil
	}
}

// Resume sends again. What was parked is sent in order, or cancelled when skipParked says so.
func (s Subscription) Resume(skipParked bool, now time.Time) ([]Change, error) {
	if err := s.MustExist(); err != nil {
		return nil, err
	}
	if s.Status == StatusActive {
		return nil, nil
	}
	return []Change{Resumed{At: now, SkipParked: skipParked}}, nil
}

// Disable is the service's own pause: the receiver is gone, or has failed for days.
func (s Subscription) Disable(reason string, now time.Time) []Change {
	if s.Status != StatusActive && s.Status != StatusPaused {
		return nil
	}
	return []Change{Disabled{At: now, Reason: reason}}
}

// Delete ends the subscription; its open deliveries are cancelled.
func (s Subscription) Delete(now time.Time) ([]Change, error) {
	if err := s.MustExist(); err != nil {
		return nil, err
	}
	return []Change{Deleted{At: now}}, nil
}

// BeginsAnew reports whether its receiver's failures count from the beginning again after a change: it is another, or was not sent to.
func BeginsAnew(before, after Subscription) bool {
	return before.URL != after.URL || before.Status != StatusActive && after.Status == StatusActive
}

// ForgetsReceiver reports whether what its receiver did counts no more after the changes: it may be another or well again, or gets nothing.
func ForgetsReceiver(changes []Change) bool {
	return slices.ContainsFunc(changes, func(c Change) bool {
		switch c.(type) {
		case EndpointChanged, Paused, Resumed, Disabled, Deleted:
			return true
		default:
			return false
		}
	})
}

// ErrNotFound is what is said of a subscription that is not there, was deleted, or is not the caller's to know of.
var ErrNotFound = problem.New(problem.NotFound, "There is no such subscription.")

// MustExist refuses a deleted subscription as if it had never existed.
func (s Subscription) MustExist() error {
	if s.Version == 0 || s.Status == StatusDeleted {
		return ErrNotFound
	}
	return nil
}

// FailingTooLong is how long a receiver may do nothing but fail before the service disables it (contract, section 5).
const FailingTooLong = 5 * 24 * time.Hour

// FailuresUntilFailing is how many attempts in a row have to fail before the tenant's admins are told.
const FailuresUntilFailing = 10

// Why the service disables a subscription.
const (
	ReasonGone    = "the receiver answered 410 Gone"
	ReasonFailing = "every attempt failed for five days"
)
