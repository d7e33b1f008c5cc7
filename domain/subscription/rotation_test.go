package subscription_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func rotation(secretID string, from, to time.Duration) subscription.Change {
	return subscription.SecretRotationStarted{At: at(from), SecretID: secretID, OverlapEnd: at(to)}
}

func completed(after time.Duration) subscription.Change {
	return subscription.SecretRotationCompleted{At: at(after)}
}

// TestWhichSecretSigns is section 4 of the contract: what is in force when.
func TestWhichSecretSigns(t *testing.T) {
	const day, hour = 24 * time.Hour, time.Hour
	for name, c := range map[string]struct {
		stream   changes
		after    time.Duration
		body     string
		standard []string
	}{
		"before any rotation":            {given(), hour, "sec_1", []string{"sec_1"}},
		"as the overlap begins":          {given(rotation("sec_2", 0, day)), 0, "sec_1", []string{"sec_2", "sec_1"}},
		"as the overlap is about to end": {given(rotation("sec_2", 0, day)), day - 1, "sec_1", []string{"sec_2", "sec_1"}},
		"as the overlap ends":            {given(rotation("sec_2", 0, day)), day, "sec_2", []string{"sec_2"}},
		"long after":                     {given(rotation("sec_2", 0, day)), 90 * day, "sec_2", []string{"sec_2"}},
		"completed by the admin":         {given(rotation("sec_2", 0, day), completed(hour)), hour, "sec_2", []string{"sec_2"}},
		"without an overlap":             {given(rotation("sec_2", 0, 0), completed(0)), 0, "sec_2", []string{"sec_2"}},
		"a second one after the first":   {given(rotation("sec_2", 0, day), rotation("sec_3", 2*day, 3*day)), 2 * day, "sec_2", []string{"sec_3", "sec_2"}},
		"a leak during an overlap":       {given(rotation("sec_2", 0, day), rotation("sec_3", hour, hour), completed(hour)), hour, "sec_3", []string{"sec_3"}},
		"paused meanwhile":               {given(rotation("sec_2", 0, day), paused), hour, "sec_1", []string{"sec_2", "sec_1"}},
	} {
		secrets := fold(t, c.stream).Secrets
		if got := secrets.ForBody(at(c.after)); got != c.body {
			t.Errorf("%s: the body is signed with %s, want %s", name, got, c.body)
		}
		if got := secrets.ForStandard(at(c.after)); !slices.Equal(got, c.standard) {
			t.Errorf("%s: webhook-signature is made of %v, want %v", name, got, c.standard)
		}
		if got, want := secrets.Rotating(at(c.after)), len(c.standard) == 2; got != want {
			t.Errorf("%s: rotating is %t", name, got)
		}
	}
}

func TestRotateSecret(t *testing.T) {
	const week = 168 * time.Hour
	during := given(rotation("sec_2", 0, 24*time.Hour))
	for name, c := range map[string]struct {
		stream changes
		when   command
		then   changes
	}{
		"with the usual overlap":    {given(), rotate("sec_2", 24*time.Hour, start), changes{rotation("sec_2", 0, 24*time.Hour)}},
		"with the longest":          {given(), rotate("sec_2", week, start), changes{rotation("sec_2", 0, week)}},
		"with none":                 {given(), rotate("sec_2", 0, start), changes{rotation("sec_2", 0, 0), completed(0)}},
		"with none, during one":     {during, rotate("sec_3", 0, at(1)), changes{rotation("sec_3", 1, 1), completed(1)}},
		"as another's overlap ends": {during, rotate("sec_3", time.Hour, at(24*time.Hour)), changes{rotation("sec_3", 24*time.Hour, 25*time.Hour)}},
		"after one was completed":   {append(during[:2:2], completed(1)), rotate("sec_3", time.Hour, at(1)), changes{rotation("sec_3", 1, 1+time.Hour)}},
		"completed while it runs":   {during, complete(at(time.Hour)), changes{completed(time.Hour)}},
		"completed too late":        {during, complete(at(24 * time.Hour)), nil},
		"completed twice":           {append(during[:2:2], completed(1)), complete(at(2)), nil},
	} {
		t.Run(name, func(t *testing.T) { scenario(t, c.stream, c.when, c.then) })
	}
}

func TestRotateSecretRefuses(t *testing.T) {
	during := given(rotation("sec_2", 0, 24*time.Hour))
	refused(t, during, rotate("sec_3", time.Hour, at(24*time.Hour-1)), problem.Conflict)
	for _, overlap := range []time.Duration{-1, -time.Hour, subscription.MaxOverlap + 1, 1 << 62} {
		refused(t, given(), rotate("sec_2", overlap, start), problem.ValidationFailed)
	}
}

func TestTheLongestOverlapIsAWeek(t *testing.T) {
	if subscription.MaxOverlap != 168*time.Hour {
		t.Errorf("got %s", subscription.MaxOverlap)
	}
}

// What is under way was leased with the secrets that were valid then, and signs with them although a leak ends them at once.
func TestASecretIsKeptForWhatIsUnderWay(t *testing.T) {
	during := fold(t, given(rotation("sec_2", 0, 24*time.Hour))).Secrets
	for name, c := range map[string]struct {
		change subscription.Change
		kept   []string
	}{
		"a leak during an overlap":  {rotation("sec_3", time.Hour, time.Hour), []string{"sec_2", "sec_1", "sec_3"}},
		"a rotation after the last": {rotation("sec_3", 25*time.Hour, 26*time.Hour), []string{"sec_2", "sec_3"}},
		"a deletion":                {subscription.Deleted{At: at(time.Hour)}, []string{}},
	} {
		if kept, concerned := during.KeptAfter(c.change); !concerned || !slices.Equal(kept, c.kept) {
			t.Errorf("%s keeps %v, want %v", name, kept, c.kept)
		}
	}
	if _, concerned := during.KeptAfter(completed(time.Hour)); concerned {
		t.Error("the end of a rotation concerns what is kept")
	}
}

func TestWhichSecretsASubscriptionHas(t *testing.T) {
	s := subscription.Subscription{Status: subscription.StatusPaused, Secrets: subscription.Secrets{Current: "sec_2", Previous: "sec_1"}}
	for id, want := range map[string]bool{"sec_0": false, "sec_1": true, "sec_2": true} {
		if s.HasSecret(id) != want {
			t.Errorf("it has %s: %t", id, !want)
		}
	}
	if s.Status = subscription.StatusDeleted; s.HasSecret("sec_2") {
		t.Error("one that was deleted has a secret")
	}
}

func TestWhenTheEndOfAnOverlapIsAnnounced(t *testing.T) {
	const hour = time.Hour
	for name, c := range map[string]struct {
		change subscription.Change
		at     time.Time
	}{
		"with a quarter of it left": {rotation("sec_2", 0, 24*hour), at(18 * hour)},
		"a day before, at most":     {rotation("sec_2", 0, 168*hour), at(144 * hour)},
		"not without an overlap":    {rotation("sec_2", 0, 0), time.Time{}},
		"not once it is completed":  {completed(hour), time.Time{}},
		"not of what is deleted":    {subscription.Deleted{At: at(hour)}, time.Time{}},
	} {
		if got, concerned := subscription.NoticeOf(c.change); !concerned || !got.Equal(c.at) {
			t.Errorf("%s: announced at %s (%t), want %s", name, got, concerned, c.at)
		}
	}
	if _, concerned := subscription.NoticeOf(paused); concerned {
		t.Error("a pause concerns the notice")
	}
}
