package retention_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const day = 24 * time.Hour

var (
	start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	ages  = retention.Ages{Events: 30 * day, Attempts: 20 * day, DeadLetters: 90 * day}
)

// world is a database with one subscription, and a retention on it.
type world struct {
	*testing.T
	*sqlite.Store
	db        *sqlite.DB
	retention *retention.Retention
	now       time.Time
	made      int
}

// An hour's counts go as soon as something that they count may have gone: later it would be told as missing.
func TestCountsGoWithTheFirstOfWhatTheyCount(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range []retention.Cutoffs{{Events: early, Attempts: late}, {Events: late, Attempts: early}} {
		if !c.Counted().Equal(late) {
			t.Errorf("%+v: counts before %s go", c, c.Counted())
		}
	}
}

type plain struct{}

func (plain) Seal(p []byte, _ ...string) ([]byte, error) { return p, nil }
func (plain) Open(p []byte, _ ...string) ([]byte, error) { return p, nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "retention.db"))
	if err == nil {
		err = db.Migrate()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{T: t, db: db, Store: sqlite.NewStore(db, plain{}), now: start}
	w.retention = retention.New(w.Store, ages, func() time.Time { return w.now })
	w.ok(w.CreateTenant(t.Context(), access.Tenant{ID: "acme", Name: "Acme", Weight: 1, CreatedAt: start}))
	changes := subscription.Create("sub_1", "acme", subscription.Settings{Name: "n", URL: "https://example.com", EventTypes: subscription.Filter{"*"},
		Options: payload.DefaultOptions(), RetrySchedule: []time.Duration{time.Hour}, Timeout: time.Second, MaxInFlight: 16}, "sec_1", start)
	after, err := subscription.Fold(changes)
	w.ok(err)
	w.ok(w.AppendSubscription(t.Context(), subscription.Subscription{}, after, changes, subscriptions.Actor{}))
	return w
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// id is made of the time, as a delivery's must be.
func (w *world) id(prefix string) string {
	w.made++
	var id ulid.ULID
	w.ok(id.SetTime(uint64(w.now.UnixMilli())))
	w.ok(id.SetEntropy([]byte(fmt.Sprintf("%010d", w.made))))
	return prefix + id.String()
}

func (w *world) accept() intake.Accepted {
	w.Helper()
	e := intake.Accepted{Event: event.Sample(event.VisitReportApproved, "acme"), At: w.now}
	e.ID = w.id("evt_")
	w.ok(w.AppendEvents(w.Context(), []intake.Accepted{e}))
	return e
}

// deliver fans the event out, and lets its delivery end as it may; with no outcomes it stays open.
func (w *world) deliver(e intake.Accepted, outcomes ...delivery.Outcome) (id string) {
	w.Helper()
	changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: w.id("dlv_"), Tenant: "acme", EventID: e.ID, EventType: e.Type, SubscriptionID: "sub_1", SubscriptionVersion: 1, BodyNumber: 1})
	d, err := delivery.Fold(changes)
	w.ok(err)
	plan := fanout.Plan{Bodies: []fanout.Body{{Tenant: "acme", EventID: e.ID, Number: 1, Bytes: []byte("{}")}},
		Scheduled: []fanout.Scheduled{{Delivery: d, Changes: changes, AcceptedAt: w.now}}}
	w.ok(w.InTx(w.Context(), func(ctx context.Context) error { return w.Schedule(ctx, plan, func(bool) {}) }))
	w.handled(e)
	for _, o := range outcomes {
		changes, err := d.Record(o, []time.Duration{time.Hour}, 0, w.now)
		w.ok(err)
		moved, err := dispatch.Move(d, changes)
		w.ok(err)
		stale, err := w.Save(w.Context(), []dispatch.Saved{moved})
		if w.ok(err); len(stale) > 0 {
			w.Fatal("stale")
		}
		d = moved.After
	}
	return d.ID
}

