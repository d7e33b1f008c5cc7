// Package fanout turns accepted events into scheduled deliveries: match, gate, resolve, render once for each distinct view,
// schedule. It runs inside the transaction that consumes the log, so that its effects and the group's offset commit together.
// Whatever would keep other tenants waiting there is deferred to turns, in which each tenant gets as much as the next.
package fanout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	// Group is the consumer group of fan-out: its offset tells how far the log is fanned out.
	Group = "fanout"
	// TopicEvents is the topic of the log that fan-out handles.
	TopicEvents = "events"
	// TopicPoison is where events go that cannot be handled.
	TopicPoison = "poison"
)

// ErrRefused says that the store refuses what it is given, however often it is tried: a row that is there already, or a value that it cannot
// hold.
var ErrRefused = errors.New("the store refuses what it is given")

// Store is what fan-out reads and writes; every call joins the transaction that the context carries.
type Store interface {
	// Events loads accepted events, in the order of the keys.
	Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error)
	// NamedBy lists the events of the record at the position, in the record's order, from what is kept with the events
	// themselves.
	NamedBy(ctx context.Context, position int64) ([]intake.EventKey, error)
	// Governing reads the subscriptions topic, oldest first: after < position <= upTo. A change that cannot be read says so,
	// and keeps no other from being read. It also returns which of the tenants have events waiting for their turn.
	Governing(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) (changes []SubscriptionChange, deferring map[tenant.ID]bool, err error)
	// ResolveFor looks up directory records and external IDs, one answer for each lookup, in their order. It also returns the
	// present state of the lanes' subscriptions, which may be later than the events that are handled.
	ResolveFor(ctx context.Context, lookups []Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]LaneState, error)
	// SubscriptionsAt is the tenants' subscriptions as they were at the position, without deleted ones, ordered by tenant and ID. One
	// with a change that cannot be read is given as it is now; one of which that cannot be read either is lost.
	SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) (list []subscription.Subscription, lost []dispatch.Lane, err error)
	// LoadSubscription folds the subscription's stream, which may hold changes later than the events that are handled; it fails
	// with dispatch.ErrUnreadable when the stream is damaged.
	LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	// Schedule stores the plan, and calls ended when the transaction has ended. It fails with ErrRefused, or its transaction's commit does,
	// when the store cannot hold the plan.
	Schedule(ctx context.Context, plan Plan, ended func(committed bool)) error
}

// Gate asks whether a tenant has booked a feature.
type Gate interface {
	Enabled(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error)
}

// Handover leases what was just scheduled to this process's own dispatcher.
type Handover interface {
	// Reserve takes a slot for a delivery of the lane and names the lease; false when there is none.
	Reserve(lane dispatch.Lane, maxInFlight int) (lease string, ok bool)
	// Room is how many of the tenant's deliveries are taken now; math.MaxInt when waiting for more room would not help.
	Room(owner tenant.ID) int
	// Waiting names lanes in which deliveries got no slot, once these are committed.
	Waiting(lanes []dispatch.Lane)
	// Take starts the attempts once they are committed, or frees their slots when they were not.
	Take(deliveries []dispatch.Leased, committed bool)
}

// Observer follows the fan-out of each event.
type Observer interface {
	// FanOut begins the event's span, which follows the request that brought the event and ends with the transaction. The
	// event's deliveries carry the trace parent on.
	FanOut(ctx context.Context, e intake.Accepted) (traceParent string, end func(deliveries int, err error))
	// SubscriptionUnreadable reports, once in a process, a change that cannot be read: the subscription's present state stands
	// in for it.
	SubscriptionUnreadable(ctx context.Context, c SubscriptionChange)
	// SubscriptionLost reports, once in a process, a subscription of which nothing can be read. It gets no deliveries.
	SubscriptionLost(ctx context.Context, lane dispatch.Lane)
	// RecordUnreadable reports a record whose event names are damaged, with the events that were found without it.
	RecordUnreadable(ctx context.Context, r Record)
	// EventSetAside reports an event that could not be handled, once that is committed.
	EventSetAside(ctx context.Context, p SetAside)
}

