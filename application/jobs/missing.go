package jobs

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// EventStore reads the events that a subscription may have got none of.
type EventStore interface {
	// AcceptedEvents lists newest first.
	AcceptedEvents(ctx context.Context, filter queries.EventFilter) ([]queries.Event, error)
	// FannedOut says whether fan-out is done with the event, and with all that the tenant's log has before it.
	FannedOut(ctx context.Context, e queries.Event) (bool, error)
	// WalkEvents lists oldest first, as far as fan-out has come.
	WalkEvents(ctx context.Context, walk EventWalk) ([]queries.Event, error)
	LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
}

// EventWalk is a stretch of a tenant's events, by their sequences.
type EventWalk struct {
	Tenant      tenant.ID
	After, UpTo int64 // After is exclusive
	// Since and Until say where to look for events that were accepted then, by what is counted of each hour as far as that is kept; what that
	// yields must still be checked. Without Since there is no telling.
	Since, Until time.Time
	Limit        int
}

// reachEvents has the job reach to the newest event. Those before it are not added to any more, and once fan-out is done with it, it is
// done with all of them: what has no delivery then gets none, unless it was set aside and is retried.
func (s *Service) reachEvents(ctx context.Context, j *job.Job) error {
	newest, err := s.Events.AcceptedEvents(ctx, queries.EventFilter{Tenant: j.Tenant, Limit: 1})
	if err != nil {
		return fmt.Errorf("find the newest event: %w", err)
	}
	for _, e := range newest {
		j.LastEvent = e.Sequence
	}
	return nil
}

// pickMissing takes the next stretch of events, each as the delivery that is missing of it.
func (p *Picker) pickMissing(ctx context.Context, j job.Job, now time.Time) (next picked, err error) {
	sub, err := p.subscriptionNow(ctx, j)
	if err != nil {
		return next, err
	}
	settled := j.LastEvent == 0
	if !settled { // asked before the walk, which therefore sees all of them if so
		if settled, err = p.Events.FannedOut(ctx, queries.Event{Tenant: j.Tenant, Sequence: j.LastEvent}); err != nil {
			return next, fmt.Errorf("look how far fan-out has come: %w", err)
		}
	}
	walk := EventWalk{Tenant: j.Tenant, After: j.AfterEvent, UpTo: j.LastEvent, Since: j.Filter.Since, Until: j.Filter.Until, Limit: cmp.Or(p.AtOnce, maxPicked)}
	seen, err := p.Events.WalkEvents(ctx, walk)
	if err != nil {
		return next, fmt.Errorf("walk the events: %w", err)
	}
	next = picked{after: j.After, afterEvent: j.AfterEvent, looked: len(seen), last: settled && len(seen) < walk.Limit, waits: !settled && len(seen) == 0}
	events, found := map[string]queries.Event{}, []delivery.Delivery(nil)
	for _, e := range seen {
		next.afterEvent = e.Sequence
		if j.Filter.Accepts(e.Type, e.AcceptedAt) && sub.EventTypes.Matches(e.Type) {
			events[e.ID] = e
			found = append(found, delivery.Delivery{Tenant: e.Tenant, EventID: e.ID, EventType: e.Type, SubscriptionID: sub.ID})
		}
	}
	if found, err = p.lacking(ctx, j, found); err != nil {
		return next, err
	}
	return next, p.leaveAlone(ctx, j, p.known(found, events, sub, now, &next), &next)
}

// subscriptionNow is the job's subscription, which within a transaction stays so until the end.
func (p *Picker) subscriptionNow(ctx context.Context, j job.Job) (subscription.Subscription, error) {
	if _, err := p.Deliveries.LaneStates(ctx, []dispatch.Lane{laneOf(j)}); err != nil {
		return subscription.Subscription{}, fmt.Errorf("read the state of %s: %w", j.Filter.SubscriptionID, err)
	}
	sub, err := p.Events.LoadSubscription(ctx, laneOf(j))
	if err != nil {
		return sub, fmt.Errorf("load subscription %s: %w", j.Filter.SubscriptionID, err)
	}
	return sub, nil
}

// lacking keeps what is of events without any delivery in the job's lane.
func (p *Picker) lacking(ctx context.Context, j job.Job, found []delivery.Delivery) (kept []delivery.Delivery, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = d.EventID
	}
	newest, err := p.Deliveries.NewestDeliveries(ctx, laneOf(j), ids, afterAll, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("find the deliveries of %d events: %w", len(ids), err)
	}
	for _, d := range found {
		if newest[d.EventID] == "" {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

// afterAll sorts behind every delivery.
const afterAll = "dlv_~"

// known leaves out events that have a delivery to come, and those of which nobody can tell whether they had one.
func (p *Picker) known(found []delivery.Delivery, events map[string]queries.Event, sub subscription.Subscription, now time.Time, next *picked) (kept []delivery.Delivery) {
	for _, d := range found {
		switch e := events[d.EventID]; {
		case e.SetAside != nil:
			next.tally.Skip("the event was set aside, and waits for a retry of its own")
		case !p.isKept(e.AcceptedAt, now) && !e.AcceptedAt.Before(sub.CreatedAt):
			next.tally.Skip("the event is so old that its delivery may have been deleted")
		default:
			kept = append(kept, d)
		}
	}
	return kept
}

// clocksDiffer is how much later than its delivery was made an event may seem to have been accepted.
const clocksDiffer = time.Hour

// isKept reports whether all that was made of an event accepted then is kept.
func (p *Picker) isKept(accepted, now time.Time) bool {
	return p.Kept == 0 || now.Sub(accepted) < p.Kept-min(clocksDiffer, p.Kept/2)
}
