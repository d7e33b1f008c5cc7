package queries

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// What became of an event for one subscription.
const (
	OutcomeDelivery     = "delivery"
	OutcomeNotMatched   = "not_matched"
	OutcomeFeatureGated = "feature_gated"
)

// Disposition is what became of an event for one subscription.
type Disposition struct {
	SubscriptionID string
	Outcome        string
	DeliveryID     string          // of a delivery, as long as that is kept
	Status         delivery.Status // the same
	Reason         string
}

// Detail is an event with all that became of it.
type Detail struct {
	Event
	// Dispositions is exactly one for each subscription that the tenant had when the event was accepted or retried. It is empty
	// until the event is fanned out.
	Dispositions []Disposition
	// Replays are deliveries that somebody asked for later.
	Replays []Disposition
	// Later are present subscriptions that were created after the event was accepted, which is why they did not get it.
	Later []subscription.Subscription
}

// maxDeliveriesPerEvent bounds a detail. An event's oldest deliveries are one for each of its tenant's subscriptions; what is
// cut off are replays.
const maxDeliveriesPerEvent = subscriptions.MaxPerTenant + 5000

// Detail finds the event; problem.NotFound when the tenant has no such event.
func (q *Events) Detail(ctx context.Context, owner tenant.ID, id string) (Detail, error) {
	e, err := q.Reader.Event(ctx, owner, id)
	if err != nil {
		return Detail{}, err
	}
	detail := Detail{Event: e, Dispositions: []Disposition{}}
	done, err := q.Reader.FannedOut(ctx, e)
	if err != nil || !done {
		return detail, err
	}
	// Fan-out may have set it aside since it was read, and then a retry may have given it another place in the log.
	if detail.Event, err = q.Reader.Event(ctx, owner, id); err != nil || detail.Sequence != e.Sequence {
		return detail, err
	}
	if err := q.explain(ctx, &detail); err != nil {
		return Detail{}, fmt.Errorf("find the dispositions of %s: %w", id, err)
	}
	return detail, nil
}

// facts is what is known about an event's way to the subscriptions of its time.
type facts struct {
	event      Event
	deliveries map[string][]delivery.Delivery // by subscription, oldest first
	gated      map[string]tenant.Feature
	now        time.Time
	circuits   map[string]circuit.Report // of subscriptions with a delivery that is overdue
}

func (q *Events) explain(ctx context.Context, detail *Detail) error {
	there, _, err := q.Reader.SubscriptionsAt(ctx, []tenant.ID{detail.Tenant}, detail.Position)
	if err != nil {
		return err
	}
	f, err := q.facts(ctx, detail.Event)
	if err != nil {
		return err
	}
	for _, s := range there {
		d, first := f.dispose(s)
		detail.Dispositions = append(detail.Dispositions, d)
		if first {
			f.deliveries[s.ID] = f.deliveries[s.ID][1:]
		}
	}
	for _, more := range f.deliveries {
		for _, d := range more {
			reason := "it was replayed at " + d.CreatedAt.UTC().Format(time.RFC3339)
			detail.Replays = append(detail.Replays, Disposition{d.SubscriptionID, OutcomeDelivery, d.ID, d.Status, reason + f.progress(d)})
		}
	}
	slices.SortFunc(detail.Replays, func(a, b Disposition) int { return cmp.Compare(a.DeliveryID, b.DeliveryID) })
	detail.Later, err = q.later(ctx, detail.Event, there)
	return err
}

func (q *Events) facts(ctx context.Context, e Event) (facts, error) {
	f := facts{event: e, deliveries: map[string][]delivery.Delivery{}, gated: map[string]tenant.Feature{}, now: q.Now()}
	deliveries, err := q.Reader.DeliveriesOf(ctx, e.Tenant, []string{e.ID}, maxDeliveriesPerEvent)
	if err != nil {
		return f, err
	}
	var overdue []string
	for _, d := range deliveries[e.ID] {
		f.deliveries[d.SubscriptionID] = append(f.deliveries[d.SubscriptionID], d)
		if f.isOverdue(d) {
			overdue = append(overdue, d.SubscriptionID)
		}
	}
	if len(overdue) > 0 {
		if f.circuits, err = q.Reader.Circuits(ctx, e.Tenant, overdue, f.now.Add(-dispatch.HeartbeatTimeout)); err != nil {
			return f, err
		}
	}
	gated, err := q.Reader.GatedOf(ctx, e.Tenant, e.ID)
	if err != nil {
		return f, err
	}
	for _, g := range gated {
		f.gated[g.SubscriptionID] = g.Feature
	}
	return f, nil
}

