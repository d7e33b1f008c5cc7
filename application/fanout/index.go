package fanout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
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
	Unreadable     error // why there is no Change
}

// index holds the subscriptions of the tenants whose events came, as they were at one position of the log, so that each event
// meets exactly the subscriptions that governed it when it was accepted. A tenant's are read with its first event, and follow
// the log from there.
type index struct {
	observer Observer
	now      func() time.Time
	lost     *losses
	position int64
	changed  int64 // no record before it may be handled: what changed there is in the rosters
	rosters  map[tenant.ID]*roster
	refused  refusals
}

// roster is one tenant's subscriptions. They are never changed in place, since deliveries under way hold on to them.
type roster struct {
	byID map[string]*subscription.Subscription
	// wanted caches who wants a type, so that an event's cost does not grow with the subscriptions that do not.
	wanted map[event.Type][]*subscription.Subscription
	// read maps subscriptions to the version that they were read at, which may be later than the position: see SubscriptionsAt.
	read map[string]int64
}

func newRoster(list []subscription.Subscription) *roster {
	r := &roster{byID: map[string]*subscription.Subscription{}, wanted: map[event.Type][]*subscription.Subscription{}, read: map[string]int64{}}
	for _, s := range list {
		r.byID[s.ID], r.read[s.ID] = &s, s.Version
	}
	return r
}

func newIndex(o Observer, now func() time.Time) *index {
	return &index{observer: o, now: now, lost: &losses{observer: o}, rosters: map[tenant.ID]*roster{}, refused: refusals{times: map[int64]int{}}}
}

// Bounds of what is read at once, and of what is kept of tenants whose events do not come.
const (
	changesPerRead   = 1000
	maxSubscriptions = 50_000
)

// advance moves the index to the first of the records, and on to the last that the same subscriptions govern; n, at least one,
// is how many records that is. It takes back what it has passed, which comes again after a rollback, and starts anew for a
// record before the last change, or far behind it. On the way it finds which of the records' tenants have events waiting.
func (ix *index) advance(ctx context.Context, store Store, records []Record) (n int, deferring map[tenant.ID]bool, err error) {
	first, last, owners := records[0].Position, records[len(records)-1].Position, ownersOf(records)
	if len(ix.rosters) == 0 || first < ix.changed {
		ix.startAt(first)
	}
	ix.position = min(ix.position, first)
	changes, deferring, err := store.Governing(ctx, ix.position, last, changesPerRead, owners)
	if err != nil {
		return 0, nil, fmt.Errorf("read subscription changes up to %d: %w", last, err)
	}
	behind := slices.IndexFunc(changes, func(c SubscriptionChange) bool { return c.Position > first })
	if behind < 0 {
		behind = len(changes)
	}
	if behind == changesPerRead { // to read the subscriptions is less than what changed them
		ix.startAt(first)
		return ix.advance(ctx, store, records)
	}
	if err := ix.follow(ctx, changes[:behind]); err != nil {
		return 0, nil, err
	}
	ix.position = first
	if err := ix.load(ctx, store, slices.DeleteFunc(owners, func(id tenant.ID) bool { return deferring[id] })); err != nil {
		return 0, nil, err
	}
	n = 1
	for n < len(records) && (behind == len(changes) || records[n].Position < changes[behind].Position) {
		n++
	}
	ix.position = records[n-1].Position
	return n, deferring, nil
}

// startAt forgets all subscriptions, so that they are read at the position.
func (ix *index) startAt(position int64) {
	clear(ix.rosters)
	ix.position, ix.changed = position, position
}

// follow applies changes, all of them or none.
func (ix *index) follow(ctx context.Context, changes []SubscriptionChange) error {
	for _, c := range changes {
		if c.Unreadable != nil && ix.rosters[c.Tenant] != nil {
			if err := ix.refused.change(ctx, ix.now(), ix.observer, c); err != nil {
				return err
			}
		}
	}
	for _, c := range changes {
		if r := ix.rosters[c.Tenant]; r != nil && r.apply(c) != nil {
			delete(ix.rosters, c.Tenant)
		}
		ix.changed = c.Position
	}
	return nil
}

// load reads the subscriptions of those tenants that it has none of, at the index's position.
func (ix *index) load(ctx context.Context, store Store, owners []tenant.ID) error {
	missing := slices.DeleteFunc(slices.Clone(owners), func(id tenant.ID) bool { return ix.rosters[id] != nil })
	if len(missing) == 0 {
		return nil
	}
	rosters, lost, err := readRosters(ctx, store, missing, ix.position)
	if err != nil {
		return err
	}
	ix.lost.tell(ctx, lost)
	maps.Copy(ix.rosters, rosters)
	held := 0
	for _, r := range ix.rosters {
		held += 1 + len(r.byID)
	}
	if held > maxSubscriptions {
		maps.DeleteFunc(ix.rosters, func(id tenant.ID, _ *roster) bool { return !slices.Contains(owners, id) })
	}
	return nil
}

// readRosters reads the tenants' subscriptions as they were at the position, and names those that cannot be read.
func readRosters(ctx context.Context, store Store, owners []tenant.ID, position int64) (map[tenant.ID]*roster, []dispatch.Lane, error) {
	list, lost, err := store.SubscriptionsAt(ctx, owners, position)
	if err != nil {
		return nil, nil, fmt.Errorf("read the subscriptions of %d tenants at %d: %w", len(owners), position, err)
	}
	of := make(map[tenant.ID][]subscription.Subscription, len(owners))
	for _, s := range list {
		of[s.Tenant] = append(of[s.Tenant], s)
	}
	rosters := make(map[tenant.ID]*roster, len(owners))
	for _, owner := range owners {
		rosters[owner] = newRoster(of[owner])
	}
	return rosters, lost, nil
}

// apply fails for what cannot follow, or cannot be read: the roster is to be read anew then.
func (r *roster) apply(c SubscriptionChange) error {
	if c.Version <= r.read[c.SubscriptionID] {
		return nil
	}
	if c.Unreadable != nil {
		return c.Unreadable
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

func (r *roster) put(s *subscription.Subscription) {
	clear(r.wanted)
	if s.Status == subscription.StatusDeleted {
		delete(r.byID, s.ID)
	} else {
		r.byID[s.ID] = s
	}
}

// governing is how many subscriptions the tenant has. A tenant whose events all wait has no roster.
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
