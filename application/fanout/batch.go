package fanout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// batch is the events of one or more records while they are fanned out: what matched, what was resolved, what comes of it.
type batch struct {
	*work
	now      time.Time
	position int64                 // of the record whose events are being matched
	rosters  map[tenant.ID]*roster // as they were at position, and at the other records
	cost     int                   // deliveries, at most
	billing  map[tenant.ID]bool    // who has the feature; asked once in a batch
	lanes    map[dispatch.Lane]LaneState

	matched []*matched
	views   []*view
	plan    Plan
	left    map[tenant.ID]int  // tenants with events left: the place of the last ones in plan.Deferred
	tallied map[tenantHour]int // places in plan.Tallies
	leased  []dispatch.Leased
	waiting map[dispatch.Lane]bool // lanes in which a delivery got no slot
	spans   []func(committed bool) // called when the transaction ends
	room    map[tenant.ID]int      // left for deliveries to hand over
}

// matched is an event with the views that its subscriptions have of it.
type matched struct {
	event    intake.Accepted
	position int64
	views    []*view
	// Counts of the tenant's subscriptions: that governed the event, that wanted it, and that were kept from it by a missing
	// feature.
	governing, wanting, gated int
}

// view is what one or more subscriptions see of an event.
type view struct {
	payload.View
	lookup        Lookup
	subscriptions []*subscription.Subscription
	context       payload.Context
}

// governed counts whom an event is for, without looking at its content.
func (b *batch) governed(e intake.Accepted) *matched {
	r := b.rosters[e.TenantID]
	return &matched{event: e, position: b.position, governing: r.governing(), wanting: r.cost(e.Type)}
}

func (w *work) newBatch(position int64, rosters map[tenant.ID]*roster) *batch {
	return &batch{work: w, now: w.Now(), position: position, rosters: rosters, billing: map[tenant.ID]bool{},
		left: map[tenant.ID]int{}, tallied: map[tenantHour]int{}, waiting: map[dispatch.Lane]bool{}, room: map[tenant.ID]int{}}
}

// finish schedules what comes of the events that were matched.
func (b *batch) finish(ctx context.Context) error {
	if err := b.resolve(ctx); err != nil {
		return err
	}
	return b.commit(ctx)
}

// leave leaves an event for its tenant's turn.
func (b *batch) leave(key intake.EventKey, place int) {
	i, any := b.left[key.Tenant]
	if !any || b.plan.Deferred[i].Position != b.position {
		i = len(b.plan.Deferred)
		b.left[key.Tenant] = i
		b.plan.Deferred = append(b.plan.Deferred, Deferred{Tenant: key.Tenant, Position: b.position})
	}
	b.plan.Deferred[i].Events = append(b.plan.Deferred[i].Events, Named{place, key.ID})
}

// leaves reports whether an event of the tenant was left.
func (b *batch) leaves(owner tenant.ID) bool {
	_, any := b.left[owner]
	return any
}

// match finds who gets the event, and groups those who see the same of it. An event that cannot be read is set aside.
func (b *batch) match(ctx context.Context, e intake.Accepted) (err error) {
	if e.Unreadable != nil {
		b.setAside(b.governed(e), e.Unreadable)
		return nil
	}
	m := &matched{event: e, position: b.position}
	defer func() {
		if r := recover(); r != nil {
			b.giveUp(m, fmt.Errorf("matching it panicked: %v", r))
			return
		}
		b.matched = append(b.matched, m)
	}()
	byKey := map[payload.Key]*view{}
	r := b.rosters[e.TenantID]
	m.governing = r.governing()
	wanting := r.matching(e.Type)
	m.wanting = len(wanting)
	for _, s := range wanting {
		billing, err := b.hasBilling(ctx, e.TenantID, e.Type)
		if err != nil {
			return err
		}
		if e.Type.Family() == event.FamilyBilling && !billing {
			m.gated++
			b.plan.Gated = append(b.plan.Gated, Gated{e.TenantID, e.ID, s.ID, tenant.BillingWebhooks, s.Version, e.At})
			continue
		}
		sees := payload.View{Options: s.Options, Billing: billing}
		key := sees.KeyFor(e.Event, s.SourceSystem)
		v := byKey[key]
		if v == nil {
			v = &view{View: sees, lookup: Lookup{e.TenantID, s.SourceSystem, payload.References(e.Event, s.Options)}}
			byKey[key] = v
			m.views = append(m.views, v)
			b.views = append(b.views, v)
		}
		v.subscriptions = append(v.subscriptions, s)
	}
	return nil
}

