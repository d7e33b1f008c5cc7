package subscription_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/subscription"
)

// Every kind of change has a word and a sentence of its own.
func TestEveryChangeIsPutInWords(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	words := map[string]bool{}
	for _, c := range examples() {
		word, sentence := subscription.Word(c), subscription.Sentence(c)
		if word == "unknown" || words[word] || sentence == "It was changed." || !strings.HasSuffix(sentence, ".") {
			t.Errorf("%T is called %q: %q", c, word, sentence)
		}
		words[word] = true
	}
	for _, c := range []struct {
		change subscription.Change
		want   string
	}{
		{subscription.EndpointChanged{At: now, Name: "SAP"}, "Its name, or"},
		{subscription.Paused{At: now, Reason: "maintenance"}, "The reason: maintenance."},
		{subscription.Disabled{At: now, Reason: subscription.ReasonGone}, "410 Gone"},
		{subscription.Resumed{At: now, SkipParked: true}, "cancelled"},
		{subscription.Resumed{At: now}, "what was parked is sent"},
		{subscription.SecretRotationStarted{At: now, OverlapEnd: now}, "at once"},
		{subscription.SecretRotationStarted{At: now, OverlapEnd: now.Add(time.Hour)}, "2026-07-01T13:00:00Z"},
	} {
		if got := subscription.Sentence(c.change); !strings.Contains(got, c.want) {
			t.Errorf("%+v is put as %q, without %q", c.change, got, c.want)
		}
	}
	if got := subscription.Sentence(subscription.Paused{At: now}); strings.Contains(got, "reason") {
		t.Errorf("a pause without a reason is put as %q", got)
	}
}
