package circuit

import "time"

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

// pace is how long a receiver takes to answer.
type pace struct {
	usual   time.Duration // zero until it is known
	took    time.Duration // in all, since it was last judged
	answers int
}

// answered counts an answer, and judges a windowful of them.
func (p pace) answered(took time.Duration, window int) (_ pace, slow bool) {
	p.took, p.answers = p.took+took, p.answers+1
	if p.answers < min(window, judgedBy) {
		return p, false
	}
	mean := p.took / time.Duration(p.answers)
	slow = p.usual > 0 && mean >= slowFrom && mean >= slowTimes*p.usual
	if p.usual == 0 || mean < p.usual {
		return pace{usual: mean}, slow
	}
	return pace{usual: p.usual + (mean-p.usual)/usualOver}, slow
}

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