// hasBilling asks the gate, at most once in a batch for each tenant, and only where the answer matters.
func (b *batch) hasBilling(ctx context.Context, owner tenant.ID, t event.Type) (bool, error) {
	if t.Family() != event.FamilyBilling {
		return false, nil
	}
	if has, asked := b.billing[owner]; asked {
		return has, nil
	}
	has, err := b.Gate.Enabled(ctx, owner, tenant.BillingWebhooks)
	if err != nil {
		return false, err
	}
	b.billing[owner] = has
	return has, nil
}

// resolve looks up what all views need in one go, and compares the subscriptions that governed the events with their present
// state.
func (b *batch) resolve(ctx context.Context) error {
	lookups, governed := make([]Lookup, len(b.views)), map[dispatch.Lane]subscription.Status{}
	for i, v := range b.views {
		lookups[i] = v.lookup
		for _, s := range v.subscriptions {
			governed[dispatch.LaneOfSubscription(s)] = s.Status
		}
	}
	contexts, lanes, err := b.Store.ResolveFor(ctx, lookups, slices.Collect(maps.Keys(governed)))
	if err != nil {
		return fmt.Errorf("resolve references and read the lanes' states: %w", err)
	}
	b.lanes = lanes
	for i, v := range b.views {
		v.context = contexts[i]
	}
	return b.noteSweeps(ctx, governed)
}

// noteSweeps notes sweeps of lanes whose subscription is no longer as it was when it governed the events: they do to what is
// scheduled now what has been asked for since.
func (b *batch) noteSweeps(ctx context.Context, governed map[dispatch.Lane]subscription.Status) error {
	for _, lane := range slices.SortedFunc(maps.Keys(governed), dispatch.Lane.Compare) {
		now := b.lanes[lane].Status
		if now == governed[lane] {
			continue
		}
		action := sweep.ActionForStatus(now)
		if action == sweep.Release {
			s, err := b.Store.LoadSubscription(ctx, lane)
			if err != nil && !errors.Is(err, dispatch.ErrUnreadable) { // one that cannot be read is released: nobody can say that it is to be skipped
				return fmt.Errorf("read how subscription %s was resumed: %w", lane.SubscriptionID, err)
			}
			if err == nil && s.SkippedParked {
				action = sweep.Skip
			}
		}
		b.plan.Sweeps = append(b.plan.Sweeps, sweep.Sweep{Lane: lane, Action: action})
	}
	return nil
}

// commit schedules what matched. Whatever goes wrong, even a panic, frees the slots that were reserved for the handover.
func (b *batch) commit(ctx context.Context) error {
	handed := false
	defer func() {
		if !handed {
			b.ended(ctx, false)
		}
	}()
	b.schedule(ctx)
	if err := b.Store.Schedule(ctx, b.plan, func(committed bool) { b.ended(ctx, committed) }); err != nil {
		return fmt.Errorf("schedule %d deliveries: %w", len(b.plan.Scheduled), err)
	}
	handed = true
	return nil
}

// schedule renders each view once and begins a delivery for each of its subscriptions. An event that cannot be handled is set
// aside with the reason, and the rest goes on.
func (b *batch) schedule(ctx context.Context) {
	for _, m := range b.matched {
		before := b.plan
		leased := b.leased
		err := b.scheduleEvent(ctx, m)
		if err != nil {
			b.handBack(b.leased[len(leased):])
			b.plan, b.leased = before, leased
			b.setAside(m, err)
			continue
		}
		b.count(m, len(before.Scheduled))
	}
}

