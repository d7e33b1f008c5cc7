package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Deferred is events of one tenant and one record that wait for the tenant's turn; never more than the record names.
type Deferred struct {
	Tenant   tenant.ID
	Position int64 // of the record
	Events   []Named
	// Unreadable says that the stored names cannot be read. Events are then all of the tenant's events of that record from the
	// first one that waits, from what is kept with the events; since they wait together, that is the same.
	Unreadable error
}

// record is what to report of it when it is damaged.
func (d Deferred) record() Record {
	r := Record{Position: d.Position, Unreadable: d.Unreadable}
	for _, n := range d.Events {
		if n.ID != "" {
			r.Keys = append(r.Keys, intake.EventKey{Tenant: d.Tenant, ID: n.ID})
		}
	}
	return r
}

// TurnStore keeps what waits for its turn.
type TurnStore interface {
	Store
	// InTx runs fn in a transaction that its context carries. fn may run more than once.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// NextTurn is the next tenant after the given one, in a circle, that has events waiting; empty for none.
	NextTurn(ctx context.Context, after tenant.ID) (tenant.ID, error)
	// DeferredOf lists what waits of the tenant, oldest first, and holds it until the transaction ends: while another
	// transaction holds it, nothing is listed.
	DeferredOf(ctx context.Context, owner tenant.ID, limit int) ([]Deferred, error)
	// MayDefer reports whether every process seen since then knows of turns: one of an older version would show what waits for
	// its turn as fanned out.
	MayDefer(ctx context.Context, since time.Time) (bool, error)
	// OldestUnrouted is when the oldest record was written that fan-out has not reached yet; zero when there is none.
	OldestUnrouted(ctx context.Context) (time.Time, error)
}

// Turns fans out what was deferred, one tenant after the other, each time as much of it as is scheduled at once. Any number of
// processes may run it.
type Turns struct {
	*work
	lost    *losses
	last    tenant.ID // whose turn was last
	began   time.Time // the present one
	yields  time.Time // until then the log goes first
	rosters map[tenant.ID]*rosterAt
	careful map[tenant.ID]int // how many more events to try alone, since one of them could not be handled
	patient map[tenant.ID]*patience
	inVain  InVain // of all tenants together
	paces   map[tenant.ID]pace
}

type rosterAt struct {
	*roster
	position int64
}

// Turns makes the Turns of what f defers, for use by one goroutine.
func (f *FanOut) Turns() *Turns {
	return &Turns{work: f.work, lost: f.index.lost, rosters: map[tenant.ID]*rosterAt{}, careful: map[tenant.ID]int{}, patient: map[tenant.ID]*patience{}, paces: map[tenant.ID]pace{}}
}

// Pauses, and bounds of what is read ahead and kept.
const (
	turnEvery   = 2 * time.Second        // for what a dead process left
	turnPause   = 100 * time.Millisecond // when another process has the turn
	yieldTimes  = 4                      // as long as a turn took
	yieldPause  = 10 * time.Millisecond
	maxYield    = 5 * time.Second
	partsAtOnce = 10
	aheadAtOnce = 50 // events
	maxRosters  = 100
)

// Loop is the step that gives turns.
func (t *Turns) Loop() loop.Loop { return loop.Loop{Name: "turns", Step: t.Step, Wake: t.wake} }

// Step gives one tenant its turn. The log is read first between two turns: where there is only one writer, each of its records
// would otherwise wait for a turn. A log that is never read to its end leaves a fifth of the time to turns.
func (t *Turns) Step(ctx context.Context) (time.Time, error) {
	t.began = t.Now()
	if left := t.yields.Sub(t.began); left > 0 && left <= maxYield { // the clock may have been set back
		oldest, err := t.Store.OldestUnrouted(ctx)
		if err != nil {
			return time.Time{}, fmt.Errorf("look whether the log is read: %w", err)
		}
		if !oldest.IsZero() {
			return t.began.Add(min(left, yieldPause)), nil
		}
	}
	next, err := t.give(ctx)
	now := t.Now()
	t.yields = now.Add(min(maxYield, yieldTimes*now.Sub(t.began)))
	return next, err
}

