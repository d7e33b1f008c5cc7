package storetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"reflect"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// world is one check's database. It makes changes only by commands of the domain.
type world struct {
	T
	Database
	ctx    context.Context
	lastID *int
}

const (
	acme  tenant.ID = "acme"
	other tenant.ID = "other"
)

func newWorld(ctx context.Context, t T, db Database) *world {
	w := &world{T: t, Database: db, ctx: ctx, lastID: new(int)}
	for _, id := range []tenant.ID{acme, other} {
		w.ok(db.CreateTenant(ctx, access.Tenant{ID: id, Name: "Tenant " + string(id), Weight: tenant.DefaultWeight, CreatedAt: start}), "create a tenant")
	}
	return w
}

// with is the same world in another context, telling its findings to t.
func (w *world) with(ctx context.Context, t T) *world {
	return &world{T: t, Database: w.Database, ctx: ctx, lastID: w.lastID}
}

func (w *world) ok(err error, doing string) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: %v", doing, err)
	}
}

func (w *world) refused(err error, code problem.Code, doing string) {
	w.Helper()
	if !problem.Is(err, code) {
		w.Errorf("%s: got error %v, want a problem %s", doing, err, code)
	}
}

func equal[V any](w *world, what string, got, want V) {
	w.Helper()
	if !reflect.DeepEqual(got, want) {
		w.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// id makes IDs that sort in the order in which they were made, as ULIDs do, and are of about the time of what they name.
func (w *world) id(prefix string) string {
	*w.lastID++
	return fmt.Sprintf("%s%016d", ids.First(prefix, at(0))[:len(prefix)+10], *w.lastID)
}

var anActor = subscriptions.Actor{KeyID: "key_1", KeyName: "a key", TraceParent: "00-11111111111111111111111111111111-2222222222222222-01"}

func settings() subscription.Settings {
	return subscription.Settings{
		Name: "ERP", URL: "https://erp.example.com/hooks", EventTypes: subscription.Filter{"*"}, SourceSystem: "sap",
		Options: payload.DefaultOptions(), RetrySchedule: []time.Duration{30 * time.Second, time.Minute}, Timeout: 10 * time.Second, MaxInFlight: 16,
	}
}

func laneOf(s subscription.Subscription) dispatch.Lane {
	return dispatch.Lane{Tenant: s.Tenant, SubscriptionID: s.ID}
}

// subscribe creates a subscription; edit may be nil.
func (w *world) subscribe(owner tenant.ID, edit func(*subscription.Settings)) subscription.Subscription {
	w.Helper()
	wanted := settings()
	if edit != nil {
		edit(&wanted)
	}
	changes := subscription.Create(w.id("sub_"), owner, wanted, w.id("sec_"), at(0))
	created, err := subscription.Fold(changes)
	w.ok(err, "fold a new subscription")
	w.ok(w.AppendSubscription(w.ctx, subscription.Subscription{}, created, changes, anActor), "create a subscription")
	return created
}

// appended applies changes to a subscription and appends them.
func (w *world) appended(before subscription.Subscription, changes []subscription.Change) (subscription.Subscription, error) {
	w.Helper()
	after := before
	for _, c := range changes {
		w.ok(after.Apply(c), "apply a change of a subscription")
	}
	return after, w.AppendSubscription(w.ctx, before, after, changes, anActor)
}

// change is appended for a command that must succeed.
func (w *world) change(before subscription.Subscription, decide func(subscription.Subscription) ([]subscription.Change, error)) subscription.Subscription {
	w.Helper()
	changes, err := decide(before)
	w.ok(err, "decide on a subscription")
	after, err := w.appended(before, changes)
	w.ok(err, "append to a subscription")
	return after
}

func (w *world) pause(s subscription.Subscription, now time.Time) subscription.Subscription {
	w.Helper()
	return w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Pause("maintenance", now) })
}

func (w *world) resume(s subscription.Subscription, now time.Time) subscription.Subscription {
	w.Helper()
	return w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Resume(false, now) })
}

func (w *world) delete(s subscription.Subscription, now time.Time) subscription.Subscription {
	w.Helper()
	return w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Delete(now) })
}