// Lookup names what one event needs from the directory for one source system.
type Lookup struct {
	Tenant       tenant.ID
	SourceSystem string
	References   []payload.Ref
}

// LaneState is a subscription as its last change left it.
type LaneState struct {
	Status   subscription.Status
	Version  int64
	Sweeping bool // its deliveries are being moved; none is leased until that is done
}

// DefaultAtOnce is how many deliveries are scheduled in one go: some 20 ms of work, while others wait.
const DefaultAtOnce = 500

// Config is what fan-out works with.
type Config struct {
	Store    TurnStore
	Gate     Gate
	Handover Handover // nil when this process does not dispatch
	Observer Observer
	Now      func() time.Time
	NewID    func(prefix string) string
	// AtOnce is how many deliveries are scheduled in one go, unless a single event comes to more; 0 for DefaultAtOnce.
	AtOnce int
	// MaxLag is how long an accepted event may wait for its deliveries before new events are refused; 0 for no bound.
	MaxLag time.Duration
}

// work is a Config in use, shared by a FanOut and the Turns of what it defers.
type work struct {
	Config
	wake loop.Signal // something was deferred
}

// FanOut handles the events topic.
type FanOut struct {
	*work
	index *index
	patience
	// mayDefer is false as long as a process of an older version may be running; see TurnStore.
	mayDefer bool
	// spent is how many deliveries each tenant's events have come to since the log was last read as fast as it was written.
	spent map[tenant.ID]int
	tried tries
}

// New makes a FanOut for use by one goroutine: a consumer group has one reader at a time.
func New(c Config) *FanOut {
	if c.AtOnce == 0 {
		c.AtOnce = DefaultAtOnce
	}
	return &FanOut{work: &work{c, loop.NewSignal()}, index: newIndex(c.Observer, c.Now), patience: patience{inVain: &InVain{}}, spent: map[tenant.ID]int{}}
}

const (
	// late is how long a record has waited when others are likely to be waiting behind it.
	late = 100 * time.Millisecond
	// goneAfter is the silence after which a process of an older version is taken to have ended.
	goneAfter = 30 * time.Second
)

// Record is a log record of events that were accepted together: its position and their names.
type Record struct {
	Position int64
	Keys     []intake.EventKey
	// Unreadable says that the names cannot be read; the events themselves know their record.
	Unreadable error
}

