package jobs

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// RenderStore is what it takes to render anew and to schedule the result.
type RenderStore interface {
	LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	// Events loads accepted events; see fanout.Store.
	Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error)
	// EventBodies loads all bodies of the events. Within a transaction nobody else calls it for any of the tenant's until the end, nor deletes an
	// event that is read after it.
	EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error)
	Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error)
	Schedule(ctx context.Context, plan fanout.Plan, ended func(committed bool)) error
}

// rendering is the state of one step that makes new deliveries.
type rendering struct {
	sub    subscription.Subscription
	view   payload.View
	bodies map[string][]fanout.Body
	newID  func(prefix string) string
	now    time.Time
	plan   fanout.Plan
}

// rerender begins a new delivery of each event, with the subscription and the directory as they are now.
func (w *Worker) rerender(ctx context.Context, j job.Job, next *picked, now time.Time) error {
	sub, err := w.render.LoadSubscription(ctx, laneOf(j))
	if err != nil {
		return fmt.Errorf("load subscription %s: %w", j.Filter.SubscriptionID, err)
	}
	billing, err := w.service.Gate.Enabled(ctx, j.Tenant, tenant.BillingWebhooks)
	if err != nil {
		return err
	}
	r := rendering{sub: sub, view: payload.View{Options: sub.Options, Billing: billing}, newID: w.service.NewID, now: now}
	ids := make([]string, len(next.deliveries))
	for i, d := range next.deliveries {
		ids[i] = d.EventID
	}
	if r.bodies, err = w.render.EventBodies(ctx, j.Tenant, ids); err != nil {
		return fmt.Errorf("load the bodies of %d events: %w", len(ids), err)
	}
	if j.Mode == job.Missing { // from here on no other process makes such deliveries
		if next.deliveries, err = w.service.lacking(ctx, j, next.deliveries); err != nil {
			return err
		}
	}
	events, err := w.events(ctx, j.Tenant, next)
	if err != nil {
		return err
	}
	contexts, err := w.resolve(ctx, sub, events)
	if err != nil {
		return err
	}
	for i, e := range events {
		if err := r.schedule(e, contexts[i]); err != nil {
			next.tally.Fail("it could not be rendered")
			continue
		}
		next.tally.Done++
	}
	begun := len(r.plan.Scheduled)
	if err := w.render.Schedule(ctx, r.plan, func(committed bool) { w.tell(ctx, committed, begun) }); err != nil {
		return fmt.Errorf("schedule %d deliveries: %w", begun, err)
	}
	return nil
}

func (w *Worker) tell(ctx context.Context, committed bool, begun int) {
	if committed && w.Begun != nil {
		w.Begun(ctx, begun)
	}
}

// events loads the events of the deliveries; those that are gone, or damaged, count as failed.
func (w *Worker) events(ctx context.Context, owner tenant.ID, next *picked) ([]intake.Accepted, error) {
	keys := make([]intake.EventKey, len(next.deliveries))
	for i, d := range next.deliveries {
		keys[i] = intake.EventKey{Tenant: owner, ID: d.EventID}
	}
	events, err := w.render.Events(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("load %d events: %w", len(keys), err)
	}
	for range len(keys) - len(events) {
		next.tally.Fail("the event is no longer kept")
	}
	readable := events[:0]
	for _, e := range events {
		if e.Unreadable != nil {
			next.tally.Fail("the event's stored content is damaged")
			continue
		}
		readable = append(readable, e)
	}
	return readable, nil
}

func (w *Worker) resolve(ctx context.Context, sub subscription.Subscription, events []intake.Accepted) ([]payload.Context, error) {
	lookups := make([]fanout.Lookup, len(events))
	for i, e := range events {
		lookups[i] = fanout.Lookup{Tenant: e.TenantID, SourceSystem: sub.SourceSystem, References: payload.References(e.Event, sub.Options)}
	}
	contexts, err := w.render.Resolve(ctx, lookups)
	if err != nil {
		return nil, fmt.Errorf("resolve references: %w", err)
	}
	return contexts, nil
}

// schedule adds a new delivery of the event to the plan; an event that cannot be rendered does not hold up the others.
func (r *rendering) schedule(e intake.Accepted, found payload.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("rendering it panicked: %v", p)
		}
	}()
	rendered, warnings := payload.Render(e.Event, r.view, found)
	changes := delivery.Schedule(delivery.Scheduled{
		At: r.now, ID: r.newID("dlv_"), Tenant: e.TenantID, EventID: e.ID, EventType: e.Type,
		SubscriptionID: r.sub.ID, SubscriptionVersion: r.sub.Version, BodyNumber: r.number(e, rendered), Warnings: warnings,
	})
	d, err := delivery.Fold(changes)
	if err != nil {
		return err
	}
	r.plan.Scheduled = append(r.plan.Scheduled, fanout.Scheduled{Delivery: d, Changes: changes, TraceParent: e.TraceParent, AcceptedAt: e.At, Replay: true})
	return nil
}

// number is the body's number among those of the event; equal bytes are stored once.
func (r *rendering) number(e intake.Accepted, rendered []byte) (number int) {
	for _, body := range r.bodies[e.ID] {
		if body.Unreadable == nil && bytes.Equal(body.Bytes, rendered) {
			return body.Number
		}
		number = max(number, body.Number)
	}
	body := fanout.Body{Tenant: e.TenantID, EventID: e.ID, Number: number + 1, Bytes: rendered}
	r.bodies[e.ID] = append(slices.Clone(r.bodies[e.ID]), body)
	r.plan.Bodies = append(r.plan.Bodies, body)
	return body.Number
}