// event makes an event that is ready to be appended.
func (w *world) event(owner tenant.ID, t event.Type, now time.Time) intake.Accepted {
	w.Helper()
	e := event.Sample(t, owner)
	e.ID = w.id("evt_")
	_, print, err := event.Seal(e)
	w.ok(err, "fingerprint an event")
	return intake.Accepted{Event: e, Fingerprint: print, TraceParent: anActor.TraceParent, At: now}
}

func (w *world) accept(owner tenant.ID, t event.Type, now time.Time) intake.Accepted {
	w.Helper()
	e := w.event(owner, t, now)
	w.ok(w.AppendEvents(w.ctx, []intake.Accepted{e}), "append an event")
	return e
}

// planned makes a new delivery of the event to the subscription, parked unless the subscription is active.
func (w *world) planned(s subscription.Subscription, e intake.Accepted, now time.Time, lease string) fanout.Scheduled {
	w.Helper()
	first := delivery.Scheduled{
		At: now, ID: w.id("dlv_"), Tenant: s.Tenant, EventID: e.ID, EventType: e.Type, SubscriptionID: s.ID,
		SubscriptionVersion: s.Version, BodyNumber: 1, Warnings: []string{"customer 12 is not in the directory"},
	}
	for field, value := range reflect.ValueOf(first).Fields() {
		if value.IsZero() {
			w.Errorf("a new delivery is made without its %s, which a store could lose unseen", field.Name)
		}
	}
	changes := delivery.Schedule(first)
	if s.Status != subscription.StatusActive {
		changes = delivery.ScheduleParked(first, "the subscription is "+string(s.Status))
	}
	d, err := delivery.Fold(changes)
	w.ok(err, "fold a new delivery")
	return fanout.Scheduled{Delivery: d, Changes: changes, TraceParent: e.TraceParent, AcceptedAt: e.At, Lease: lease}
}

func bodyOf(e intake.Accepted) fanout.Body {
	return fanout.Body{Tenant: e.TenantID, EventID: e.ID, Number: 1, Bytes: []byte(`{"eventId":"` + e.ID + "\",\"nul\":\"\\u0000\"}")}
}

// schedule schedules a delivery of a new event, leased if lease is not empty.
func (w *world) schedule(s subscription.Subscription, now time.Time, lease string) delivery.Delivery {
	w.Helper()
	return w.scheduleType(s, event.VisitReportApproved, now, lease)
}

func (w *world) scheduleType(s subscription.Subscription, t event.Type, now time.Time, lease string) delivery.Delivery {
	w.Helper()
	e := w.event(s.Tenant, t, now)
	planned := w.planned(s, e, now, lease)
	w.ok(w.InTx(w.ctx, func(ctx context.Context) error {
		if err := w.AppendEvents(ctx, []intake.Accepted{e}); err != nil {
			return err
		}
		return w.Schedule(ctx, fanout.Plan{Bodies: []fanout.Body{bodyOf(e)}, Scheduled: []fanout.Scheduled{planned}}, func(bool) {})
	}), "schedule a delivery")
	return planned.Delivery
}

// moved is what a command makes of a delivery, to be saved.
func (w *world) moved(d delivery.Delivery, lease string, decide func(delivery.Delivery) ([]delivery.Change, error)) dispatch.Saved {
	w.Helper()
	changes, err := decide(d)
	w.ok(err, "decide on a delivery")
	moved, err := dispatch.Move(d, changes)
	w.ok(err, "apply a change of a delivery")
	moved.Lease, moved.TraceParent = lease, anActor.TraceParent
	return moved
}

// saved saves what must not be stale, and returns the state after it.
func (w *world) saved(s dispatch.Saved) delivery.Delivery {
	w.Helper()
	stale, err := w.Save(w.ctx, []dispatch.Saved{s})
	w.ok(err, "save a delivery")
	if len(stale) > 0 {
		w.Fatalf("save a delivery: %v are stale", stale)
	}
	return s.After
}

func recorded(o delivery.Outcome, now time.Time) func(delivery.Delivery) ([]delivery.Change, error) {
	return func(d delivery.Delivery) ([]delivery.Change, error) {
		return d.Record(o, settings().RetrySchedule, 0.5, now)
	}
}

