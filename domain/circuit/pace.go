package circuit

import "time"

// When a receiver is slow: its answers take so many times what they usually do, and that is worth a word.
const (
	slowTimes = 4
	slowFrom  = 500 * time.Millisecond
	// judgedBy is how many answers are looked at together, at most: one that is slow says nothing.
	judgedBy = 16
	// usualOver is how many times a receiver is judged until what it takes by then is what it usually takes: it may be slow for good.
	usualOver = 256
	// slowShare is the part of what its subscription allows that a slow receiver gets at least: it answers.
	slowShare = 4
)

// pace is how long a receiver takes for its answers.
type pace struct {
	usual   time.Duration // zero until it is known
	took    time.Duration // all of them since it was judged last
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

// slowed gives a receiver half of what it got, down to its share.
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