// giveUp sets an event aside without knowing who wants it.
func (b *batch) giveUp(m *matched, reason error) {
	m.wanting = m.governing
	b.setAside(m, reason)
}

func (b *batch) scheduleEvent(ctx context.Context, m *matched) (err error) {
	count, end := 0, func(int, error) {}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("handling it panicked: %v", r)
		}
		b.spans = append(b.spans, func(committed bool) {
			if err == nil && !committed {
				end(count, errUndone)
				return
			}
			end(count, err)
		})
	}()
	traceParent, end := b.Observer.FanOut(ctx, m.event)
	for i, v := range m.views {
		bytes, warnings := payload.Render(m.event.Event, v.View, v.context)
		body := Body{Tenant: m.event.TenantID, EventID: m.event.ID, Number: i + 1, Bytes: bytes}
		b.plan.Bodies = append(b.plan.Bodies, body)
		for _, s := range v.subscriptions {
			if err := b.scheduleDelivery(m.event, body, warnings, s, traceParent); err != nil {
				return err
			}
			count++
		}
	}
	return nil
}

var errUndone = errors.New("the transaction was undone")

func (b *batch) scheduleDelivery(e intake.Accepted, body Body, warnings []string, s *subscription.Subscription, traceParent string) error {
	first := delivery.Scheduled{
		At: b.now, ID: b.NewID("dlv_"), Tenant: e.TenantID, EventID: e.ID, EventType: e.Type,
		SubscriptionID: s.ID, SubscriptionVersion: s.Version, BodyNumber: body.Number, Warnings: warnings,
	}
	changes := delivery.Schedule(first)
	if s.Status != subscription.StatusActive {
		changes = delivery.ScheduleParked(first, "the subscription is "+string(s.Status))
	}
	d, err := delivery.Fold(changes)
	if err != nil {
		return fmt.Errorf("schedule a delivery of %s: %w", e.ID, err)
	}
	lease, lane := "", dispatch.LaneOfSubscription(s)
	// Only what goes to the present endpoint, signed with the present secret, is handed over.
	if state := b.lanes[lane]; b.Handover != nil && d.Status.IsClaimable() && state.Version == s.Version && !state.Sweeping {
		if held, ok := b.Handover.Reserve(lane, s.MaxInFlight); ok {
			lease = held
			b.leased = append(b.leased, dispatch.Leased{Delivery: d, Subscription: s, Body: body.Bytes, TraceParent: traceParent, AcceptedAt: e.At, Lease: lease})
		} else {
			b.waiting[lane] = true
		}
	}
	b.plan.Scheduled = append(b.plan.Scheduled, Scheduled{Delivery: d, Changes: changes, TraceParent: traceParent, AcceptedAt: e.At, Lease: lease})
	return nil
}

// ended reports what came of the events and hands over what was leased, once, as soon as the transaction has committed or
// failed.
func (b *batch) ended(ctx context.Context, committed bool) {
	spans := b.spans
	b.spans = nil
	for _, end := range spans {
		end(committed)
	}
	leased := b.leased
	b.leased = nil
	if len(leased) > 0 {
		b.Handover.Take(leased, committed)
	}
	if committed && len(b.waiting) > 0 {
		b.Handover.Waiting(slices.SortedFunc(maps.Keys(b.waiting), dispatch.Lane.Compare))
	}
	if committed && len(b.plan.Deferred) > 0 {
		b.wake.Send()
	}
	if committed {
		b.report(ctx)
	}
}

// report tells of what could not be read or handled: nobody else does.
func (b *batch) report(ctx context.Context) {
	for _, d := range b.plan.Taken {
		if d.Unreadable != nil {
			b.Observer.RecordUnreadable(ctx, d.record())
		}
	}
	for _, p := range b.plan.SetAside {
		b.Observer.EventSetAside(ctx, p)
	}
}

func (b *batch) handBack(leased []dispatch.Leased) {
	if len(leased) > 0 {
		b.Handover.Take(leased, false)
	}
}