func success(now time.Time) delivery.Outcome {
	return delivery.Outcome{
		Kind: delivery.KindSucceeded, StartedAt: now, Duration: 42 * time.Millisecond, RequestHeaders: map[string]string{"X-Ordinavo-Timestamp": "now"},
		Status: 200, ResponseHeaders: map[string]string{"Content-Type": "text/plain"}, ResponseBody: []byte("ok\x00\xff"), TraceID: "1111",
	}
}

func failure(now time.Time, status int) delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindHTTPStatus, StartedAt: now, Duration: time.Second, Status: status, Error: "the receiver refused"}
}

// leasing is what is asked of every lane in which something is ready.
type leasing struct {
	now   time.Time
	slots int                   // of each lane; 0 stands for 100
	out   map[dispatch.Lane]int // of a lane already
	by    string                // empty for inc_1
}

// leased is what came of it.
type leased struct {
	dispatch.LeaseAnswer
	NextDue time.Time
}

// more is the lanes that have more.
func (l leased) more() map[dispatch.Lane]bool {
	more := map[dispatch.Lane]bool{}
	for lane, rest := range l.Lanes {
		if rest.More {
			more[lane] = true
		}
	}
	return more
}

// lease looks for what is ready, and leases it.
func (w *world) lease(l leasing) leased {
	w.Helper()
	found := w.look(dispatch.LookRequest{Now: l.now, Lanes: 1000})
	request := dispatch.LeaseRequest{Lease: cmp.Or(l.by, "inc_1"), Now: l.now}
	for _, lane := range found.Ready {
		request.Lanes = append(request.Lanes, dispatch.Asked{Lane: lane, Slots: cmp.Or(l.slots, 100), Out: l.out[lane]})
	}
	answer, err := w.LeaseReady(w.ctx, request)
	w.ok(err, "lease")
	return leased{answer, found.NextDue}
}

func (w *world) look(r dispatch.LookRequest) dispatch.LookAnswer {
	w.Helper()
	found, err := w.Look(w.ctx, r)
	w.ok(err, "look for what is ready")
	return found
}

// later makes a delivery that falls due at a time because its first attempt just failed.
func (w *world) later(s subscription.Subscription, due time.Time) delivery.Delivery {
	w.Helper()
	d := w.schedule(s, due.Add(-time.Hour), "inc_9")
	return w.saved(w.moved(d, "inc_9", func(d delivery.Delivery) ([]delivery.Change, error) {
		now := due.Add(-time.Minute)
		return d.Record(failure(now, 500), []time.Duration{time.Minute}, 0, now)
	}))
}

func idsOf(leased []dispatch.Leased) (ids []string) {
	for _, l := range leased {
		ids = append(ids, l.Delivery.ID)
	}
	return ids
}

func idsOfDeliveries(list []delivery.Delivery) (ids []string) {
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

// read is the delivery as the store shows it.
func (w *world) read(d delivery.Delivery) delivery.Delivery {
	w.Helper()
	got, err := w.Delivery(w.ctx, d.Tenant, d.ID)
	w.ok(err, "read delivery "+d.ID)
	return got
}

// stands checks that the delivery is stored as wanted and that its stream folds to the same.
func (w *world) stands(want delivery.Delivery, held bool) {
	w.Helper()
	changes, err := w.DeliveryChanges(w.ctx, want.Tenant, want.ID)
	w.ok(err, "read the stream of "+want.ID)
	folded, err := delivery.Fold(changes)
	w.ok(err, "fold the stream of "+want.ID)
	equal(w, "the fold of the stream", folded, want)
	if held {
		want.Status = delivery.StatusDelivering
	}
	equal(w, "the stored delivery", w.read(want), want)
}

func hashOf(text string) access.Hash { return sha256.Sum256([]byte(text)) }

// loadEvent is the event of the delivery as it was accepted.
func (w *world) loadEvent(d delivery.Delivery) intake.Accepted {
	w.Helper()
	found, err := w.Events(w.ctx, []intake.EventKey{{Tenant: d.Tenant, ID: d.EventID}})
	w.ok(err, "load the event of "+d.ID)
	if len(found) != 1 {
		w.Fatalf("%d events are called %s", len(found), d.EventID)
	}
	return found[0]
}
