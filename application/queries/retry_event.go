package queries

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// EventRetryStore gives an event to fan-out again.
type EventRetryStore interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// HoldEvent is Event, and keeps it as it is until the end of the transaction.
	HoldEvent(ctx context.Context, owner tenant.ID, id string) (Event, error)
	// FanOutAgain names an event that was set aside in a new record of the log, which becomes its place there. What was counted
	// of it is taken back and what was gated is forgotten, so that fan-out finds it as if it had just come.
	FanOutAgain(ctx context.Context, e Event, retried Retried) error
}

// EventRetries has events that were set aside fanned out again.
type EventRetries struct {
	Store EventRetryStore
	Now   func() time.Time
}

// Retry has one event fanned out to the present subscriptions. It fails with problem.NotFound when the tenant has no such
// event, and with problem.Conflict when it is not set aside: another retry may have been faster.
func (r *EventRetries) Retry(ctx context.Context, owner tenant.ID, id string, by subscriptions.Actor) error {
	return r.Store.InTx(ctx, func(ctx context.Context) error {
		e, err := r.Store.HoldEvent(ctx, owner, id)
		if err != nil {
			return err
		}
		if e.SetAside == nil {
			return problem.New(problem.Conflict, "Event %s is not set aside. What became of it is sent again by retrying its deliveries, or by a replay.", id)
		}
		return r.Store.FanOutAgain(ctx, e, Retried{At: r.Now(), KeyID: by.KeyID, KeyName: by.KeyName})
	})
}