// later lists the present subscriptions that did not exist then.
func (q *Events) later(ctx context.Context, e Event, there []subscription.Subscription) ([]subscription.Subscription, error) {
	known := map[string]bool{}
	for _, s := range there {
		known[s.ID] = true
	}
	now, err := q.Reader.ListSubscriptions(ctx, e.Tenant, "", subscriptions.MaxPerTenant)
	return slices.DeleteFunc(now, func(s subscription.Subscription) bool { return known[s.ID] }), err
}

// dispose finds the one disposition, and reports whether it is the oldest of the subscription's deliveries. A delivery to a
// subscription that the event was not for was asked for later.
func (f facts) dispose(s subscription.Subscription) (d Disposition, isDelivery bool) {
	pattern, matches := s.EventTypes.Matching(f.event.Type)
	wants := WhyMatched(pattern, f.event.Type)
	deliveries := f.deliveries[s.ID]
	feature, gated := f.gated[s.ID]
	switch {
	case gated:
		return Disposition{SubscriptionID: s.ID, Outcome: OutcomeFeatureGated,
			Reason: fmt.Sprintf("%s, but the tenant did not have the feature %s when the event was fanned out", wants, feature)}, false
	case !matches:
		return Disposition{SubscriptionID: s.ID, Outcome: OutcomeNotMatched, Reason: WhyNotMatched(s.EventTypes, f.event.Type)}, false
	case len(deliveries) == 0 && f.event.SetAside != nil:
		return Disposition{SubscriptionID: s.ID, Outcome: OutcomeNotMatched,
			Reason: wants + ", but the event could not be handled and was set aside: " + f.event.SetAside.Reason}, false
	case len(deliveries) == 0:
		return Disposition{SubscriptionID: s.ID, Outcome: OutcomeDelivery, Reason: wants + "; the delivery is not kept any more (ORDINAVO_RETENTION)"}, false
	}
	first := deliveries[0]
	if s.Status != subscription.StatusActive {
		wants += fmt.Sprintf("; the subscription was %s%s when the event came, so it was parked", s.Status, InBrackets(s.Reason))
	}
	return Disposition{s.ID, OutcomeDelivery, first.ID, first.Status, wants + f.progress(first)}, true
}

// WhyMatched says in words that a pattern of a filter wants a type.
func WhyMatched(pattern string, t event.Type) string {
	return fmt.Sprintf("its pattern %s wants %s", pattern, t)
}

// WhyNotMatched says in words why a filter does not want a type.
func WhyNotMatched(filter subscription.Filter, t event.Type) string {
	return fmt.Sprintf("none of its patterns (%s) wants %s; the nearest is %s", strings.Join(filter, ", "), t, filter.Nearest(t))
}

// InBrackets is the reason as it follows other words; empty for none.
func InBrackets(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func (f facts) isOverdue(d delivery.Delivery) bool {
	return d.Status.IsClaimable() && !d.DueAt.After(f.now)
}

// progress says how far a delivery has come, and of what is overdue that its receiver gets nothing but probes: it would look forgotten. What
// is due later may well be sent on time, since a circuit holds back only a backlog.
func (f facts) progress(d delivery.Delivery) string {
	said := progress(d)
	if !f.isOverdue(d) {
		return said
	}
	switch r := f.circuits[d.SubscriptionID]; r.State(f.now) {
	case circuit.Open:
		said += "; its receiver has kept failing and gets only a probe now and then, none before " + r.Until.UTC().Format(time.RFC3339)
	case circuit.HalfOpen:
		said += "; its receiver has kept failing and gets one delivery at a time until it takes one"
	case circuit.Closed:
	}
	return said
}

// progress says how far a delivery has come.
func progress(d delivery.Delivery) string {
	switch d.Status {
	case delivery.StatusPending:
		if d.Attempts > 0 { // it was retried by hand, or its subscription resumed
			return fmt.Sprintf("; it waits for attempt %d", d.Attempts+1)
		}
		return "; it waits for its first attempt"
	case delivery.StatusDelivering:
		return fmt.Sprintf("; attempt %d is under way", d.Attempts+1)
	case delivery.StatusRetrying:
		return fmt.Sprintf("; attempt %d failed, the next is due at %s", d.Attempts, d.DueAt.UTC().Format(time.RFC3339))
	case delivery.StatusParked:
		return "; it waits until the subscription is resumed"
	case delivery.StatusSucceeded:
		return fmt.Sprintf("; the receiver took it at attempt %d", d.Attempts)
	case delivery.StatusDeadLetter:
		return fmt.Sprintf("; it was given up after attempt %d", d.Attempts)
	case delivery.StatusCancelled:
		return "; it was cancelled: the subscription was deleted, or resumed without what was parked"
	default:
		return ""
	}
}
