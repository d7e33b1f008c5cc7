package circuit

import (
	"slices"
	"time"
)

// A receiver is slow when its answers take slowTimes as long as they usually do, and at least slowFrom, which is worth a word.
const (
	slowTimes = 4
	slowFrom  = 500 * time.Millisecond
	// judgedBy is how many answers at most are judged together: a single slow one says nothing.
	judgedBy = 16
	// knownBy is how many at least tell what is usual, where the subscription allows that many at once: of fewer, all may be of a quick kind.
	knownBy = 4
	// usualOver is how many judgements it takes until what a receiver takes by then counts as usual (each moves the usual time
	// by 1/usualOver of the difference): it may be slow for good.
	usualOver = 256
	// A slow receiver gets at least 1/slowShare of what its subscription allows: it does answer.
	slowShare = 4
)

// pace is how long a receiver takes to answer. Many a one that is well is far quicker for some kinds of events than for others, or long now and
// then, and what comes together is more of this or of that: so it is only slow when the quickest quarter of its answers takes far longer than
// all but the slowest quarter usually does.
type pace struct {
	usual   time.Duration           // of all but the slowest quarter; zero until it is known
	took    [judgedBy]time.Duration // since it was last judged
	answers int
}

// answered counts an answer, and judges a windowful of them, out of the maxInFlight that the subscription allows.
func (p pace) answered(took time.Duration, window, maxInFlight int) (_ pace, slow bool) {
	p.took[p.answers] = took
	if p.answers++; p.answers < min(window, judgedBy) {
		return p, false
	}
	judged := p.took[:p.answers]
	slices.Sort(judged)
	last := len(judged) - 1
	quick, most := judged[last/4], judged[last-last/4]
	slow = p.usual > 0 && quick >= slowFrom && quick >= slowTimes*p.usual
	usual := p.usual
	switch {
	case (usual == 0 || most < usual) && len(judged) >= min(maxInFlight, knownBy):
		usual = most
	case usual > 0:
		usual += (most - usual) / usualOver
	}
	return pace{usual: usual}, slow
}

// Usual is how long the receiver usually takes to answer; zero until it is known.
func (c Circuit) Usual() time.Duration { return c.pace.usual }

// slowed halves what a receiver gets, down to its share.
func (c Circuit) slowed(maxInFlight int, now time.Time) Circuit {
	had := c.limitOf(maxInFlight)
	c.window, c.answered = min(had, max(1, maxInFlight/slowShare, had/2)), 0
	if c.window == maxInFlight {
		c.window = 0
	} else if c.spared.IsZero() {
		c.spared = now
	}
	return c
}
