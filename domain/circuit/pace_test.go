package circuit_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
)

func after(took time.Duration) delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200, Duration: took}
}

// TestAReceiverThatSlowsDownGetsLess has answers take a hundred times as long: half each windowful, a quarter at least, and all again
// once they are quick.
func TestAReceiverThatSlowsDownGetsLess(t *testing.T) {
	c := times(3*allowed, circuit.Circuit{}, after(20*time.Millisecond), noon)
	expect(t, c, noon, circuit.Closed, allowed)
	if c.Known() {
		t.Error("how quick it is is remembered for good")
	}
	c = times(allowed, c, after(2*time.Second), noon)
	expect(t, c, noon, circuit.Closed, allowed/2)
	if since := c.Report().Since; since != noon {
		t.Errorf("it is spared since %s", since)
	}
	c = times(10*allowed, c, after(2*time.Second), noon)
	expect(t, c, noon, circuit.Closed, allowed/4)
	expect(t, times(2*allowed, c, after(20*time.Millisecond), noon), noon, circuit.Closed, allowed)
}

// TestWhatIsNotSlow holds that a single slow answer is not, nor one that nobody would notice, nor a receiver that always takes long.
func TestWhatIsNotSlow(t *testing.T) {
	quick := times(allowed, circuit.Circuit{}, after(20*time.Millisecond), noon)
	for what, c := range map[string]circuit.Circuit{
		"one":                     times(allowed-1, quick.Record(after(time.Second), allowed, noon), after(20*time.Millisecond), noon),
		"less than half a second": times(10*allowed, quick, after(400*time.Millisecond), noon),
		"always":                  times(10*allowed, circuit.Circuit{}, after(5*time.Second), noon),
	} {
		if got := c.Limit(allowed, noon); got != allowed {
			t.Errorf("%s: %d attempts at once, want %d", what, got, allowed)
		}
	}
}

// mixed is the circuit after so many answers of which one in each so many takes a time of its own.
func mixed(n int, c circuit.Circuit, usually delivery.Outcome, each int, other delivery.Outcome) circuit.Circuit {
	for i := range n {
		if i%each == each-1 {
			c = c.Record(other, allowed, noon)
		} else {
			c = c.Record(usually, allowed, noon)
		}
	}
	return c
}

// Where some kinds of events take long, the receiver is not slow, however many of them come together. Nor is it quick where only some are.
func TestAReceiverIsJudgedByItsQuickestQuarter(t *testing.T) {
	quick, long := after(20*time.Millisecond), after(2*time.Second)
	c := times(3*allowed, circuit.Circuit{}, quick, noon)
	expect(t, mixed(allowed, c, long, allowed/2, quick), noon, circuit.Closed, allowed/2)
	for range 100 {
		c = mixed(allowed, c, quick, 3, long)
		expect(t, c, noon, circuit.Closed, allowed)
		c = mixed(allowed, c, long, 2, quick)
		expect(t, c, noon, circuit.Closed, allowed)
	}
}

// Where some kinds of events are done at once, by chance none of them now and many then, those that take long are not slow.
func TestWhatUsuallyTakesLongIsNotSlow(t *testing.T) {
	for _, maxInFlight := range []int{2, 3, 4, 5, 8, allowed, 256} {
		for _, quick := range []float64{0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9} {
			c, got, random := circuit.Circuit{}, 0, rand.New(rand.NewPCG(1, 2))
			const answers = 20_000
			for range answers {
				took := 2 * time.Second
				if random.Float64() < quick {
					took = 20 * time.Millisecond
				}
				got += c.Limit(maxInFlight, noon)
				c = c.Record(after(took), maxInFlight, noon)
			}
			least := 0.95
			if maxInFlight < 8 { // few of them tell less
				least = 0.7
			}
			if share := float64(got) / float64(answers*maxInFlight); share < least {
				t.Errorf("of %d at once, with a share of %.2f that are quick, it gets %.2f", maxInFlight, quick, share)
			}
		}
	}
}

