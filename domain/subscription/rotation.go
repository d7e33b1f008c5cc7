package subscription

import (
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
)

// MaxOverlap bounds a rotation's overlap (contract, section 4).
const MaxOverlap = 168 * time.Hour

// Secrets names the signing secrets in force; their values are kept sealed elsewhere.
type Secrets struct {
	Current string `json:"current"`
	// Previous is the old secret during a rotation's overlap, else empty.
	Previous   string    `json:"previous,omitempty"`
	OverlapEnd time.Time `json:"overlapEnd,omitzero"`
}

// Rotating reports whether both secrets are valid.
func (s Secrets) Rotating(now time.Time) bool { return s.Previous != "" && now.Before(s.OverlapEnd) }

// ForBody is the secret of X-Ordinavo-Signature, which has room for one: the old one
// until the rotation is completed or its overlap ends (contract, section 4).
func (s Secrets) ForBody(now time.Time) string {
	if s.Rotating(now) {
		return s.Previous
	}
	return s.Current
}

// ForStandard is the secrets of webhook-signature: every valid one, the newest first.
func (s Secrets) ForStandard(now time.Time) []string {
	if s.Rotating(now) {
		return []string{s.Current, s.Previous}
	}
	return []string{s.Current}
}

// HasSecret reports whether the secret is one of those that the last rotation left. All of them are kept, and none of a deleted subscription.
func (s Subscription) HasSecret(id string) bool {
	return s.Status != StatusDeleted && (id == s.Secrets.Current || id == s.Secrets.Previous)
}

// KeptAfter is which secrets are still needed after a change to s, its state before: at a rotation also those that were valid
// until then, since attempts that have begun sign with them, and none after a deletion. concerned is false for a change that
// leaves them all.
func (s Secrets) KeptAfter(c Change) (ids []string, concerned bool) {
	switch c := c.(type) {
	case SecretRotationStarted:
		return append(s.ForStandard(c.At), c.SecretID), true
	case Deleted:
		return []string{}, true
	default:
		return nil, false
	}
}

// maxNotice is how long at most before its end an overlap is announced.
const maxNotice = 24 * time.Hour

// NoticeOf is when admins are to be told that a rotation's overlap ends: with a quarter of it left, and at most a day before
// its end. It is zero when a change leaves nothing to tell; concerned is false for a change that has nothing to do with it.
func NoticeOf(c Change) (at time.Time, concerned bool) {
	switch c := c.(type) {
	case SecretRotationStarted:
		overlap := c.OverlapEnd.Sub(c.At)
		if overlap <= 0 {
			return time.Time{}, true
		}
		return c.OverlapEnd.Add(-min(overlap/4, maxNotice)), true
	case SecretRotationCompleted, Deleted:
		return time.Time{}, true
	default:
		return time.Time{}, false
	}
}

// RotateSecret begins a rotation with an overlap of 0 to MaxOverlap. While one is under way another is refused, unless it has
// no overlap: then all older secrets end at once.
func (s Subscription) RotateSecret(newSecretID string, overlap time.Duration, now time.Time) ([]Change, error) {
	if err := s.MustExist(); err != nil {
		return nil, err
	}
	if overlap < 0 || overlap > MaxOverlap {
		return nil, problem.Invalid("overlapHours", "must be between 0 and %d", int(MaxOverlap.Hours()))
	}
	if s.Secrets.Rotating(now) && overlap > 0 {
		return nil, problem.New(problem.Conflict,
			"A rotation is under way until %s; complete it first, or rotate with overlapHours 0.", s.Secrets.OverlapEnd.UTC().Format(time.RFC3339))
	}
	changes := []Change{SecretRotationStarted{At: now, SecretID: newSecretID, OverlapEnd: now.Add(overlap)}}
	if overlap == 0 {
		changes = append(changes, SecretRotationCompleted{At: now})
	}
	return changes, nil
}

// CompleteRotation ends the old secret. Without a rotation under way it changes nothing.
func (s Subscription) CompleteRotation(now time.Time) ([]Change, error) {
	if err := s.MustExist(); err != nil {
		return nil, err
	}
	if !s.Secrets.Rotating(now) {
		return nil, nil
	}
	return []Change{SecretRotationCompleted{At: now}}, nil
}
