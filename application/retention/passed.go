package retention

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Late is how long after it was made a delivery may end for it to go as soon as it is old. One that ends later goes within a day of that.
const Late = 24 * time.Hour

// Closed is a tenant's closed deliveries that are kept for the same time.
type Closed struct {
	Owner tenant.ID
	Dead  bool // its dead letters, or else all others
}

// Passed is how far a store has looked through closed deliveries, by the IDs that tell when they were made. If each round began with the
// first of them, it would look at all that are kept for longer: a million dead letters once a minute. With each day it begins anew, for what
// ended late, and for what a wrong clock made.
type Passed struct {
	day atomic.Int64
	ids sync.Map // Closed to string
}

// Begin is called before a round, and reports whether that is the first of a day.
func (p *Passed) Begin(now time.Time) bool {
	today := now.Unix() / int64(24*time.Hour/time.Second)
	if p.day.Swap(today) == today {
		return false
	}
	p.ids.Clear()
	return true
}

// Of is the ID behind which a look begins.
func (p *Passed) Of(of Closed) string {
	if id, is := p.ids.Load(of); is {
		return id.(string)
	}
	return ""
}

// Note keeps how far looks have come, once what they found is deleted.
func (p *Passed) Note(reached map[Closed]string) {
	for of, id := range reached {
		p.ids.Store(of, id)
	}
}

// Closed is before when closed deliveries are old: dead letters, or all others.
func (c Cutoffs) Closed(dead bool) time.Time {
	if dead {
		return c.DeadLetters
	}
	return c.Attempts
}
