package postgres_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// changing is a transaction beside the service that changes subscriptions.
func changing(t *testing.T) (*weeks, *subscriptions.Service, *postgres.Tx) {
	t.Parallel()
	w := newWeeks(t, straight)
	tx, err := w.db.Begin(t.Context())
	w.ok(err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return w, &subscriptions.Service{Store: w.Store, Now: func() time.Time { return w.now }}, tx
}

// TestAChangeWaitsForAnother has a subscription deleted while it is being paused, as the service does with one whose receiver is gone: who
// names no version wants it deleted whatever else was changed.
func TestAChangeWaitsForAnother(t *testing.T) {
	w, service, tx := changing(t)
	_, err := service.Pause(postgres.WithTx(t.Context(), tx), lane, subscriptions.AnyVersion, "maintenance", subscriptions.Actor{})
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

// TestAChangeWhileSubscriptionsAreRead is committed between the reading of what is stored and of what has changed since. Whoever read them in
// the other order would have an event meet what was asked for after it.
func TestAChangeWhileSubscriptionsAreRead(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	accepted, err := w.Event(t.Context(), lane.Tenant, w.accept().ID)
	w.ok(err)
	then := func() []subscription.Subscription {
		list, _, err := w.SubscriptionsAt(t.Context(), []tenant.ID{lane.Tenant}, accepted.Position)
		if err != nil {
			t.Error(err)
		}
		return list
	}
	want := then() // and from here on the connection knows the statements
	tx, err := w.direct.Begin(t.Context())
	w.ok(err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.Exec(t.Context(), `LOCK TABLE subscriptions`)
	w.ok(err)
	service := &subscriptions.Service{Store: postgres.NewStore(w.direct, tagging{}), Now: func() time.Time { return w.now }}
	w.ok(service.Delete(postgres.WithTx(t.Context(), tx), lane, subscriptions.AnyVersion, subscriptions.Actor{}))
	read := make(chan []subscription.Subscription, 1)
	go func() { read <- then() }()
	w.oneWaits()
	w.ok(tx.Commit())
	if got := <-read; len(want) != 1 || !reflect.DeepEqual(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// TestAChangeWaitsForWhoeverWritesByTheState has a subscription paused while one of its deliveries is being retried: the sweep of the pause
// would look before the retry is there, and nobody would park it.
func TestAChangeWaitsForWhoeverWritesByTheState(t *testing.T) {
	w, service, tx := changing(t)
	states, err := w.LaneStates(postgres.WithTx(t.Context(), tx), []dispatch.Lane{lane})
	if w.ok(err); states[lane].Status != subscription.StatusActive {
		t.Fatalf("it is %s", states[lane].Status)
	}
	paused := make(chan error, 1)
	go func() {
		_, err := service.Pause(t.Context(), lane, subscriptions.AnyVersion, "maintenance", subscriptions.Actor{})
		paused <- err
	}()
	w.oneWaits()
	w.ok(tx.Commit())
	w.ok(<-paused)
}