// What takes long now and then is not what a receiver usually takes.
func TestARareLongAnswerIsNotUsual(t *testing.T) {
	c := circuit.Circuit{}
	for range 200 {
		c = mixed(allowed, c, after(20*time.Millisecond), allowed, after(2*time.Second))
	}
	expect(t, times(allowed, c, after(2*time.Second), noon), noon, circuit.Closed, allowed/2)
}

// A few answers, of a receiver that gets no more at once, say nothing of what it usually takes; unless its subscription allows no more.
func TestAFewAnswersMakeNothingUsual(t *testing.T) {
	c := times(4, circuit.Circuit{}, answer(429), noon).Record(after(20*time.Millisecond), allowed, noon)
	expect(t, times(2, c, after(2*time.Second), noon), noon, circuit.Closed, allowed/4)
	c = circuit.Circuit{}
	for _, took := range []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, 2 * time.Second, 2 * time.Second} {
		c = c.Record(after(took), 2, noon)
	}
	if got := c.Limit(2, noon); got != 1 {
		t.Errorf("%d attempts at once, of 2 that are allowed, at a receiver that has become slow", got)
	}
}

// TestAReceiverThatStaysSlowGetsAllAgain holds that what it takes becomes what it usually takes.
func TestAReceiverThatStaysSlowGetsAllAgain(t *testing.T) {
	c := times(allowed, circuit.Circuit{}, after(500*time.Millisecond), noon)
	c = times(allowed, c, after(4*time.Second), noon)
	expect(t, c, noon, circuit.Closed, allowed/2)
	expect(t, times(40*allowed, c, after(4*time.Second), noon), noon, circuit.Closed, allowed)
}

// One attempt at once is what a slow receiver of a subscription that allows no more gets, and nothing is told of it.
func TestNobodyGetsLessThanOne(t *testing.T) {
	c := circuit.Circuit{}
	for _, took := range []time.Duration{20 * time.Millisecond, 2 * time.Second, 2 * time.Second} {
		c = c.Record(after(took), 1, noon)
	}
	if got := c.Limit(1, noon); got != 1 || c.Report() != (circuit.Report{}) {
		t.Errorf("%d attempts at once, and it tells %+v", got, c.Report())
	}
}

// TestWhatAReceiverCanDoIsKnownAtOnce has the first answers take long, as after a start.
func TestWhatAReceiverCanDoIsKnownAtOnce(t *testing.T) {
	c := times(allowed, circuit.Circuit{}, after(time.Second), noon)
	c = times(allowed, c, after(20*time.Millisecond), noon)
	expect(t, times(allowed, c, after(600*time.Millisecond), noon), noon, circuit.Closed, allowed/2)
}

// How quick a receiver was before it failed is known when it is back: a slower one gets no ramp.
func TestAReceiverThatComesBackSlowerGetsLess(t *testing.T) {
	c := times(allowed, circuit.Circuit{}, after(20*time.Millisecond), noon.Add(-time.Hour))
	c = times(circuit.FailuresToOpen-1, c, answer(500), noon.Add(-circuit.FailingToOpen)).Record(answer(500), allowed, noon)
	now := c.Report().Until
	expect(t, times(2*allowed, c, after(2*time.Second), now), now, circuit.Closed, 2)
}

// A receiver that is slow while it comes back gets no more for that.
func TestASlowReceiverThatComesBackGetsNoMore(t *testing.T) {
	c := times(allowed, circuit.Circuit{}, after(20*time.Millisecond), noon)
	for range 3 {
		c = c.Record(answer(429), allowed, noon)
	}
	expect(t, c, noon, circuit.Closed, allowed/8)
	c = c.Record(after(2*time.Second), allowed, noon).Record(after(2*time.Second), allowed, noon)
	expect(t, c, noon, circuit.Closed, allowed/8)
}
