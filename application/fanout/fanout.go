// Package fanout turns accepted events into scheduled deliveries: match, gate, resolve,
// render once for each distinct view, schedule. It runs inside the transaction that
// consumes the log, so that its effects and the group's offset commit together.
package fanout

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Store is what fan-out reads and writes; every call joins the transaction that the context carries.
type Store interface {
	// Events loads accepted events, in the order of the keys.
	Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error)
	// SubscriptionChanges reads the subscriptions topic, oldest first: after < position <= upTo.
	SubscriptionChanges(ctx context.Context, after, upTo int64, limit int) ([]SubscriptionChange, error)
	// Resolve looks up directory records and external IDs, one answer for each lookup, in their order.
	Resolve(ctx context.Context, lookups []Lookup) ([]payload.Context, error)
	// LaneStates says how the lanes' subscriptions are now, which may be later than the events that are handled.
	LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]LaneState, error)
	// Schedule stores the plan, and calls started when the transaction has ended.
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
	// Waiting tells, once they are committed, of lanes in which deliveries got no slot.
	Waiting(lanes []dispatch.Lane)
	// Take starts the attempts once they are committed, or frees their slots when they were not.
	Take(deliveries []dispatch.Leased, committed bool)
}

// Observer follows the fan-out of each event.
type Observer interface {
	// FanOut begins the event's span, as a child of the request that brought it. The trace
	// parent is what its deliveries carry on.
	FanOut(ctx context.Context, e intake.Accepted) (traceParent string, end func(deliveries int, err error))
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
	Sweeping bool // its deliveries are being moved, and none is leased until that is done
}

// Plan is what one batch of events comes to.
type Plan struct {
	Bodies    []Body
	Scheduled []Scheduled
	Gated     []Gated
	Poisoned  []Poisoned
	// Sweeps are of lanes whose subscription has changed since the events were accepted, and whose own sweep
	// may be over: what is scheduled in them now would be forgotten.
	Sweeps []sweep.Sweep
	// Tallies count the dispositions, one for each tenant and hour of acceptance.
	Tallies []Tally
}

// Body is rendered once for each distinct view of an event and shared by its deliveries.
type Body struct {
	Tenant  tenant.ID
	EventID string
	Number  int // from 1, within the event
	Bytes   []byte
}

// Scheduled is a new delivery with the changes that led to it.
type Scheduled struct {
	Delivery    delivery.Delivery
	Changes     []delivery.Change
	TraceParent string
	AcceptedAt  time.Time
	Lease       string // empty when nobody holds it yet
}

// Poisoned is an event that no repetition can handle. It is kept, with the reason, and what its tally counted of it.
type Poisoned struct {
	Tenant       tenant.ID `json:"-"`
	EventID      string    `json:"eventId"`
	Reason       string    `json:"reason"`
	At           time.Time `json:"at"`
	NotMatched   int       `json:"notMatched"`
	FeatureGated int       `json:"featureGated"`
	SetAside     int       `json:"setAside"`
}

// Expected is how many subscriptions it was counted for.
func (p Poisoned) Expected() int { return p.NotMatched + p.FeatureGated + p.SetAside }

// Gated is the disposition of an event that matched but may not be sent.
type Gated struct {
	Tenant         tenant.ID
	EventID        string
	SubscriptionID string
	Feature        tenant.Feature
	// SubscriptionVersion is the one that governed the event.
	SubscriptionVersion int64
	AcceptedAt          time.Time
}

// FanOut handles the events topic.
type FanOut struct {
	store    Store
	gate     Gate
	handover Handover // nil when this process does not dispatch
	observer Observer
	now      func() time.Time
	newID    func(prefix string) string
	index    *index
	// refused counts how often in a row the record at a position was refused for an event that cannot be read.
	refused struct {
		position int64
		times    int
	}
}

// New makes a FanOut. It is for one goroutine: a consumer group has one reader at a time.
func New(store Store, gate Gate, handover Handover, observer Observer, now func() time.Time, newID func(prefix string) string) *FanOut {
	return &FanOut{store: store, gate: gate, handover: handover, observer: observer, now: now, newID: newID, index: newIndex()}
}

// refusals is how often a record is refused for an event that cannot be read: one of a newer version is for a process of that
// version, which takes over from one that does not get on. After them, some seconds later, such an event is set aside.
const refusals = 6

func (f *FanOut) unreadable(position int64, events []intake.Accepted) error {
	at := slices.IndexFunc(events, func(e intake.Accepted) bool { return e.Unreadable != nil })
	if at < 0 {
		return nil
	}
	if f.refused.position != position {
		f.refused.position, f.refused.times = position, 0
	}
	if f.refused.times++; f.refused.times > refusals {
		return nil
	}
	return fmt.Errorf("load %d accepted events: %w", len(events), events[at].Unreadable)
}

// Handle fans out the events of one record of the log, inside the transaction that consumes it.
func (f *FanOut) Handle(ctx context.Context, position int64, keys []intake.EventKey) error {
	if err := f.index.advance(ctx, f.store, position); err != nil {
		return err
	}
	events, err := f.store.Events(ctx, keys)
	if err != nil {
		return fmt.Errorf("load %d accepted events: %w", len(keys), err)
	}
	if err := f.unreadable(position, events); err != nil {
		return err
	}
	b := &batch{FanOut: f, now: f.now(), position: position, billing: map[tenant.ID]bool{}, waiting: map[dispatch.Lane]bool{}}
	for _, e := range events {
		if e.Unreadable != nil {
			b.setAside(b.governed(e), e.Unreadable)
			continue
		}
		if err := b.match(ctx, e); err != nil {
			return err
		}
	}
	if err := b.resolve(ctx); err != nil {
		return err
	}
	if err := b.compare(ctx); err != nil {
		return err
	}
	return b.commit(ctx)
}
