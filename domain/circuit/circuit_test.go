package circuit_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
)

var noon = time.Date(2026, 6, 18, 12, 0, 0, 0, time.UTC)

const allowed = 16

func answer(status int) delivery.Outcome {
	if status < 300 {
		return delivery.Outcome{Kind: delivery.KindSucceeded, Status: status}
	}
	return delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: status}
}

func times(n int, c circuit.Circuit, o delivery.Outcome, now time.Time) circuit.Circuit {
	for range n {
		c = c.Record(o, allowed, now)
	}
	return c
}

func expect(t *testing.T, c circuit.Circuit, now time.Time, state circuit.State, limit int) {
	t.Helper()
	if got := c.State(now); got != state {
		t.Errorf("the circuit is %s, not %s", got, state)
	}
	if got := c.Limit(allowed, now); got != limit {
		t.Errorf("%d attempts at once, not %d", got, limit)
	}
}

func TestAReceiverThatIsWellGetsAllThatItsSubscriptionAllows(t *testing.T) {
	expect(t, circuit.Circuit{}, noon, circuit.Closed, allowed)
	expect(t, times(100, circuit.Circuit{}, answer(200), noon), noon, circuit.Closed, allowed)
	expect(t, times(100, circuit.Circuit{}, answer(400), noon), noon, circuit.Closed, allowed)
}

// opened fails long and often enough, and is open at noon.
func opened(o delivery.Outcome) circuit.Circuit {
	return times(circuit.FailuresToOpen-1, circuit.Circuit{}, o, noon.Add(-circuit.FailingToOpen)).Record(o, allowed, noon)
}

func TestItOpensAfterFailuresInARowOverSomeTimeAndProbesOnce(t *testing.T) {
	earlier := noon.Add(-circuit.FailingToOpen)
	c := times(circuit.FailuresToOpen-1, circuit.Circuit{}, answer(500), earlier)
	expect(t, c, noon, circuit.Closed, allowed)
	expect(t, times(circuit.FailuresToOpen-1, c.Record(answer(200), allowed, earlier), answer(500), noon), noon, circuit.Closed, allowed)
	expect(t, times(100, c, answer(500), noon.Add(-time.Millisecond)), noon, circuit.Closed, allowed)
	c = c.Record(answer(500), allowed, noon)
	expect(t, c, noon, circuit.Open, 0)
	if again := times(20, c, answer(500), noon.Add(time.Second)); again.Report().Until != c.Report().Until {
		t.Error("attempts that were out when it opened made it wait longer")
	}
	expect(t, c, c.Report().Until, circuit.HalfOpen, 1)
}

// One that answers, if only to say no, is well; of an attempt that was abandoned nobody knows.
func TestItOpensForAReceiverInTroubleAndNotForOneThatRefuses(t *testing.T) {
	well := []delivery.Kind{delivery.KindSucceeded, delivery.KindRedirect, delivery.KindResponseTooLarge, delivery.KindLeaseExpired}
	for _, kind := range delivery.Kinds() {
		want := circuit.Open
		if slices.Contains(well, kind) {
			want = circuit.Closed
		}
		if got := opened(delivery.Outcome{Kind: kind, Status: 500}).State(noon); got != want {
			t.Errorf("%s: the circuit is %s, not %s", kind, got, want)
		}
	}
}

// A clock that is set back keeps nobody from being spared until it has caught up.
func TestItOpensAlthoughTheClockWasSetBackBetweenTheFailures(t *testing.T) {
	c := times(5, circuit.Circuit{}, answer(500), noon.Add(time.Hour))
	c = times(circuit.FailuresToOpen, c, answer(500), noon)
	expect(t, c, noon, circuit.Closed, allowed)
	expect(t, c.Record(answer(500), allowed, noon.Add(circuit.FailingToOpen)), noon.Add(circuit.FailingToOpen), circuit.Open, 0)
}

func TestEachProbeThatFailsMakesItWaitLongerUpToAMinute(t *testing.T) {
	c, now := opened(answer(500)), noon
	for _, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
		if got := c.Report().Until.Sub(now); got != want*time.Second {
			t.Fatalf("it waits %s, not %ds", got, want)
		}
		now = c.Report().Until
		c = c.Record(answer(500), allowed, now)
	}
}

func TestAReceiverThatComesBackGetsARamp(t *testing.T) {
	c := opened(answer(500))
	now := c.Report().Until
	for _, limit := range []int{2, 4, 8, allowed} {
		c = times(c.Limit(allowed, now), c, answer(200), now)
		expect(t, c, now, circuit.Closed, limit)
	}
	if c.Known() {
		t.Errorf("there is something left to remember: %+v", c)
	}
}

func TestAReceiverThatAsksForLessGetsHalf(t *testing.T) {
	for _, o := range []delivery.Outcome{answer(429), answer(503), {Kind: delivery.KindTimeout}} {
		c := circuit.Circuit{}.Record(o, allowed, noon)
		expect(t, c, noon, circuit.Closed, allowed/2)
		expect(t, times(9, circuit.Circuit{}, o, noon), noon, circuit.Closed, 1)
	}
}

