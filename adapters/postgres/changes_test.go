package postgres_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// TestAChangeWaitsForAnother has a subscription deleted while it is being paused, as the service does with one whose receiver is gone: who
// names no version wants it deleted whatever else was changed.
func TestAChangeWaitsForAnother(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	service := &subscriptions.Service{Store: w.Store, Now: func() time.Time { return w.now }}
	tx, err := w.db.Begin(t.Context())
	w.ok(err)
	defer func() { _ = tx.Rollback() }()
	_, err = service.Pause(postgres.WithTx(t.Context(), tx), lane, subscriptions.AnyVersion, "maintenance", subscriptions.Actor{})
	w.ok(err)
	deleted := make(chan error, 1)
	go func() { deleted <- service.Delete(t.Context(), lane, subscriptions.AnyVersion, subscriptions.Actor{}) }()
	w.oneWaits()
	w.ok(tx.Commit())
	w.ok(<-deleted)
	states, err := w.LaneStates(t.Context(), []dispatch.Lane{lane})
	if w.ok(err); states[lane].Status != subscription.StatusDeleted {
		t.Errorf("it is %s", states[lane].Status)
	}
}
