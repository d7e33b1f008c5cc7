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
	// usualOver is how many judgements it takes until what a receiver takes by then counts as usual (each moves the usual time
	// by 1/usualOver of the difference): it may be slow for good.
	usualOver = 256
	// A slow receiver gets at least 1/slowShare of what its subscription allows: it does answer.
	slowShare = 4
)

// pace is how long a receiver takes to answer, by the quickest quarter of its answers: many a receiver that is well takes long for some
// kinds of events, or now and then, and the mean of a few answers then is many times that of the next few.
type pace struct {
	usual   time.Duration           // zero until it is known
	took    [judgedBy]time.Duration // since it was last judged
	answers int
}

// answered counts an answer, and judges a windowful of them.
func (p pace) answered(took time.Duration, window int) (_ pace, slow bool) {
	p.took[p.answers] = took
	if p.answers++; p.answers < min(window, judgedBy) {
		return p, false
	}
	judged := p.took[:p.answers]
	slices.Sort(judged)
	quick := judged[(len(judged)-1)/4]
	slow = p.usual > 0 && quick >= slowFrom && quick >= slowTimes*p.usual
	if p.usual == 0 || quick < p.usual {
		return pace{usual: quick}, slow
	}
	return pace{usual: p.usual + (quick-p.usual)/usualOver}, slow
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
