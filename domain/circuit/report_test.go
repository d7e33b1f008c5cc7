package circuit_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Since is when a receiver began to be spared, whatever became of it meanwhile, until it gets all again.
func TestReportTellsSinceWhenAReceiverIsSpared(t *testing.T) {
	slow := circuit.Circuit{}.Record(answer(429), allowed, noon)
	if got, want := slow.Report(), (circuit.Report{Since: noon, Window: 8}); got != want {
		t.Errorf("narrowed: %+v, want %+v", got, want)
	}
	sick := times(circuit.FailuresToOpen, slow, answer(429), noon.Add(circuit.FailingToOpen))
	if got, want := sick.Report(), (circuit.Report{Since: noon, Until: sick.Report().Until}); got != want || got.Until.IsZero() {
		t.Errorf("opened: %+v, want %+v", got, want)
	}
	back := sick.Record(answer(200), allowed, sick.Report().Until)
	if got, want := back.Report(), (circuit.Report{Since: noon, Window: 2}); got != want {
		t.Errorf("back: %+v, want %+v", got, want)
	}
	if got := times(100, back, answer(200), sick.Report().Until).Report(); got != (circuit.Report{}) {
		t.Errorf("well: %+v", got)
	}
	if got := opened(answer(500)).Report(); got.Since != noon {
		t.Errorf("opened at noon: %+v", got)
	}
}

// A report says the same as its circuit, and nothing exactly when the receiver gets all that its subscription allows.
func TestReportSaysWhatTheCircuitDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c circuit.Circuit
		now := noon
		for range rapid.IntRange(0, 60).Draw(t, "attempts") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
			before := c.Report()
			c = c.Record(rapid.SampledFrom([]delivery.Outcome{answer(200), answer(400), answer(429), answer(500), {Kind: delivery.KindTimeout}}).Draw(t, "outcome"), allowed, now)
			r := c.Report()
			if r.State(now) != c.State(now) || r.Limit(allowed, now) != c.Limit(allowed, now) || !r.Until.IsZero() && c.Wait(now) != max(r.Until.Sub(now), 0) {
				t.Fatalf("%+v of %+v", r, c)
			}
			full := c.State(now) == circuit.Closed && c.Limit(allowed, now) == allowed
			if (r == circuit.Report{}) != full || r.Since.IsZero() != full || r.Since.After(now) {
				t.Fatalf("%+v at %s of %+v", r, now, c)
			}
			if before != (circuit.Report{}) && r != (circuit.Report{}) && before.Since != r.Since {
				t.Fatalf("since when changed from %s to %s", before.Since, r.Since)
			}
		}
	})
}
