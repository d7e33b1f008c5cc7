package subscription

import (
	"time"

	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
)

// Bounds of what an admin may set (contract, sections 4 and 5).
const (
	MaxNameLength      = 200 // characters
	MaxURLLength       = 2048
	MinTimeout         = time.Second
	MaxTimeout         = 30 * time.Second
	DefaultTimeout     = 10 * time.Second
	MaxRetryDelays     = 20
	MinRetryDelay      = time.Second
	MaxRetryDelay      = 72 * time.Hour
	DefaultMaxInFlight = 16
	MaxMaxInFlight     = 256
)

// Settings is what an admin decides about a subscription.
type Settings struct {
	Name         string          `json:"name"`
	URL          string          `json:"url"`
	EventTypes   Filter          `json:"eventTypes"`
	SourceSystem string          `json:"sourceSystem"`
	Options      payload.Options `json:"payloadOptions"`
	// RetrySchedule is the delays after each failed attempt but the last.
	RetrySchedule []time.Duration `json:"retryScheduleNs"`
	Timeout       time.Duration   `json:"timeoutNs"`
	// MaxInFlight bounds the attempts at once.
	MaxInFlight int `json:"maxInFlight"`
}

// NeedsBilling reports whether the tenant must have the billing feature for these settings to follow before, which are empty for a new
// subscription (contract, section 2). What was asked for while the tenant had it may stay, so that the rest can be changed.
func (s Settings) NeedsBilling(before Settings) bool {
	return s.Options.BillingDetails && !before.Options.BillingDetails || s.EventTypes.NamesBilling(before.EventTypes)
}

// Validate notes every field that is out of bounds; the URL's own check is the
// egress guard's. ownSchedule says that the schedule is the admin's, not the
// service's default, which may go below the bounds.
func (s Settings) Validate(into problem.Fields, ownSchedule bool) {
	if s.Name == "" {
		into.Add("name", "is missing")
	}
	into.CheckText("name", s.Name, MaxNameLength)
	into.CheckText("sourceSystem", s.SourceSystem, 64)
	if s.URL == "" {
		into.Add("url", "is missing")
	} else if len(s.URL) > MaxURLLength {
		into.Add("url", "is longer than %d bytes", MaxURLLength)
	}
	s.EventTypes.Validate(into)
	if s.Timeout < MinTimeout || s.Timeout > MaxTimeout {
		into.Add("timeoutSeconds", "must be between 1 and 30")
	}
	if s.MaxInFlight < 1 || s.MaxInFlight > MaxMaxInFlight {
		into.Add("maxInFlight", "must be between 1 and %d", MaxMaxInFlight)
	}
	if ownSchedule {
		validateSchedule(into, s.RetrySchedule)
	}
}

func validateSchedule(into problem.Fields, schedule []time.Duration) {
	if len(schedule) < 1 || len(schedule) > MaxRetryDelays {
		into.Add("retrySchedule", "must have 1 to %d delays", MaxRetryDelays)
		return
	}
	for i, delay := range schedule {
		if delay < MinRetryDelay || delay > MaxRetryDelay {
			into.Under("retrySchedule").Add(problem.Index(i), "must be between 1s and 72h")
		}
	}
}
