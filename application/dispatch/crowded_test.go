package dispatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// crowded is a process that remembers five lanes, each with an attempt out.
func crowded(t *testing.T) (w *world, out []dispatch.Leased) {
	t.Helper()
	w = newWorld(t, 100)
	w.KnowAtMost(5)
	for i := range 5 {
		w.schedule(w.subscribe(fmt.Sprintf("sub_%d", i), 16), "")
	}
	w.Wake()
	if out = w.rest(5); len(out) != 5 {
		t.Fatalf("%d are out", len(out))
	}
	return w, out
}

// retried lets a delivery that is handed over fail, and sees that it is attempted again.
func (w *world) retried(lane dispatch.Lane) {
	w.Helper()
	lease, ok := w.Reserve(lane, 16)
	if !ok {
		w.Fatal("not taken")
	}
	w.Take([]dispatch.Leased{w.schedule(lane, lease)}, true)
	out := append(w.take(), w.rest(5)...)
	if len(out) != 1 {
		w.Fatalf("%d are out", len(out))
	}
	w.Finish(out[0], answered(500))
	if again := w.rest(5); len(again) != 0 {
		w.Fatalf("%d begin at once", len(again))
	}
	next := w.step()
	if want := w.rows[out[0].Delivery.ID].DueAt; !next.Equal(want) {
		w.Fatalf("the next turn is at %s, and a retry is due at %s", next, want)
	}
	w.now = next
	again := w.rest(5)
	if len(again) != 1 || again[0].Delivery.ID != out[0].Delivery.ID {
		w.Fatalf("then begins %+v", again)
	}
	w.Finish(again[0], succeeded())
	w.rest(5)
}

// Receivers that failed last, and get nothing any more, are in nobody's way.
func TestReceiversThatGetNothingAnyMoreAreForgottenForOthers(t *testing.T) {
	for name, outcome := range map[string]delivery.Outcome{"fails": answered(500), "asks for less": answered(429), "hangs": hung()} {
		t.Run(name, func(t *testing.T) {
			w, out := crowded(t)
			for _, l := range out {
				w.Finish(l, outcome)
			}
			w.rest(5)
			clear(w.rows)
			w.schedule(w.subscribe("sub_new", 16), "")
			w.Wake()
			if out = w.rest(5); len(out) != 1 || out[0].Delivery.SubscriptionID != "sub_new" {
				t.Fatalf("then begins %+v", out)
			}
			w.retried(w.subscribe("sub_another", 16))
			if len(w.circuits) == 5 {
				t.Errorf("told is %+v", w.circuits)
			}
		})
	}
}

// The last that failed are remembered.
func TestReceiversAreForgottenThatGotNothingForLongest(t *testing.T) {
	w, out := crowded(t)
	for _, l := range out {
		w.now = w.now.Add(time.Millisecond)
		w.Finish(l, answered(429))
		w.rest(5)
	}
	clear(w.rows)
	w.schedule(w.subscribe("sub_new", 16), "")
	w.Wake()
	w.rest(5)
	if _, oldest := w.circuits[out[0].Lane()]; oldest {
		t.Errorf("told is %+v", w.circuits)
	}
	if _, youngest := w.circuits[out[4].Lane()]; !youngest {
		t.Errorf("told is %+v", w.circuits)
	}
}

// While all that is remembered is needed no other lane is looked for; retries are, and others as soon as there is room.
func TestRetriesComeWhileNoMoreLanesAreRemembered(t *testing.T) {
	w, out := crowded(t)
	w.retried(w.subscribe("sub_handed", 16))
	w.schedule(w.subscribe("sub_new", 16), "")
	w.Wake()
	if found := w.rest(5); len(found) != 0 {
		t.Fatalf("%d begin although there is no room: %+v", len(found), found[0].Lane())
	}
	w.Finish(out[0], succeeded())
	if found := w.rest(5); len(found) != 1 || found[0].Delivery.SubscriptionID != "sub_new" {
		t.Errorf("with room begins %+v", found)
	}
}
