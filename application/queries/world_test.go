package queries_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is a database with the real fan-out on it.
type world struct {
	testing.TB
	*sqlite.Store
	db     *sqlite.DB
	fanOut *fanout.FanOut
	events *queries.Events
	now    time.Time
	made   int
	panics map[string]bool // the fan-out of these events
}

type plain struct{}

func (plain) Seal(p []byte, _ ...string) ([]byte, error) { return p, nil }
func (plain) Open(p []byte, _ ...string) ([]byte, error) { return p, nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "queries.db"))
	if err == nil {
		err = db.Migrate()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{TB: t, db: db, Store: sqlite.NewStore(db, plain{}), now: start, panics: map[string]bool{}}
	w.events = &queries.Events{Reader: w.Store, Now: func() time.Time { return w.now }}
	w.fanOut = fanout.New(fanout.Config{Store: w.Store, Gate: w, Observer: w, Now: func() time.Time { return w.now }, NewID: w.id})
	w.tenant("acme")
	return w
}

func (w *world) id(prefix string) string {
	w.made++
	return fmt.Sprintf("%s%026d", prefix, w.made)
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) tenant(id tenant.ID) {
	w.Helper()
	w.ok(w.CreateTenant(w.Context(), access.Tenant{ID: id, Name: "n", Weight: tenant.DefaultWeight, CreatedAt: start}))
}

func (w *world) Enabled(ctx context.Context, id tenant.ID, f tenant.Feature) (bool, error) {
	return w.TenantHasFeature(ctx, id, f)
}

func (w *world) FanOut(_ context.Context, e intake.Accepted) (string, func(int, error)) {
	if w.panics[e.ID] {
		panic("it fell")
	}
	return "", func(int, error) {}
}

func (w *world) SubscriptionUnreadable(context.Context, fanout.SubscriptionChange) {}

func (w *world) SubscriptionLost(context.Context, dispatch.Lane) {}

func (w *world) RecordUnreadable(context.Context, fanout.Record) {}

func (w *world) EventSetAside(context.Context, fanout.SetAside) {}

func (w *world) subscribe(owner tenant.ID, types ...string) subscription.Subscription {
	w.Helper()
	return w.change(subscription.Subscription{}, subscription.Create(w.id("sub_"), owner, subscription.Settings{Name: "n", URL: "https://example.com/hook", EventTypes: types,
		Options: payload.DefaultOptions(), RetrySchedule: []time.Duration{time.Minute}, Timeout: time.Second, MaxInFlight: 4}, "sec_1", w.now)...)
}

func (w *world) change(before subscription.Subscription, changes ...subscription.Change) subscription.Subscription {
	w.Helper()
	after := before
	for _, c := range changes {
		w.ok(after.Apply(c))
	}
	w.ok(w.AppendSubscription(w.Context(), before, after, changes, subscriptions.Actor{}))
	return after
}

func (w *world) accept(owner tenant.ID, t event.Type) string {
	w.Helper()
	e := event.Sample(t, owner)
	e.ID = w.id("evt_")
	w.ok(w.AppendEvents(w.Context(), []intake.Accepted{{Event: e, At: w.now}}))
	return e.ID
}

// handle fans out an event, and moves the group's offset with it.
func (w *world) handle(owner tenant.ID, id string) {
	w.Helper()
	e, err := w.Event(w.Context(), owner, id)
	w.ok(err)
	w.ok(w.db.Update(w.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES (?1, ?2, ?3)
			ON CONFLICT DO UPDATE SET position = ?3`, fanout.Group, records.TopicEvents, e.Position)
		return errors.Join(err, w.fanOut.Handle(ctx, []fanout.Record{{Position: e.Position, Keys: []intake.EventKey{{Tenant: owner, ID: id}}}}))
	}))
}

// delivery is that of an event to the one subscription that gets it.
func (w *world) delivery(s subscription.Subscription) delivery.Delivery {
	w.Helper()
	id := w.accept(s.Tenant, event.VisitReportApproved)
	w.handle(s.Tenant, id)
	found, err := w.Deliveries(w.Context(), queries.DeliveryFilter{Tenant: s.Tenant, EventID: id, Limit: 10})
	if w.ok(err); len(found) != 1 {
		w.Fatalf("%d deliveries", len(found))
	}
	return found[0]
}

// lease gives the delivery to a dispatcher.
func (w *world) lease(d delivery.Delivery) {
	w.Helper()
	_, err := w.Look(w.Context(), dispatch.LookRequest{Now: w.now})
	w.ok(err)
	asked := []dispatch.Asked{{Lane: dispatch.Lane{Tenant: d.Tenant, SubscriptionID: d.SubscriptionID}, Slots: 10}}
	answer, err := w.LeaseReady(w.Context(), dispatch.LeaseRequest{Lease: "inc_1", Now: w.now, Lanes: asked})
	if w.ok(err); len(answer.Leased) != 1 || answer.Leased[0].Delivery.ID != d.ID {
		w.Fatalf("leased %+v", answer.Leased)
	}
}

// move saves what a command decides.
func (w *world) move(d delivery.Delivery, lease string, changes []delivery.Change, err error) delivery.Delivery {
	w.Helper()
	w.ok(err)
	moved, err := dispatch.Move(d, changes)
	w.ok(err)
	moved.Lease = lease
	stale, err := w.Save(w.Context(), []dispatch.Saved{moved})
	if w.ok(err); len(stale) > 0 {
		w.Fatal("stale")
	}
	return moved.After
}

// record saves an outcome of a leased attempt.
func (w *world) record(d delivery.Delivery, o delivery.Outcome) delivery.Delivery {
	w.Helper()
	w.lease(d)
	changes, err := d.Record(o, []time.Duration{time.Minute}, 0, w.now)
	return w.move(d, "inc_1", changes, err)
}