// give gives the next tenant its turn.
func (t *Turns) give(ctx context.Context) (time.Time, error) {
	owner, rest, err := t.next(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if owner == "" {
		return t.Now().Add(rest), nil
	}
	mine, trying := false, unhandled{}
	err = t.inTx(ctx, func(ctx context.Context) error {
		parts, err := t.waiting(ctx, owner)
		if err != nil {
			return err
		}
		if mine = len(parts) > 0; !mine {
			return nil
		}
		trying = unhandled{}
		return t.turn(ctx, parts, &trying)
	})
	if errors.Is(err, ErrRefused) && trying.events > 0 {
		trying.reason, err = "what it comes to cannot be stored", &trying
	}
	if bad, is := errors.AsType[*unhandled](err); is {
		err = t.setAside(ctx, owner, bad)
	} else if err == nil && mine && t.careful[owner] > 0 {
		t.careful[owner]--
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

// inTx counts a turn from when its transaction has begun: nobody waits for a turn that itself waits for the writer.
func (t *Turns) inTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return t.Store.InTx(ctx, func(ctx context.Context) error {
		t.began = t.Now()
		return fn(ctx)
	})
}

// waiting is the tenant's oldest parts, enough for a turn and few more. Where many records have few events each, ten would be a small part of one,
// and a log that is written faster than turns come round would never be caught up with.
func (t *Turns) waiting(ctx context.Context, owner tenant.ID) ([]Deferred, error) {
	enough := max(aheadAtOnce, t.atOnce(owner)) // events; see load
	if t.careful[owner] > 0 {
		enough = 1
	}
	for limit := partsAtOnce; ; limit *= 2 {
		parts, err := t.Store.DeferredOf(ctx, owner, limit)
		if err != nil || len(parts) < limit || limit >= enough {
			return parts, err
		}
		events := 0
		for _, part := range parts {
			events += len(part.Events)
		}
		if events >= enough {
			return parts, nil
		}
	}
}

// next is the tenant whose turn is next, among those not waiting for room; empty for none, with how long to rest then.
func (t *Turns) next(ctx context.Context) (owner tenant.ID, rest time.Duration, err error) {
	var first tenant.ID
	for range passedOn {
		if owner, err = t.Store.NextTurn(ctx, t.last); err != nil {
			return "", 0, fmt.Errorf("look whose turn is next: %w", err)
		}
		if owner == "" {
			t.last = ""
			clear(t.rosters)
			clear(t.careful)
			for _, p := range t.patient {
				p.goOn(0)
			}
			clear(t.patient)
			clear(t.paces)
			return "", turnEvery, nil
		}
		if owner == first {
			break
		}
		if t.last = owner; !t.waits(owner) {
			return owner, 0, nil
		}
		if first == "" {
			first = owner
		}
	}
	return "", roomPause, nil
}

// unhandled says how many events were tried together when they could not be handled, and which was the first.
type unhandled struct {
	events int
	first  string
	reason string
}

func (u *unhandled) Error() string { return u.reason }

// turn fans out as many of the parts' events as are scheduled at once, at least one. The rest keeps waiting.
func (t *Turns) turn(ctx context.Context, parts []Deferred, trying *unhandled) (err error) {
	tried, names := 0, []placed(nil)
	defer func() {
		if trying.events = tried; tried > 0 {
			trying.first = names[0].ID
		}
		if r := recover(); r != nil {
			trying.reason, err = fmt.Sprintf("handling it panicked: %v", r), trying
		}
	}()
	owner := parts[0].Tenant
	atOnce := t.atOnce(owner)
	b, names, events, err := t.load(ctx, parts, atOnce)
	if err != nil {
		return err
	}
	if t.patient[owner] == nil {
		t.patient[owner] = &patience{inVain: &t.inVain}
	}
	if err := t.patient[owner].unreadable(b.now, b.position, events); err != nil {
		return err
	}
	if len(events) > 0 {
		t.paces[owner] = pace{oldest: events[0].At}
	}
	for _, e := range events {
		cost := b.rosters[e.TenantID].cost(e.Type)
		if tried > 0 && b.cost+cost > atOnce {
			names = names[:tried]
			break
		}
		tried += 1 + slices.IndexFunc(names[tried:], func(n placed) bool { return n.ID == e.ID })
		b.position = names[tried-1].position
		b.cost += cost
		if err := b.match(ctx, e); err != nil {
			return err
		}
	}
	b.take(parts, len(names))
	return b.finish(ctx)
}

// placed is an event's name with the position of its record.
type placed struct {
	Named
	position int64
}

// load begins a batch with the first events of the parts that there could be room for and that the same subscriptions govern.
func (t *Turns) load(ctx context.Context, parts []Deferred, atOnce int) (*batch, []placed, []intake.Accepted, error) {
	owner := parts[0].Tenant
	r, parts, err := t.governed(ctx, parts)
	if err != nil {
		return nil, nil, nil, err
	}
	ahead := max(aheadAtOnce, atOnce/max(1, r.governing()))
	if t.careful[owner] > 0 {
		ahead = 1
	}
	var names []placed
	var keys []intake.EventKey
	for _, part := range parts {
		for _, n := range part.Events[:min(len(part.Events), ahead-len(names))] {
			names, keys = append(names, placed{n, part.Position}), append(keys, intake.EventKey{Tenant: owner, ID: n.ID})
		}
	}
	events, err := t.Store.Events(ctx, keys)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("load %d accepted events: %w", len(keys), err)
	}
	return t.newBatch(parts[0].Position, map[tenant.ID]*roster{owner: r}), names, events, nil
}

// take takes the first n events of the parts.
func (b *batch) take(parts []Deferred, n int) {
	for _, part := range parts {
		if n <= 0 {
			return
		}
		b.plan.Taken = append(b.plan.Taken, part)
		if n < len(part.Events) {
			part.Events, part.Unreadable = part.Events[n:], nil
			b.plan.Deferred = []Deferred{part}
			return
		}
		n -= len(part.Events)
	}
}

// governed is the subscriptions that govern the first part, with the parts that these govern.
func (t *Turns) governed(ctx context.Context, parts []Deferred) (*roster, []Deferred, error) {
	r, err := t.roster(ctx, parts[0])
	if err != nil || len(parts) == 1 {
		return r, parts, err
	}
	last := parts[len(parts)-1].Position
	changes, _, err := t.Store.Governing(ctx, parts[0].Position, last, changesPerRead, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("read subscription changes up to %d: %w", last, err)
	}
	before := last + 1
	if len(changes) == changesPerRead {
		before = changes[len(changes)-1].Position
	}
	if i := slices.IndexFunc(changes, func(c SubscriptionChange) bool { return c.Tenant == parts[0].Tenant }); i >= 0 {
		before = changes[i].Position
	}
	n := 1
	for n < len(parts) && parts[n].Position < before {
		n++
	}
	return r, parts[:n], nil
}

// roster is the tenant's subscriptions as they were at the part's position.
func (t *Turns) roster(ctx context.Context, part Deferred) (*roster, error) {
	if r := t.rosters[part.Tenant]; r != nil && r.position <= part.Position {
		changes, _, err := t.Store.Governing(ctx, r.position, part.Position, changesPerRead, nil)
		if err != nil {
			return nil, fmt.Errorf("read subscription changes up to %d: %w", part.Position, err)
		}
		if len(changes) < changesPerRead && r.advance(part, changes) == nil {
			return r.roster, nil
		}
	}
	read, lost, err := readRosters(ctx, t.Store, []tenant.ID{part.Tenant}, part.Position)
	if err != nil {
		return nil, err
	}
	t.lost.tell(ctx, lost)
	if len(t.rosters) >= maxRosters {
		clear(t.rosters)
	}
	t.rosters[part.Tenant] = &rosterAt{read[part.Tenant], part.Position}
	return read[part.Tenant], nil
}

// advance applies the tenant's own changes.
func (r *rosterAt) advance(part Deferred, changes []SubscriptionChange) error {
	for _, c := range changes {
		if c.Tenant != part.Tenant {
			continue
		}
		if err := r.apply(c); err != nil {
			return err
		}
	}
	r.position = part.Position
	return nil
}

// setAside sets the tenant's first event aside, with the reason. Events that were tried together are first tried alone, and a
// panic before any was tried says nothing about any one of them.
func (t *Turns) setAside(ctx context.Context, owner tenant.ID, bad *unhandled) error {
	if bad.events == 0 {
		return bad
	}
	if bad.events > 1 {
		t.careful[owner] = bad.events
		return nil
	}
	t.careful[owner] = max(0, t.careful[owner]-1)
	return t.inTx(ctx, func(ctx context.Context) error {
		parts, err := t.Store.DeferredOf(ctx, owner, 1)
		if err != nil || len(parts) == 0 || parts[0].Events[0].ID != bad.first { // another process has settled it meanwhile
			return err
		}
		alone := parts[0]
		alone.Events = alone.Events[:1]
		b, _, events, err := t.load(ctx, []Deferred{alone}, 1)
		if err != nil {
			return err
		}
		for _, e := range events { // none when it is gone
			b.giveUp(&matched{event: e, position: b.position, governing: b.rosters[owner].governing()}, errors.New(bad.reason))
		}
		b.take(parts, 1)
		return b.commit(ctx)
	})
}
