package fanout

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
)

// Refusals is how often a record is refused because of an event that cannot be read: an event of a newer version is for a
// process of that version, which takes over from one that makes no progress. After that, some seconds later, the event is set
// aside.
const Refusals = 6

// patience counts how often in a row the record at a position was refused because of an event that cannot be read.
type patience struct {
	position int64
	times    int
}

// unreadable refuses the events when one of them cannot be read, for as long as the patience lasts.
func (p *patience) unreadable(position int64, events []intake.Accepted) error {
	at := slices.IndexFunc(events, func(e intake.Accepted) bool { return e.Unreadable != nil })
	if at < 0 {
		return nil
	}
	if p.position != position {
		p.position, p.times = position, 0
	}
	if p.times++; p.times > Refusals {
		return nil
	}
	return fmt.Errorf("load %d accepted events: %w", len(events), events[at].Unreadable)
}

// refusals counts, by position, how often fan-out stopped before a change of a subscription that cannot be read. It stops before
// all that are read together until each has had its time.
type refusals map[int64]int

// change refuses the change for as long as the patience lasts: see Refusals.
func (r refusals) change(ctx context.Context, o Observer, c SubscriptionChange) error {
	switch r[c.Position]++; {
	case r[c.Position] <= Refusals:
		return fmt.Errorf("read the change of subscription %s at position %d: %w", c.SubscriptionID, c.Position, c.Unreadable)
	case r[c.Position] == Refusals+1:
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
