package live_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/live"
)

// Who hears nothing takes it that nothing has happened.
func TestAFailureIsNoSilence(t *testing.T) {
	w := newWorld(t, live.Limits{})
	w.away = "DeliveryHead"
	if l, err := w.hub.Listen(t.Context(), "acme", "key_1", live.Filter{}); !errors.Is(err, errAway) {
		t.Errorf("listens with %v: %v", l, err)
	}
	w.away = ""
	l := w.listen("acme", live.Filter{})
	w.scheduled("acme", "dlv_1")
	w.away = "DeliveryRecords"
	if next, err := w.hub.Step(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("the next step is at %s, %v", next, err)
	}
	w.away = ""
	w.step()
	w.wants("what was recorded meanwhile", heard(l), "dlv_1 pending")
	late := w.listen("acme", live.Filter{})
	for _, w.away = range []string{"DeliveryHead", "TenantDeliveryRecords"} {
		if err := late.Replay(t.Context(), live.Mark{At: w.now}, func(live.Change) error { return nil }); !errors.Is(err, errAway) {
			t.Errorf("a replay, while %s fails: %v", w.away, err)
		}
	}
}

// Whoever revoked a key would trust that it hears nothing any more.
func TestARevokedKeyIsLookedAtAgainAfterAFailure(t *testing.T) {
	w := newWorld(t, live.Limits{})
	l := w.listen("acme", live.Filter{})
	w.step()
	w.now = w.now.Add(time.Minute)
	w.ended, w.away = []string{"key_1"}, "EndedKeys"
	if _, err := w.hub.Step(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
	w.away = ""
	w.step()
	if why := reason(l); !errors.Is(why, live.ErrRevoked) {
		t.Error(why)
	}
}

// What is left is read at once: the pause behind each part would let a stream fall further and further behind.
func TestAfterManyChangesTheNextAreReadAtOnce(t *testing.T) {
	w := newWorld(t, live.Limits{})
	l := w.listen("acme", live.Filter{})
	for range 2500 {
		w.scheduled("other", "dlv_1")
	}
	w.scheduled("acme", "dlv_2")
	for w.step().Equal(w.now) { // at once
	}
	w.wants("the last change", heard(l), "dlv_2 pending")
}