// Handle fans out the events of log records, oldest first, inside the transaction that consumes them. It defers events that
// would keep other tenants waiting: those beyond what is scheduled at once, those of a tenant that has had its share while the
// log lagged, and those there is no room for yet. Once any of a tenant's events wait, later ones wait behind them, so that each
// tenant's order is kept.
func (f *FanOut) Handle(ctx context.Context, records []Record) error {
	if !f.mayDefer {
		may, err := f.Store.MayDefer(ctx, f.Now().Add(-goneAfter))
		if err != nil {
			return fmt.Errorf("look for processes that do not know of turns: %w", err)
		}
		f.mayDefer = may
	}
	if err := f.name(ctx, records); err != nil {
		return err
	}
	for len(records) > 0 {
		n, deferring, err := f.index.advance(ctx, f.Store, records)
		if err != nil {
			return err
		}
		if err := f.fanOutGoverned(ctx, records[:n], deferring); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// name finds the events of records whose names cannot be read.
func (f *FanOut) name(ctx context.Context, records []Record) (err error) {
	for i := range records {
		r := &records[i]
		if r.Unreadable == nil {
			continue
		}
		if r.Keys, err = f.Store.NamedBy(ctx, r.Position); err != nil {
			return fmt.Errorf("find the events of the record at position %d: %w", r.Position, err)
		}
		f.Observer.RecordUnreadable(ctx, *r)
	}
	return nil
}

// fanOutGoverned fans out records that are governed by the same subscriptions, as many in one go as leave nothing for turns.
func (f *FanOut) fanOutGoverned(ctx context.Context, records []Record, deferring map[tenant.ID]bool) error {
	parts, err := f.load(ctx, records, deferring)
	if err != nil {
		return err
	}
	for len(parts) > 0 {
		b := f.newBatch(parts[0].Position, f.index.rosters)
		if first := parts[0].events; len(first) > 0 && b.now.Sub(first[0].At) < late {
			clear(f.spent)
		}
		n, share := f.together(parts)
		if n == 1 && f.tried.inVainAt(f.Now(), parts[0].Position) { // several come again one by one
			share = -1 // all of it is left for turns, which find out which event it is
		}
		for _, p := range parts[:n] {
			if err := f.matchOrDefer(ctx, b, p, deferring, share); err != nil {
				return err
			}
		}
		if err := b.finish(ctx); err != nil {
			return err
		}
		for _, d := range b.plan.Deferred {
			deferring[d.Tenant] = true
		}
		parts = parts[n:]
	}
	return nil
}

// part is a record with its events, without those that are gone and those of tenants that have others waiting.
type part struct {
	Record
	events []intake.Accepted
}

// load reads the events of the records in one go.
func (f *FanOut) load(ctx context.Context, records []Record, deferring map[tenant.ID]bool) ([]part, error) {
	var keys []intake.EventKey
	for _, r := range records {
		for _, key := range r.Keys {
			if !deferring[key.Tenant] {
				keys = append(keys, key)
			}
		}
	}
	events, err := f.Store.Events(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("load %d accepted events: %w", len(keys), err)
	}
	parts := make([]part, len(records))
	for i, r := range records {
		n := 0
		for _, key := range r.Keys {
			if n < len(events) && events[n].Key() == key {
				n++
			}
		}
		parts[i] = part{r, events[:n]}
		if err := f.unreadable(f.Now(), r.Position, parts[i].events); err != nil {
			return nil, err
		}
		events = events[n:]
	}
	return parts, nil
}

// together is how many of the parts are handled in one go, and each tenant's share of it: the first, and as many after it as
// leave nothing for turns. So a record with others behind it is treated as if it were alone.
func (f *FanOut) together(parts []part) (n, share int) {
	total, most, costs := 0, 0, map[tenant.ID]int{}
	for n, p := range parts {
		before := share
		for _, key := range p.Keys {
			costs[key.Tenant] += 0 // so that it counts, though all of its events may wait
		}
		for _, e := range p.events {
			cost := f.index.rosters[e.TenantID].cost(e.Type)
			total += cost
			costs[e.TenantID] += cost
			most = max(most, f.spent[e.TenantID]+costs[e.TenantID])
		}
		if share = f.AtOnce; len(costs) > 1 { // none of them takes all
			share /= 2
		}
		if n > 0 && (total > f.AtOnce || most > share) {
			return n, before
		}
	}
	return len(parts), share
}

// matchOrDefer matches the part's events, and leaves for their tenant's turn those that are not to be handled now.
func (f *FanOut) matchOrDefer(ctx context.Context, b *batch, p part, deferring map[tenant.ID]bool, share int) error {
	b.position = p.Position
	for place, key := range p.Keys {
		var e intake.Accepted
		there := len(p.events) > 0 && p.events[0].Key() == key
		if there {
			e, p.events = p.events[0], p.events[1:]
		}
		if deferring[key.Tenant] || there && !f.affords(b, e, share) {
			b.leave(key, place)
		} else if there {
			if err := b.match(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// affords reports whether the event is handled now, and counts what it comes to. A tenant gets its share, all of them together
// no more than is scheduled at once, and nothing is handled now that there is no room for.
func (f *FanOut) affords(b *batch, e intake.Accepted, share int) bool {
	cost := b.rosters[e.TenantID].cost(e.Type)
	if f.mayDefer && (b.leaves(e.TenantID) || b.cost+cost > f.AtOnce || f.spent[e.TenantID]+cost > share || !b.takes(e.TenantID, cost)) {
		delete(f.spent, e.TenantID)
		return false
	}
	b.cost += cost
	f.spent[e.TenantID] += cost
	return true
}

func ownersOf(records []Record) []tenant.ID {
	var keys []intake.EventKey
	for _, r := range records {
		keys = append(keys, r.Keys...)
	}
	return intake.TenantsOf(keys)
}
