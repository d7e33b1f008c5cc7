package fanout

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Deferred is events of one tenant and record that wait for the tenant's turn. There are no more than the record names.
type Deferred struct {
	Tenant   tenant.ID
	Position int64 // of the record
	Events   []Named
}

// Named is an event with its place in its record.
type Named struct {
	Place int    `json:"n"`
	ID    string `json:"e"`
}

// TurnStore keeps what waits for its turn.
type TurnStore interface {
	Store
	// InTx runs fn in a transaction that its context carries. fn may run more than once.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// NextTurn is the tenant whose turn is next after another's, in a circle, of those of which events wait; empty for none.
	NextTurn(ctx context.Context, after tenant.ID) (tenant.ID, error)
	// DeferredOf lists what waits of the tenant, oldest first. It belongs to the transaction until that ends: nothing is
	// listed while it belongs to another.
	DeferredOf(ctx context.Context, owner tenant.ID, limit int) ([]Deferred, error)
	// MayDefer says whether every process that was seen since then knows of turns: one of an older version would show
	// what waits for its turn as fanned out.
	MayDefer(ctx context.Context, since time.Time) (bool, error)
	// OldestUnrouted is when the oldest record was written to which fan-out has not come yet; zero when there is none.
	OldestUnrouted(ctx context.Context) (time.Time, error)
	// SubscriptionsAt is the tenant's subscriptions as they were at the position, without deleted ones.
	SubscriptionsAt(ctx context.Context, owner tenant.ID, position int64) ([]subscription.Subscription, error)
}

// Turns fans out what was deferred: of one tenant after the other, of each as much as is scheduled at once. Any number
// of processes may have them.
type Turns struct {
	*work
	last   tenant.ID // whose turn was last
	yields time.Time // until then the log goes first
	patience
	rosters map[tenant.ID]*rosterAt
}

type rosterAt struct {
	roster
	position int64
}

// Turns makes those of what f defers; they are for one goroutine.
func (f *FanOut) Turns() *Turns { return &Turns{work: f.work, rosters: map[tenant.ID]*rosterAt{}} }

// Pauses, and bounds of what is read ahead and kept.
const (
	turnEvery   = 2 * time.Second        // for what a process left that died
	turnPause   = 100 * time.Millisecond // when another process has the turn
	yieldTimes  = 4                      // as long as a turn took
	yieldPause  = 10 * time.Millisecond
	maxYield    = 5 * time.Second
	partsAtOnce = 20
	aheadAtOnce = 50 // events
	maxRosters  = 100
)

// Loop is the step that gives turns.
func (t *Turns) Loop() loop.Loop { return loop.Loop{Name: "turns", Step: t.Step, Wake: t.wake} }

// Step gives one tenant its turn. Between two of them the log is read first: where there is one writer, each of its
// records would wait for a turn otherwise. A log that is never read to its end leaves turns a fifth of the time.
func (t *Turns) Step(ctx context.Context) (time.Time, error) {
	began := t.Now()
	if left := t.yields.Sub(began); left > 0 && left <= maxYield { // the clock may have been set back
		oldest, err := t.Store.OldestUnrouted(ctx)
		if err != nil {
			return time.Time{}, fmt.Errorf("look whether the log is read: %w", err)
		}
		if !oldest.IsZero() {
			return began.Add(min(left, yieldPause)), nil
		}
	}
	next, err := t.give(ctx)
	now := t.Now()
	t.yields = now.Add(min(maxYield, yieldTimes*now.Sub(began)))
	return next, err
}

// give gives the next tenant its turn.
func (t *Turns) give(ctx context.Context) (time.Time, error) {
	owner, err := t.Store.NextTurn(ctx, t.last)
	if err != nil {
		return time.Time{}, fmt.Errorf("look whose turn is next: %w", err)
	}
	if t.last = owner; owner == "" {
		clear(t.rosters)
		return t.Now().Add(turnEvery), nil
	}
	mine := false
	err = t.Store.InTx(ctx, func(ctx context.Context) error {
		parts, err := t.Store.DeferredOf(ctx, owner, partsAtOnce)
		if err != nil {
			return err
		}
		mine = len(parts) > 0
		return t.turn(ctx, parts)
	})
	if bad, is := errors.AsType[*panicked](err); is {
		err = t.setAside(ctx, bad)
	}
	if err != nil {
		delete(t.rosters, owner)
		return time.Time{}, fmt.Errorf("fan out what waits of tenant %s: %w", owner, err)
	}
	if !mine {
		return t.Now().Add(turnPause), nil
	}
	return t.Now(), nil
}

// turn takes as much as is scheduled at once.
func (t *Turns) turn(ctx context.Context, parts []Deferred) error {
	room := t.AtOnce
	for _, part := range parts {
		cost, whole, err := t.take(ctx, part, room, room == t.AtOnce)
		if err != nil {
			return err
		}
		if room -= cost; !whole || room <= 0 {
			return nil
		}
	}
	return nil
}

