package fanout

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// SubscriptionChange is one record of the subscriptions topic.
type SubscriptionChange struct {
	Position       int64
	Tenant         tenant.ID
	SubscriptionID string
	Version        int64 // of the subscription after it
	Change         subscription.Change
	// Unreadable says why there is no Change. What follows the record cannot be known then, so Now, the subscription's present
	// state, stands in for it; nil when that cannot be read either.
	Unreadable error
	Now        *subscription.Subscription
}

// index holds every subscription as it was at one position of the log, so that each event
// meets exactly the subscriptions that governed it when it was accepted.
type index struct {
	position int64
	changed  int64 // position of the last change up to there
	rosters  map[tenant.ID]*roster
	// giveUp is asked before a subscription's present state replaces a change that cannot be read; an error postpones that.
	giveUp func(ctx context.Context, c SubscriptionChange) error
}

// roster is one tenant's subscriptions. They are never changed in place, since deliveries under way hold on to them.
type roster struct {
	byID map[string]*subscription.Subscription
	// wanted caches who wants a type, so that an event's cost does not grow with the subscriptions that do not.
	wanted map[event.Type][]*subscription.Subscription
	// ahead maps subscriptions to the version up to which changes are already in byID, or are to be left out.
	ahead map[string]int64
}

func newRoster() *roster {
	return &roster{byID: map[string]*subscription.Subscription{}, wanted: map[event.Type][]*subscription.Subscription{}, ahead: map[string]int64{}}
}

func newIndex(giveUp func(ctx context.Context, c SubscriptionChange) error) *index {
	return &index{rosters: map[tenant.ID]*roster{}, giveUp: giveUp}
}

// changesPerRead bounds what one read of the log brings into memory.
const changesPerRead = 1000

// advance moves the index to the first of the records, and on to the last that the same subscriptions govern; n, at least one,
// is how many records that is. It takes back what it has passed, which comes again after a rollback, and starts anew for a
// record before the last change. On the way it finds which of the records' tenants have events waiting.
func (ix *index) advance(ctx context.Context, store Store, records []Record) (n int, deferring map[tenant.ID]bool, err error) {
	first, last, owners := records[0].Position, records[len(records)-1].Position, ownersOf(records)
	if first < ix.changed {
		*ix = *newIndex(ix.giveUp)
	}
	ix.position = min(ix.position, first)
	for {
		changes, waiting, err := store.Governing(ctx, ix.position, last, changesPerRead, owners)
		if err != nil {
			return 0, nil, fmt.Errorf("read subscription changes up to %d: %w", last, err)
		}
		if owners != nil {
			deferring, owners = waiting, nil
		}
		behind := slices.IndexFunc(changes, func(c SubscriptionChange) bool { return c.Position > first })
		if behind < 0 {
			behind = len(changes)
		}
		for _, c := range changes[:behind] {
			if err := ix.apply(ctx, c); err != nil {
				*ix = *newIndex(ix.giveUp)
				return 0, nil, err
			}
			ix.changed = c.Position
		}
		if behind == changesPerRead {
			ix.position = changes[behind-1].Position
			continue
		}
		n = 1
		for n < len(records) && (behind == len(changes) || records[n].Position < changes[behind].Position) {
			n++
		}
		ix.position = records[n-1].Position
		return n, deferring, nil
	}
}

func (ix *index) apply(ctx context.Context, c SubscriptionChange) error {
	if c.Unreadable != nil {
		if err := ix.giveUp(ctx, c); err != nil {
			return err
		}
	}
	r := ix.rosters[c.Tenant]
	if r == nil {
		r = newRoster()
		ix.rosters[c.Tenant] = r
	}
	return r.apply(c)
}

func (r *roster) apply(c SubscriptionChange) error {
	if upTo, known := r.ahead[c.SubscriptionID]; known && c.Version <= upTo {
		return nil
	}
	if c.Unreadable != nil {
		r.standIn(c)
		return nil
	}
	var next subscription.Subscription
	if before := r.byID[c.SubscriptionID]; before != nil {
		next = *before
	}
	if err := next.Apply(c.Change); err != nil {
		return fmt.Errorf("apply the record at position %d: %w", c.Position, err)
	}
	r.put(&next)
	return nil
}

// standIn replaces what cannot be read by the subscription's present state. Where that is unknown too it gets nothing any more,
// rather than what it may have asked not to get.
func (r *roster) standIn(c SubscriptionChange) {
	if c.Now == nil {
		clear(r.wanted)
		delete(r.byID, c.SubscriptionID)
		r.ahead[c.SubscriptionID] = math.MaxInt64
		return
	}
	r.put(c.Now)
	r.ahead[c.SubscriptionID] = c.Now.Version
}

func (r *roster) put(s *subscription.Subscription) {
	clear(r.wanted)
	if s.Status == subscription.StatusDeleted {
		delete(r.byID, s.ID)
	} else {
		r.byID[s.ID] = s
	}
}

// governing is how many subscriptions the tenant has. A tenant that never had any has no roster.
func (r *roster) governing() int {
	if r == nil {
		return 0
	}
	return len(r.byID)
}

// cost is how many deliveries an event of the type comes to at most.
func (r *roster) cost(t event.Type) int { return len(r.matching(t)) }

// matching is the tenant's subscriptions that want the type, ordered by ID.
func (r *roster) matching(t event.Type) []*subscription.Subscription {
	if r == nil {
		return nil
	}
	if list, ok := r.wanted[t]; ok {
		return list
	}
	list := []*subscription.Subscription{}
	for _, s := range r.byID {
		if s.EventTypes.Matches(t) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *subscription.Subscription) int { return strings.Compare(a.ID, b.ID) })
	r.wanted[t] = list
	return list
}
