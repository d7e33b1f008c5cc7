package fanout

import (
	"context"
	"fmt"
	"slices"

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

// giveUp refuses a subscription change that cannot be read for as long as the patience lasts: see Refusals.
func (f *FanOut) giveUp(ctx context.Context, c SubscriptionChange) error {
	switch f.refused[c.Position]++; {
	case f.refused[c.Position] <= Refusals:
		return fmt.Errorf("read the change of subscription %s at position %d: %w", c.SubscriptionID, c.Position, c.Unreadable)
	case f.refused[c.Position] == Refusals+1:
		f.Observer.SubscriptionUnreadable(ctx, c)
	}
	return nil
}