// panicked is what is left of a part whose handling panicked.
type panicked struct {
	part   Deferred
	reason string
}

func (p *panicked) Error() string { return p.reason }

// take fans out as many of the part's events as there is room for, and one at least if it is the first of the turn. The
// rest waits on.
func (t *Turns) take(ctx context.Context, part Deferred, room int, first bool) (cost int, whole bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicked{part, fmt.Sprintf("handling it panicked: %v\n%s", r, debug.Stack())}
		}
	}()
	b, events, err := t.load(ctx, part)
	if err != nil {
		return 0, false, err
	}
	if err := t.unreadable(part.Position, events); err != nil {
		return 0, false, err
	}
	for n, e := range events {
		next := b.rosters[part.Tenant].cost(e.Type)
		if b.cost+next > room && (n > 0 || !first) {
			if n == 0 {
				return 0, false, nil
			}
			b.waitsOn(part, slices.IndexFunc(part.Events, func(named Named) bool { return named.ID == e.ID }))
			break
		}
		if err := b.match(ctx, e); err != nil {
			return 0, false, err
		}
		b.cost += next
	}
	return b.cost, len(b.plan.Deferred) == 0, b.finish(ctx)
}

// load begins a batch of the part with the first of its events: those for which there could be room, so that a part that
// takes many turns is not read whole for each. The others wait on.
func (t *Turns) load(ctx context.Context, part Deferred) (*batch, []intake.Accepted, error) {
	r, err := t.roster(ctx, part)
	if err != nil {
		return nil, nil, err
	}
	keys := make([]intake.EventKey, min(len(part.Events), max(aheadAtOnce, t.AtOnce/max(1, r.governing()))))
	for i := range keys {
		keys[i] = intake.EventKey{Tenant: part.Tenant, ID: part.Events[i].ID}
	}
	events, err := t.Store.Events(ctx, keys)
	if err != nil {
		return nil, nil, fmt.Errorf("load %d accepted events: %w", len(keys), err)
	}
	b := t.begin(part.Position, map[tenant.ID]*roster{part.Tenant: r})
	b.plan.Taken = []Deferred{part}
	b.waitsOn(part, len(keys))
	return b, events, nil
}

// waitsOn leaves those of the part's events that come after the first n.
func (b *batch) waitsOn(part Deferred, n int) {
	if b.plan.Deferred = nil; n < len(part.Events) {
		part.Events = part.Events[n:]
		b.plan.Deferred = []Deferred{part}
	}
}

// roster is the tenant's subscriptions as they were at the part's position.
func (t *Turns) roster(ctx context.Context, part Deferred) (*roster, error) {
	if r := t.rosters[part.Tenant]; r != nil && r.position <= part.Position {
		changes, err := t.Store.SubscriptionChanges(ctx, r.position, part.Position, changesPerRead)
		if err != nil {
			return nil, fmt.Errorf("read subscription changes up to %d: %w", part.Position, err)
		}
		if len(changes) < changesPerRead {
			return r.advance(part, changes)
		}
	}
	list, err := t.Store.SubscriptionsAt(ctx, part.Tenant, part.Position)
	if err != nil {
		return nil, fmt.Errorf("read the subscriptions of %s at %d: %w", part.Tenant, part.Position, err)
	}
	r := &rosterAt{*newRoster(), part.Position}
	for _, s := range list {
		r.byID[s.ID] = &s
	}
	if len(t.rosters) >= maxRosters {
		clear(t.rosters)
	}
	t.rosters[part.Tenant] = r
	return &r.roster, nil
}

// advance applies those of the changes that are the tenant's.
func (r *rosterAt) advance(part Deferred, changes []SubscriptionChange) (*roster, error) {
	for _, c := range changes {
		if c.Tenant != part.Tenant {
			continue
		}
		if err := r.apply(c); err != nil {
			return nil, err
		}
	}
	r.position = part.Position
	return &r.roster, nil
}

// setAside gives up on those of a part's events that were tried together, with the reason.
func (t *Turns) setAside(ctx context.Context, bad *panicked) error {
	return t.Store.InTx(ctx, func(ctx context.Context) error {
		parts, err := t.Store.DeferredOf(ctx, bad.part.Tenant, partsAtOnce)
		i := slices.IndexFunc(parts, func(d Deferred) bool { return d.Position == bad.part.Position })
		if err != nil || i < 0 {
			return err
		}
		b, events, err := t.load(ctx, parts[i])
		if err != nil {
			return err
		}
		for _, e := range events {
			b.giveUp(&matched{event: e, governing: b.rosters[e.TenantID].governing()}, errors.New(bad.reason))
		}
		return b.commit(ctx)
	})
}
