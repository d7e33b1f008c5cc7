package fanout

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
)

// Refusals is how often a record is refused because of an event that cannot be read: an event of a newer version is for a
// process of that version, which takes over from one that makes no progress. After that, some seconds later, the event is set
// aside.
const Refusals = 6

// Everybody's events wait meanwhile. So in a time of inVainFor no more than maxInVain refusals are for nothing: who could read what was
// written then would have taken over. The rest is damaged, and a hundred thousand records would hold all tenants up for days.
const (
	maxInVain = 10 * Refusals
	inVainFor = 10 * time.Minute
)

// InVain counts refusals of what cannot be read.
type InVain struct {
	since    time.Time
	refusals int
}

// Add counts more.
func (v *InVain) Add(now time.Time, refusals int) {
	if v.over(now) {
		*v = InVain{since: now}
	}
	v.refusals += refusals
}

// Enough reports whether nothing is waited for any more.
func (v *InVain) Enough(now time.Time) bool { return v.refusals >= maxInVain && !v.over(now) }

// over is also true when the clock was set back.
func (v *InVain) over(now time.Time) bool {
	return now.Before(v.since) || now.Sub(v.since) >= inVainFor
}

// patience counts how often in a row the record at a position was refused because of an event that cannot be read.
type patience struct {
	position int64
	times    int
	inVain   *InVain
}

// unreadable refuses the events when one of them cannot be read, for as long as the patience lasts.
func (p *patience) unreadable(now time.Time, position int64, events []intake.Accepted) error {
	at := slices.IndexFunc(events, func(e intake.Accepted) bool { return e.Unreadable != nil })
	if position > p.position || at >= 0 && position != p.position {
		p.goOn(position)
	}
	if at < 0 {
		return nil
	}
	if p.times >= Refusals || p.inVain.Enough(now) {
		p.times = givenUp
		return nil
	}
	p.times++
	p.inVain.Add(now, 1)
	return fmt.Errorf("load %d accepted events: %w", len(events), events[at].Unreadable)
}

// givenUp is the times of a record that was waited for in vain.
const givenUp = Refusals + 1

// goOn leaves a position for another. What was refused and not given up there, another process has read: that was not in vain.
func (p *patience) goOn(position int64) {
	if p.times != givenUp {
		p.inVain.refusals = max(0, p.inVain.refusals-p.times)
	}
	p.position, p.times = position, 0
}

// tries counts how often in a row the record at a position was scheduled alone.
type tries struct {
	position int64
	times    int
	inVain   InVain
}

// inVainAt counts one more, and reports whether the record has been scheduled as often as refusals are waited for, and was undone each time: the
// store may refuse what one of its events comes to, and everybody else would wait for it for ever. Once that was so of many records, as where an
// emitter sends again what was lost in part, one attempt has to do.
func (t *tries) inVainAt(now time.Time, position int64) bool {
	if t.position != position {
		t.position, t.times = position, 0
	}
	if t.times++; t.times == Refusals+1 {
		t.inVain.Add(now, Refusals)
	}
	return t.times > Refusals || t.times > 1 && t.inVain.Enough(now)
}

// refusals counts, by position, how often fan-out stopped before a change of a subscription that cannot be read. It stops before
// all that are read together until each has had its time.
type refusals struct {
	times  map[int64]int
	inVain InVain
}

// change refuses the change for as long as the patience lasts: see Refusals.
func (r *refusals) change(ctx context.Context, now time.Time, o Observer, c SubscriptionChange) error {
	if r.times[c.Position] < Refusals && r.inVain.Enough(now) {
		r.times[c.Position] = Refusals
	}
	switch r.times[c.Position]++; {
	case r.times[c.Position] <= Refusals:
		r.inVain.Add(now, 1)
		return fmt.Errorf("read the change of subscription %s at position %d: %w", c.SubscriptionID, c.Position, c.Unreadable)
	case r.times[c.Position] == Refusals+1:
		o.SubscriptionUnreadable(ctx, c)
	}
	return nil
}

// losses tells of each lost subscription once, whether it is met with its tenant's events or with those that waited.
type losses struct {
	observer Observer
	told     sync.Map
}

func (l *losses) tell(ctx context.Context, lanes []dispatch.Lane) {
	for _, lane := range lanes {
		if _, told := l.told.LoadOrStore(lane, true); !told {
			l.observer.SubscriptionLost(ctx, lane)
		}
	}
}