func TestItWaitsAsLongAsAskedUpToAMinute(t *testing.T) {
	o := answer(429)
	o.RetryAfter = 30 * time.Second
	if got := opened(o).Report().Until; got != noon.Add(30*time.Second) {
		t.Error(got)
	}
	o.RetryAfter = time.Hour
	if got := opened(o).Report().Until; got != noon.Add(time.Minute) {
		t.Error(got)
	}
}

func TestWhateverHappensTheLimitStaysInBoundsAndSuccessesRestoreIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c circuit.Circuit
		now := noon
		for range rapid.IntRange(0, 200).Draw(t, "outcomes") {
			now = now.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
			o := answer(rapid.SampledFrom([]int{200, 400, 429, 500, 503}).Draw(t, "status"))
			o.Duration = rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 5 * time.Second}).Draw(t, "took")
			if rapid.Bool().Draw(t, "no answer") {
				o = delivery.Outcome{Kind: rapid.SampledFrom(delivery.Kinds()).Draw(t, "kind")}
			}
			c = c.Record(o, allowed, now)
			if limit := c.Limit(allowed, now); limit < 0 || limit > allowed || (limit == 0) != (c.State(now) == circuit.Open) {
				t.Fatalf("limit %d while %s", limit, c.State(now))
			}
		}
		if !c.Report().Until.IsZero() {
			now = c.Report().Until
		}
		if c = times(2*allowed, c, answer(200), now); c.Known() {
			t.Fatalf("successes left %+v", c)
		}
	})
}

func TestABacklogPausesLongerAfterEachFailureInARow(t *testing.T) {
	c, now := circuit.Circuit{}.Record(answer(500), allowed, noon), noon
	if wait := c.Wait(now); wait != 0 {
		t.Errorf("it pauses for %s after a single failure", wait)
	}
	for _, want := range []int{10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000} {
		c = c.Record(answer(500), allowed, now)
		if got := c.Wait(now); got != time.Duration(want)*time.Millisecond {
			t.Fatalf("it pauses for %s, not %d ms", got, want)
		}
		now = now.Add(c.Wait(now))
		expect(t, c, now, circuit.Closed, allowed)
	}
	if many := times(100, c, answer(500), now); many.Wait(now) != time.Second {
		t.Errorf("it pauses for %s after a hundred more", many.Wait(now))
	}
	if c = c.Record(answer(400), allowed, now); c.Wait(now) != 0 {
		t.Errorf("a receiver that refuses a delivery makes it pause for %s", c.Wait(now))
	}
	if c = c.Record(answer(200), allowed, now); c.Known() {
		t.Errorf("a success left %+v", c)
	}
}

func TestAClockThatIsSetBackLetsAProbeThrough(t *testing.T) {
	for _, c := range []circuit.Circuit{opened(answer(500)), times(10, circuit.Circuit{}, answer(500), noon)} {
		if c.Wait(noon) == 0 {
			t.Errorf("%+v does not wait, so this shows nothing", c)
		}
		earlier := noon.Add(-time.Hour)
		if c.Wait(earlier) != 0 || c.Limit(allowed, earlier) == 0 {
			t.Errorf("at %s %+v waits for %s with at most %d attempts", earlier, c, c.Wait(earlier), c.Limit(allowed, earlier))
		}
	}
}

// Failures that lie far apart, but are few, are no outage.
func TestFewFailuresOpenNothingHoweverLongTheyTake(t *testing.T) {
	c := times(circuit.FailuresToOpen-2, circuit.Circuit{}, answer(500), noon.Add(-time.Hour)).Record(answer(500), allowed, noon)
	expect(t, c, noon, circuit.Closed, allowed)
	expect(t, c.Record(answer(500), allowed, noon), noon, circuit.Open, 0)
}

// A receiver may be down for days, and is probed once a minute until the end.
func TestAReceiverThatIsDownForDaysIsStillSpared(t *testing.T) {
	c := opened(answer(500))
	for probe := range 5000 {
		now := c.Report().Until
		if c = c.Record(answer(500), allowed, now); probe > 5 && c.Report().Until.Sub(now) != time.Minute {
			t.Fatalf("after probe %d it waits %s", probe, c.Report().Until.Sub(now))
		}
	}
}

// The window was made of what the subscription allowed then; it may have come to allow less since.
func TestNobodyGetsMoreThanTheSubscriptionAllowsByNow(t *testing.T) {
	c := circuit.Circuit{}.Record(answer(429), 100, noon)
	if got := c.Limit(10, noon); got != 10 {
		t.Errorf("%d attempts at once, not 10", got)
	}
}

// A failure that a success has made up for is none in a row, and what it asks for is heard.
func TestAFailureThatWasMadeUpForIsNotInARow(t *testing.T) {
	c := circuit.Circuit{}
	for range 2 * circuit.FailuresToOpen {
		c = c.RecordMadeUp(answer(500), allowed, noon)
	}
	if c.Known() || c.Wait(noon) > 0 {
		t.Errorf("it is %+v", c)
	}
	c = c.RecordMadeUp(answer(429), allowed, noon)
	expect(t, c, noon, circuit.Closed, allowed/2)
	if since := c.Report().Since; since != noon {
		t.Errorf("it is spared since %s", since)
	}
	c = opened(answer(500))
	if got := c.RecordMadeUp(answer(429), allowed, noon); got != c {
		t.Errorf("what was made up for before makes %+v of %+v", got, c)
	}
}
