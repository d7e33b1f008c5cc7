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

// Look is what a store looks for among a tenant's closed deliveries, oldest first.
type Look struct {
	Closed
	Behind, Below string    // between these IDs
	Before        time.Time // what ended before then
	Limit         int
}

// Behind is the ID up to which they were passed, empty for none.
func (p *Passed) Behind(of Closed) string {
	id, _ := p.ids.Load(of)
	behind, _ := id.(string)
	return behind
}

// Walk has find look for dead letters and then for others, limit of them in all: find tells how many it found, and the last of them. firstID
// is the first ID that a delivery made at a time can have. What is reached is to be noted once what was found is deleted.
func (p *Passed) Walk(owner tenant.ID, before Cutoffs, limit int, firstID func(time.Time) string, find func(Look) (found int, last string, err error)) (Reached, error) {
	reached := Reached{}
	for _, dead := range []bool{true, false} {
		if limit <= 0 {
			break
		}
		look := Look{Closed: Closed{owner, dead}, Before: before.Attempts, Limit: limit}
		if dead {
			look.Before = before.DeadLetters
		}
		look.Behind, look.Below = p.Behind(look.Closed), firstID(look.Before)
		found, last, err := find(look)
		if err != nil {
			return nil, err
		}
		upTo := firstID(look.Before.Add(-Late))
		if found == limit {
			upTo = min(upTo, last)
		}
		reached[look.Closed] = upTo
		limit -= found
	}
	return reached, nil
}

// Reached is the IDs up to which there is nothing old any more, once what was found is deleted.
type Reached map[Closed]string

// Note keeps how far looks have come.
func (p *Passed) Note(reached Reached) {
	for of, id := range reached {
		p.ids.Store(of, id)
	}
}
