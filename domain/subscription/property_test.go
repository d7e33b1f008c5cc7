package subscription_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/subscription"
)

func TestAnySequenceOfCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now, stream := start, created()
		var is subscription.Subscription
		apply(t, &is, stream...)
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "wait")))
			before := is
			decided, err := anyCommand(t)(is, now)
			if before.Status == subscription.StatusDeleted && len(decided) > 0 {
				t.Fatalf("deleted, and decided %v (%v)", decided, err)
			}
			apply(t, &is, decided...)
			stream = append(stream, decided...)
			check(t, is, stream, now)
		}
	})
}

// apply is what a change that was decided must never fail at.
func apply(t *rapid.T, s *subscription.Subscription, decided ...subscription.Change) {
	for _, c := range decided {
		version := s.Version
		if err := s.Apply(c); err != nil || s.Version != version+1 {
			t.Fatalf("%+v was decided, and took version %d to %d: %v", c, version, s.Version, err)
		}
	}
}

func check(t *rapid.T, is subscription.Subscription, stream changes, now time.Time) {
	folded, err := subscription.Fold(stream)
	if err != nil || !reflect.DeepEqual(folded, is) {
		t.Fatalf("folded %+v (%v)\nis     %+v", folded, err, is)
	}
	valid := is.Secrets.ForStandard(now)
	switch {
	case is.Version != int64(len(stream)):
		t.Fatalf("version %d after %d changes", is.Version, len(stream))
	case is.Secrets.Current == "" || is.Secrets.Current == is.Secrets.Previous || valid[0] != is.Secrets.Current:
		t.Fatalf("the secrets in force are %+v", is.Secrets)
	case is.Secrets.ForBody(now) != valid[len(valid)-1]:
		t.Fatalf("the body is signed with %s, of %v", is.Secrets.ForBody(now), valid)
	case len(is.Secrets.ForStandard(now.Add(subscription.MaxOverlap))) != 1:
		t.Fatalf("a week later two secrets are valid: %+v", is.Secrets)
	case is.Status == subscription.StatusActive && is.Reason != "":
		t.Fatalf("active because of %q", is.Reason)
	}
}

func anyCommand(t *rapid.T) func(subscription.Subscription, time.Time) ([]subscription.Change, error) {
	name := rapid.SampledFrom([]string{"pause", "resume", "disable", "update", "rotate", "rotate", "complete", "rarely delete"}).Draw(t, "command")
	overlap := rapid.SampledFrom([]time.Duration{0, time.Hour, 24 * time.Hour, subscription.MaxOverlap, -1, subscription.MaxOverlap + 1}).Draw(t, "overlap")
	inFlight := rapid.IntRange(1, 3).Draw(t, "maxInFlight")
	ends := rapid.IntRange(0, 9).Draw(t, "ends") == 0
	return func(s subscription.Subscription, now time.Time) ([]subscription.Change, error) {
		switch name {
		case "pause":
			return s.Pause("maintenance", now)
		case "resume":
			return s.Resume(false, now)
		case "disable":
			return s.Disable(subscription.ReasonFailing, now), nil
		case "update":
			to := s.Settings
			to.MaxInFlight = inFlight
			return s.Update(to, now)
		case "rotate":
			return s.RotateSecret("sec_"+now.Format(time.RFC3339Nano)+string(rune('a'+s.Version)), overlap, now)
		case "complete":
			return s.CompleteRotation(now)
		default:
			if !ends {
				return nil, nil
			}
			return s.Delete(now)
		}
	}
}