// handled moves fan-out's offset past the event.
func (w *world) handled(e intake.Accepted) {
	w.Helper()
	stored, err := w.Event(w.Context(), "acme", e.ID)
	w.ok(err)
	w.ok(w.db.Update(w.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES (?1, ?2, ?3)
			ON CONFLICT DO UPDATE SET position = ?3`, fanout.Group, records.TopicEvents, stored.Position)
		return err
	}))
}

// purge lets the retention work until it rests.
func (w *world) purge() {
	w.Helper()
	for range 100 {
		next, err := w.retention.Step(w.Context())
		w.ok(err)
		if !next.After(w.now) {
			w.Fatalf("wants to be called again at %s: who waits to write gets no turn", next)
		}
		if next.Sub(w.now) >= time.Second {
			return
		}
	}
	w.Fatal("it does not rest")
}

// left is what is there of events and deliveries.
func (w *world) left() (events, deliveries []string) {
	w.Helper()
	list, err := w.AcceptedEvents(w.Context(), queries.EventFilter{Tenant: "acme", Limit: 5000})
	w.ok(err)
	for _, e := range list {
		events = append(events, e.ID)
	}
	found, err := w.Deliveries(w.Context(), queries.DeliveryFilter{Tenant: "acme", Limit: 5000})
	w.ok(err)
	for _, d := range found {
		deliveries = append(deliveries, d.ID)
	}
	return events, deliveries
}

var (
	succeeded = delivery.Outcome{Kind: delivery.KindSucceeded}
	gone      = delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410}
)

func TestWhatIsOldGoesAndWhatIsNeededStays(t *testing.T) {
	w := newWorld(t)
	a, b, c, unhandledLater := w.accept(), w.accept(), w.accept(), ""
	done, dead, open := w.deliver(a, succeeded), w.deliver(b, gone), w.deliver(c)
	lonely := w.accept() // nobody wanted it
	w.handled(lonely)
	unhandledLater = w.accept().ID // and this one is not fanned out yet

	all := []string{a.ID, b.ID, c.ID, lonely.ID, unhandledLater}
	w.keeps(20*day, all, []string{done, dead, open})
	w.keeps(20*day+time.Millisecond, all, []string{dead, open})
	if changes, err := w.DeliveryChanges(t.Context(), "acme", done); err != nil || len(changes) != 0 {
		t.Errorf("%d records of its stream are left, %v", len(changes), err)
	}
	w.keeps(30*day+time.Millisecond, []string{b.ID, c.ID, unhandledLater}, []string{dead, open})
	w.keeps(90*day+time.Millisecond, []string{c.ID, unhandledLater}, []string{open})
	w.keeps(3650*day, []string{c.ID, unhandledLater}, []string{open})

	// What stayed is whole.
	found, err := w.Events(t.Context(), []intake.EventKey{{Tenant: "acme", ID: unhandledLater}})
	if err != nil || len(found) != 1 || found[0].ID != unhandledLater {
		t.Errorf("the event that is not fanned out is %+v, %v", found, err)
	}
	d, err := w.Delivery(t.Context(), "acme", open)
	w.ok(err)
	if body, err := w.Body(t.Context(), d); err != nil || string(body) != "{}" {
		t.Errorf("the open delivery's body is %s, %v", body, err)
	}
	if s, err := w.LoadSubscription(t.Context(), dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}); err != nil || s.Version != 1 {
		t.Errorf("the subscription is %+v, %v", s, err)
	}
}

// asked is a store that answers as told.
type asked struct {
	cutoffs []retention.Cutoffs
	limit   int
	deleted int
	err     error
}

func (a *asked) Purge(_ context.Context, before retention.Cutoffs, limit int) (int, error) {
	a.cutoffs, a.limit = append(a.cutoffs, before), limit
	return a.deleted, a.err
}

func TestAStep(t *testing.T) {
	store := &asked{deleted: 7}
	r := retention.New(store, ages, func() time.Time { return start })
	next, err := r.Step(t.Context())
	want := retention.Cutoffs{Now: start, Events: start.Add(-30 * day), Attempts: start.Add(-20 * day), DeadLetters: start.Add(-90 * day)}
	if err != nil || store.cutoffs[0] != want || store.limit < 1 || store.limit > 1000 {
		t.Errorf("asked for %+v, %d at once, %v", store.cutoffs, store.limit, err)
	}
	if !next.After(start) || next.After(start.Add(time.Second)) {
		t.Errorf("with more to delete it goes on at %s", next)
	}
	store.deleted = 0
	if next, err = r.Step(t.Context()); err != nil || next.Before(start.Add(10*time.Second)) {
		t.Errorf("with nothing to delete it goes on at %s, %v", next, err)
	}
	store.err = errors.New("away")
	if _, err = r.Step(t.Context()); !errors.Is(err, store.err) {
		t.Errorf("got %v", err)
	}
}

// What one purge deletes at most may not bring it to the last tenant, and meanwhile more grows old of the first one.
func TestAPurgeGoesOnWhereTheLastOneStopped(t *testing.T) {
	w := newWorld(t)
	old := start.Add(-time.Hour)
	growOld := func(owner tenant.ID) {
		t.Helper()
		w.ok(w.AddAttempts(t.Context(), 1, map[metrics.Key]int64{{Tenant: owner, Minute: old.Unix() / 60, SubscriptionID: "sub_1"}: 1}))
	}
	left := func(owner tenant.ID) int {
		t.Helper()
		cells, err := w.AttemptCells(t.Context(), metrics.Query{Tenant: owner, Since: old, Until: start, Interval: time.Hour}, 1)
		w.ok(err)
		return len(cells)
	}
	for _, owner := range []tenant.ID{"b", "c"} {
		w.ok(w.CreateTenant(t.Context(), access.Tenant{ID: owner, Name: "n", Weight: 1, CreatedAt: start}))
		growOld(owner)
	}
	purge := func() {
		t.Helper()
		_, err := w.Purge(t.Context(), retention.Cutoffs{Now: start, Attempts: start}, 1)
		w.ok(err)
	}
	purge()
	growOld("acme")
	purge()
	if left("acme") != 1 || left("b") != 0 || left("c") != 0 {
		t.Errorf("of acme %d are left, of b %d, of c %d: it began anew", left("acme"), left("b"), left("c"))
	}
	purge()
	purge()
	if left("acme") != 0 {
		t.Error("the next round leaves out the first tenant")
	}
}

// Where deliveries are kept for longer than events, an event that has one goes with it, and is not looked at again and again until then: that
// would be all of them, with each batch.
func TestAnEventThatWaitsForItsDeliveryIsPassedOnce(t *testing.T) {
	w := newWorld(t)
	ages := retention.Ages{Events: 7 * day, Attempts: 30 * day, DeadLetters: 90 * day}
	w.retention = retention.New(w.Store, ages, func() time.Time { return w.now })
	a, b, lonely, c := w.accept(), w.accept(), w.accept(), w.accept()
	done, dead, open := w.deliver(a, succeeded), w.deliver(b, gone), w.deliver(c)
	w.keeps(6*day+time.Millisecond, []string{a.ID, b.ID, lonely.ID, c.ID}, []string{done, dead, open})
	w.keeps(7*day+time.Millisecond, []string{a.ID, b.ID, c.ID}, []string{done, dead, open})
	w.keeps(30*day+time.Millisecond, []string{b.ID, c.ID}, []string{dead, open})
	w.keeps(90*day+time.Millisecond, []string{c.ID}, []string{open})

	passed := w.accept()
	w.deliver(passed, succeeded)
	stays := func() bool {
		t.Helper()
		w.purge()
		events, _ := w.left()
		return slices.Contains(events, passed.ID)
	}
	w.now = w.now.Add(8 * day)
	if !stays() {
		t.Fatal("an event went before its delivery")
	}
	w.exec(`DELETE FROM closed_deliveries WHERE event_id = ?1`, passed.ID) // as nobody does: it shows who looks again
	if !stays() {
		t.Error("what was passed is looked at again")
	}
	w.retention = retention.New(sqlite.NewStore(w.db, plain{}), ages, func() time.Time { return w.now })
	if stays() {
		t.Error("a process that begins does not look at all events once")
	}
}

// keeps purges so long after the start, and compares what is left.
func (w *world) keeps(after time.Duration, events, deliveries []string) {
	w.Helper()
	w.now = start.Add(after)
	w.purge()
	gotEvents, gotDeliveries := w.left()
	slices.Sort(gotEvents)
	slices.Sort(gotDeliveries)
	if !slices.Equal(gotEvents, events) || !slices.Equal(gotDeliveries, deliveries) {
		w.Errorf("after %s there are events %v and deliveries %v, want %v and %v", after, gotEvents, gotDeliveries, events, deliveries)
	}
}

func (w *world) exec(query string, args ...any) {
	w.Helper()
	w.ok(w.db.Update(w.Context(), func(ctx context.Context, tx *sqlite.Tx) error { _, err := tx.Exec(ctx, query, args...); return err }))
}
