package operational_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/operational"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// events is a store of accepted ones.
type events struct {
	accepted []intake.Accepted
	appends  int
	away     error // what looking answers
	full     error // what appending answers
}

func (s *events) Known(_ context.Context, keys []intake.EventKey) (intake.Known, error) {
	known := intake.Known{Fingerprints: map[intake.EventKey][sha256.Size]byte{}}
	for _, key := range keys {
		for _, e := range s.accepted {
			if e.Key() == key {
				known.Fingerprints[key] = e.Fingerprint
			}
		}
	}
	return known, s.away
}

func (s *events) AppendEvents(_ context.Context, more []intake.Accepted) error {
	s.appends++
	s.accepted = append(s.accepted, more...)
	return s.full
}

func sick() subscription.Subscription {
	s := subscription.Subscription{ID: "sub_1", Tenant: "acme", Reason: "410 Gone", Version: 7, UpdatedAt: start}
	s.Name, s.Secrets.Current, s.Secrets.OverlapEnd = "ERP", "sec_2", start.Add(time.Hour)
	return s
}

// told makes one event of each kind, as of the state and the time.
func told(t *testing.T, s subscription.Subscription, d delivery.Delivery, since, now time.Time) map[event.Type]intake.Accepted {
	t.Helper()
	all := map[event.Type]intake.Accepted{}
	add := func(e intake.Accepted, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		all[e.Type] = e
	}
	add(operational.Disabled(s))
	add(operational.Failing(s, 12, since, now))
	add(operational.DeadLettered(s, d, "no attempt is left", delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500}, "00-trace"))
	add(operational.RotationEnding(s, now))
	return all
}

var given = delivery.Delivery{
	ID: "dlv_1", EventID: "evt_1", EventType: event.TargetImported, Status: delivery.StatusDeadLetter, Attempts: 10, Version: 12, CreatedAt: start, UpdatedAt: start,
}

func TestWhatIsTold(t *testing.T) {
	s := sick()
	all := told(t, s, given, start.Add(-time.Hour), start)
	for kind, e := range all {
		if _, print, err := event.Seal(e.Event); err != nil || print != e.Fingerprint {
			t.Errorf("%s: the fingerprint is not that of the event as it is kept (%v)", kind, err)
		}
		if !kind.IsOperational() || e.TenantID != "acme" || e.Subscription.ID != "sub_1" || e.Subscription.Name != "ERP" || !e.At.Equal(start) || !e.OccurredAt.Equal(start) {
			t.Errorf("%s: %+v", kind, e)
		}
	}
	if r := all[event.SubscriptionDisabled].Subscription.Reason; r == nil || *r != "410 Gone" {
		t.Errorf("disabled because of %v", r)
	}
	if f := all[event.SubscriptionFailing].Subscription; *f.FailuresInARow != 12 || !f.FailingSince.Equal(start.Add(-time.Hour)) {
		t.Errorf("failing: %+v", f)
	}
	dead := all[event.DeliveryDeadLettered]
	if d := dead.Delivery; d.ID != "dlv_1" || d.EventID != "evt_1" || d.AttemptCount != 10 || d.Reason != "no attempt is left" || d.LastOutcome != "http_status" || *d.LastResponseStatus != 500 || dead.TraceParent != "00-trace" {
		t.Errorf("dead letter: %+v", d)
	}
	if end := all[event.SecretRotationEnding].SecretRotation.OverlapEnd; !end.Equal(start.Add(time.Hour)) {
		t.Errorf("the overlap ends at %s", end)
	}
	unanswered, err := operational.DeadLettered(s, given, "", delivery.Outcome{Kind: delivery.KindTimeout}, "")
	if err != nil || unanswered.Delivery.LastResponseStatus != nil {
		t.Errorf("nothing was answered: %+v, %v", unanswered.Delivery, err)
	}
	lost, err := operational.DeadLettered(s, given, "", delivery.Outcome{Kind: delivery.KindConnectionLost}, "")
	if err != nil || lost.Delivery.LastOutcome != "connection_refused" { // as the API says it
		t.Errorf("a lost connection: %+v, %v", lost.Delivery, err)
	}
}

// The ID is what keeps the same news from being told twice, and other news from being taken for it.
func TestAnIDFollowsFromTheNews(t *testing.T) {
	since := start.Add(-time.Hour)
	first, again := told(t, sick(), given, since, start), told(t, sick(), given, since, start)
	other, later := sick(), given
	other.Version, other.Secrets.Current, later.Version = 9, "sec_3", 14
	next := told(t, other, later, since.Add(time.Minute), start)
	other = sick()
	other.ID = "sub_2"
	elsewhere := told(t, other, given, since, start)
	seen := map[string]event.Type{}
	for kind, e := range first {
		if again[kind].ID != e.ID {
			t.Errorf("%s has the ID %s, then %s", kind, e.ID, again[kind].ID)
		}
		for _, id := range []string{e.ID, next[kind].ID, elsewhere[kind].ID} {
			if earlier, taken := seen[id]; taken {
				t.Errorf("%s is told under an ID of %s", kind, earlier)
			}
			seen[id] = kind
		}
	}
}

func TestNewsIsAcceptedOnce(t *testing.T) {
	store, all := &events{}, told(t, sick(), given, start, start)
	disabled, dead := all[event.SubscriptionDisabled], all[event.DeliveryDeadLettered]
	for _, batch := range [][]intake.Accepted{nil, {disabled}, {disabled}, {disabled, dead}, {dead, disabled}} {
		if err := operational.Accept(t.Context(), store, batch); err != nil {
			t.Fatal(err)
		}
	}
	if store.appends != 2 || len(store.accepted) != 2 || store.accepted[0].ID != disabled.ID || store.accepted[1].ID != dead.ID {
		t.Errorf("%d events in %d writes", len(store.accepted), store.appends)
	}
}

func TestNewsThatCannotBeAccepted(t *testing.T) {
	news := []intake.Accepted{told(t, sick(), given, start, start)[event.SubscriptionDisabled]}
	away, full := errors.New("away"), errors.New("full")
	store := &events{away: away}
	if err := operational.Accept(t.Context(), store, news); !errors.Is(err, away) || store.appends != 0 {
		t.Errorf("%v, %d writes", err, store.appends)
	}
	if err := operational.Accept(t.Context(), &events{full: full}, news); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
