package jobs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// maxPicked bounds one step, and with it its transaction, by default.
const maxPicked = 250

// Picker finds the deliveries of a job. What it leaves alone, and why, is the same for a dry run.
type Picker struct {
	Deliveries DeliveryStore
	Events     EventStore
	Gate       Gate
	// Kept is how long everything is kept; 0 is for ever.
	Kept time.Duration
	// AtOnce is how many deliveries a step looks at; 0 for 250.
	AtOnce int
}

// picked is one stretch of a job.
type picked struct {
	deliveries []delivery.Delivery // to be sent again
	tally      job.Tally           // of those that are not
	after      string              // where the stretch ends
	afterEvent int64               // the same, of a job that goes by events
	looked     int
	last       bool
	waits      bool // there is more, which fan-out is not done with
}

// pick takes the job's next stretch.
func (p *Picker) pick(ctx context.Context, j job.Job, now time.Time) (next picked, err error) {
	if j.Mode == job.Missing {
		return p.pickMissing(ctx, j, now)
	}
	limit := cmp.Or(p.AtOnce, maxPicked)
	seen, err := p.Deliveries.WalkDeliveries(ctx, Walk{Tenant: j.Tenant, Filter: j.Filter, After: j.After, UpTo: j.UpTo(), Limit: limit})
	if err != nil {
		return next, fmt.Errorf("walk the deliveries: %w", err)
	}
	next = picked{after: j.After, looked: len(seen), last: len(seen) < limit}
	var found []delivery.Delivery
	for _, d := range seen {
		next.after = d.ID
		if j.Filter.Matches(d) {
			found = append(found, d)
		}
	}
	if j.Kind == job.Replay {
		if found, err = p.newest(ctx, j, found); err != nil {
			return next, err
		}
	}
	return next, p.leaveAlone(ctx, j, found, &next)
}

// newest keeps the deliveries that are their events' newest in the job's range, so that a job sends an event once, however many
// deliveries earlier replays have made of it.
func (p *Picker) newest(ctx context.Context, j job.Job, found []delivery.Delivery) (kept []delivery.Delivery, err error) {
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = d.EventID
	}
	newest, err := p.Deliveries.NewestDeliveries(ctx, laneOf(j), ids, j.UpTo(), j.Filter.Until)
	if err != nil {
		return nil, fmt.Errorf("find the events' newest deliveries: %w", err)
	}
	for _, d := range found {
		if newest[d.EventID] == d.ID {
			kept = append(kept, d)
		}
	}
	return kept, nil
}

func laneOf(j job.Job) dispatch.Lane {
	return dispatch.Lane{Tenant: j.Tenant, SubscriptionID: j.Filter.SubscriptionID}
}

// leaveAlone sorts out what may not be sent now, with the reason.
func (p *Picker) leaveAlone(ctx context.Context, j job.Job, found []delivery.Delivery, next *picked) error {
	states, err := p.states(ctx, found)
	if err != nil {
		return err
	}
	billing := true // stored bytes hold billing data as much as new ones
	if slices.ContainsFunc(found, ofBilling) {
		if billing, err = p.Gate.Enabled(ctx, j.Tenant, tenant.BillingWebhooks); err != nil {
			return err
		}
	}
	for _, d := range found {
		switch status := states[dispatch.LaneOf(d)].Status; {
		case status != subscription.StatusActive:
			next.tally.Skip(inactive(status))
		case !billing && ofBilling(d):
			next.tally.Skip("the tenant does not have the feature " + string(tenant.BillingWebhooks))
		case j.Mode == job.Original && d.IsSpent():
			next.tally.Skip(spent)
		default:
			next.deliveries = append(next.deliveries, d)
		}
	}
	return nil
}

// spent is why a delivery is not sent again that was sent too often: see delivery.MaxAttempts.
var spent = fmt.Sprintf("it has been attempted %d times or more", delivery.MaxAttempts)

func ofBilling(d delivery.Delivery) bool { return d.EventType.Family() == event.FamilyBilling }

func (p *Picker) states(ctx context.Context, found []delivery.Delivery) (map[dispatch.Lane]fanout.LaneState, error) {
	var lanes []dispatch.Lane
	known := map[dispatch.Lane]bool{}
	for _, d := range found {
		lane := dispatch.LaneOf(d)
		if !known[lane] {
			known[lane] = true
			lanes = append(lanes, lane)
		}
	}
	states, err := p.Deliveries.LaneStates(ctx, lanes)
	if err != nil {
		return nil, fmt.Errorf("read the states of %d subscriptions: %w", len(lanes), err)
	}
	return states, nil
}

func inactive(status subscription.Status) string {
	if status == subscription.StatusPaused || status == subscription.StatusDisabled {
		return "the subscription is " + string(status)
	}
	return "the subscription was deleted"
}
