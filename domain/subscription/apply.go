package subscription

import (
	"fmt"
	"time"
)

// Fold rebuilds a subscription from its stream.
func Fold(changes []Change) (Subscription, error) {
	var s Subscription
	for _, c := range changes {
		if err := s.Apply(c); err != nil {
			return Subscription{}, err
		}
	}
	return s, nil
}

// Apply moves the state by one change. It fails on a change that no command
// could have decided in this state: the stream is then not to be trusted.
func (s *Subscription) Apply(c Change) error {
	if created, ok := c.(Created); ok {
		return s.begin(created)
	}
	if !s.mayTake(c) {
		return fmt.Errorf("subscription %s: %T cannot follow at version %d (%s)", s.ID, c, s.Version, s.Status)
	}
	switch c := c.(type) {
	case EndpointChanged:
		s.Name, s.URL, s.Timeout, s.MaxInFlight, s.RetrySchedule = c.Name, c.URL, c.Timeout, c.MaxInFlight, c.RetrySchedule
		s.touch(c.At)
	case FilterChanged:
		s.EventTypes = c.EventTypes
		s.touch(c.At)
	case OptionsChanged:
		s.SourceSystem, s.Options = c.SourceSystem, c.Options
		s.touch(c.At)
	case SecretRotationStarted:
		s.Secrets = Secrets{Current: c.SecretID, Previous: s.Secrets.Current, OverlapEnd: c.OverlapEnd}
		s.touch(c.At)
	case SecretRotationCompleted:
		s.Secrets = Secrets{Current: s.Secrets.Current}
		s.touch(c.At)
	case Paused:
		s.become(StatusPaused, c.Reason, c.At)
	case Resumed:
		s.become(StatusActive, "", c.At)
		s.SkippedParked = c.SkipParked
	case Disabled:
		s.become(StatusDisabled, c.Reason, c.At)
	case Deleted:
		s.become(StatusDeleted, "", c.At)
	default:
		return fmt.Errorf("subscription: cannot apply %T", c)
	}
	return nil
}

// mayTake checks a change against what the commands decide.
func (s *Subscription) mayTake(c Change) bool {
	if s.Version == 0 || s.Status == StatusDeleted {
		return false
	}
	switch c := c.(type) {
	case SecretRotationStarted:
		overlap := c.OverlapEnd.Sub(c.At)
		return overlap == 0 || overlap > 0 && overlap <= MaxOverlap && !s.Secrets.Rotating(c.At)
	case SecretRotationCompleted:
		return s.Secrets.Previous != ""
	case Paused:
		return s.Status == StatusActive
	case Resumed:
		return s.Status != StatusActive
	case Disabled:
		return s.Status != StatusDisabled
	default:
		return true
	}
}

func (s *Subscription) begin(c Created) error {
	if s.Version != 0 {
		return fmt.Errorf("subscription %s: created twice", s.ID)
	}
	*s = Subscription{
		ID: c.ID, Tenant: c.Tenant, Settings: c.Settings, Status: StatusActive,
		Secrets: Secrets{Current: c.SecretID}, Version: 1, CreatedAt: c.At, UpdatedAt: c.At,
	}
	return nil
}

func (s *Subscription) become(status Status, reason string, at time.Time) {
	s.Status, s.Reason, s.SkippedParked = status, reason, false
	s.touch(at)
}

func (s *Subscription) touch(at time.Time) {
	s.UpdatedAt = at
	s.Version++
}
