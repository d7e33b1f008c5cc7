package sweep_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is a database with one subscription, and a sweeper on it.
type world struct {
	*testing.T
	*sqlite.Store
	sweeper *sweep.Sweeper
	now     time.Time
	sub     subscription.Subscription
	made    int
}

type plain struct{}

func (plain) Seal(p []byte, _ ...string) ([]byte, error) { return p, nil }
func (plain) Open(p []byte, _ ...string) ([]byte, error) { return p, nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "sweep.db"))
	if err == nil {
		err = db.Migrate()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{T: t, Store: sqlite.NewStore(db, plain{}), now: start}
	w.sweeper = sweep.New(w.Store, func() time.Time { return w.now })
	w.ok(w.CreateTenant(t.Context(), access.Tenant{ID: "acme", Name: "Acme", Weight: 1, CreatedAt: start}))
	w.subscribe()
	return w
}

// subscribe makes another subscription, which is the one that is changed and scheduled for from then on.
func (w *world) subscribe() {
	w.Helper()
	w.sub = subscription.Subscription{}
	w.change(subscription.Create("sub_"+rand.Text(), "acme", subscription.Settings{Name: "n", URL: "https://example.com", EventTypes: subscription.Filter{"*"},
		Options: payload.DefaultOptions(), RetrySchedule: []time.Duration{time.Hour}, Timeout: time.Second, MaxInFlight: 16}, "sec_1", start), nil)
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// change appends to the subscription's stream, which notes the sweep.
func (w *world) change(changes []subscription.Change, err error) {
	w.Helper()
	w.ok(err)
	before := w.sub
	for _, c := range changes {
		w.ok(w.sub.Apply(c))
	}
	w.ok(w.AppendSubscription(w.Context(), before, w.sub, changes, subscriptions.Actor{}))
}

// schedule begins deliveries that are due, all of one event.
func (w *world) schedule(n int, lease string) (ids []string) {
	w.Helper()
	w.made++
	e := event.Sample(event.VisitReportApproved, "acme")
	e.ID = fmt.Sprintf("evt_%026d", w.made)
	plan := fanout.Plan{Bodies: []fanout.Body{{Tenant: "acme", EventID: e.ID, Number: 1, Bytes: []byte("{}")}}}
	for range n {
		w.made++
		changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: fmt.Sprintf("dlv_%026d", w.made), Tenant: "acme", EventID: e.ID, EventType: e.Type,
			SubscriptionID: w.sub.ID, SubscriptionVersion: 1, BodyNumber: 1})
		d, err := delivery.Fold(changes)
		w.ok(err)
		ids = append(ids, d.ID)
		plan.Scheduled = append(plan.Scheduled, fanout.Scheduled{Delivery: d, Changes: changes, AcceptedAt: w.now, Lease: lease})
	}
	w.ok(w.InTx(w.Context(), func(ctx context.Context) error {
		return errors.Join(w.AppendEvents(ctx, []intake.Accepted{{Event: e, At: w.now}}), w.Schedule(ctx, plan, func(bool) {}))
	}))
	return ids
}

// step is one step of the sweeper.
func (w *world) step() time.Time {
	w.Helper()
	next, err := w.sweeper.Step(w.Context())
	w.ok(err)
	return next
}

// sweep goes on until there is nothing left to sweep, and counts the steps.
func (w *world) sweep() (steps int) {
	w.Helper()
	for !w.step().IsZero() {
		if steps++; steps > 100 {
			w.Fatal("the sweep does not end")
		}
	}
	return steps
}

// stand counts the deliveries by status.
func (w *world) stand(ids []string) map[delivery.Status]int {
	w.Helper()
	counts := map[delivery.Status]int{}
	for _, id := range ids {
		d, err := w.Delivery(w.Context(), "acme", id)
		w.ok(err)
		counts[d.Status]++
	}
	return counts
}

func (w *world) all(ids []string, want delivery.Status) {
	w.Helper()
	if got := w.stand(ids); got[want] != len(ids) {
		w.Errorf("deliveries are %v, want %d %s", got, len(ids), want)
	}
}

// leased is what a dispatcher gets now.
func (w *world) leased() []dispatch.Leased {
	w.Helper()
	found, err := w.Look(w.Context(), dispatch.LookRequest{Now: w.now, Lanes: 100})
	w.ok(err)
	request := dispatch.LeaseRequest{Lease: "inc_1", Now: w.now}
	for _, lane := range found.Ready {
		request.Lanes = append(request.Lanes, dispatch.Asked{Lane: lane, Slots: 1000})
	}
	answer, err := w.LeaseReady(w.Context(), request)
	w.ok(err)
	return answer.Leased
}

func TestNothingToSweep(t *testing.T) {
	w := newWorld(t)
	ids := w.schedule(1, "")
	if next := w.step(); !next.IsZero() {
		t.Errorf("wants to be called at %s", next)
	}
	w.all(ids, delivery.StatusPending)

	idle := sweep.New(broken{w.Store, "InTx"}, func() time.Time { return w.now })
	if next, err := idle.Step(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("took the writer to look: %s, %v", next, err)
	}
}

func TestALaneThroughItsLife(t *testing.T) {
	w := newWorld(t)
	first := w.schedule(3, "")
	w.change(w.sub.Pause("maintenance", w.now))
	w.sweep()
	w.all(first, delivery.StatusParked)

	w.change(w.sub.Resume(false, w.now))
	w.sweep()
	w.all(first, delivery.StatusPending)
	order := w.leased()
	if len(order) != 3 || order[0].Delivery.ID != first[0] || order[2].Delivery.ID != first[2] {
		t.Errorf("sent in the order %+v", order)
	}
	w.ok(w.GiveBack(t.Context(), "inc_1", order))

	w.change(w.sub.Disable("gone", w.now), nil)
	w.sweep()
	w.all(first, delivery.StatusParked)
	w.change(w.sub.Resume(true, w.now))
	later := w.schedule(2, "") // due already, so it is not skipped
	w.sweep()
	w.all(first, delivery.StatusCancelled)
	w.all(later, delivery.StatusPending)

	w.change(w.sub.Pause("", w.now))
	w.sweep()
	w.change(w.sub.Delete(w.now))
	w.sweep()
	w.all(later, delivery.StatusCancelled)
}

func TestASweepOfManyBatches(t *testing.T) {
	w := newWorld(t)
	ids := w.schedule(1001, "")
	w.change(w.sub.Pause("", w.now))
	if next := w.step(); !next.Equal(w.now) {
		t.Errorf("the next batch waits until %s", next)
	}
	if got := w.stand(ids); got[delivery.StatusParked] != 500 {
		t.Errorf("one step moved %v", got)
	}
	if len(w.leased()) != 0 {
		t.Error("leased from a lane that is being swept")
	}
	w.sweep()
	w.all(ids, delivery.StatusParked)
}

func TestANewerChangeReplacesASweepInTheMiddle(t *testing.T) {
	w := newWorld(t)
	ids := w.schedule(501, "")
	w.change(w.sub.Pause("", w.now))
	w.step()
	w.change(w.sub.Resume(false, w.now))
	w.sweep()
	w.all(ids, delivery.StatusPending)
	if len(w.leased()) == 0 {
		t.Error("the lane is still being swept")
	}
}

// A delivery that is being attempted while its subscription is paused is parked when the attempt has failed.
func TestASweepWaitsForWhatIsBeingAttempted(t *testing.T) {
	for name, c := range map[string]struct {
		outcome delivery.Outcome
		want    delivery.Status
	}{
		"failed":    {delivery.Outcome{Kind: delivery.KindTimeout}, delivery.StatusParked},
		"succeeded": {delivery.Outcome{Kind: delivery.KindSucceeded}, delivery.StatusSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			held, waiting := w.schedule(1, "inc_1"), w.schedule(1, "")
			w.change(w.sub.Pause("", w.now))
			w.step() // moves what waits
			for range 3 {
				// Once more for other lanes, which must not wait for this one, and then a pause.
				if once, next := w.step(), w.step(); !once.Equal(w.now) || !next.After(w.now) || next.After(w.now.Add(time.Second)) {
					t.Fatalf("looks again at %s and %s", once, next)
				}
			}
			w.all(waiting, delivery.StatusParked)
			w.all(held, delivery.StatusDelivering)
			w.finish(held[0], c.outcome)
			w.sweep()
			w.all(held, c.want)
		})
	}
}

// A lane that has much to move is not kept waiting by one whose attempt hangs.
func TestALaneThatWaitsDoesNotSlowDownAnother(t *testing.T) {
	w := newWorld(t)
	w.schedule(1, "inc_1")
	w.change(w.sub.Pause("", w.now))
	w.subscribe()
	ids := w.schedule(3000, "")
	w.change(w.sub.Pause("", w.now))
	for steps := 0; w.stand(ids[2999:])[delivery.StatusParked] == 0; steps++ {
		w.now = w.now.Add(time.Millisecond)
		if next := w.step(); !next.Equal(w.now) || steps > 20 {
			t.Fatalf("after %d steps the next is at %s, and %v", steps, next, w.stand(ids))
		}
	}
	w.all(ids, delivery.StatusParked)
	for range 3 {
		w.now = w.now.Add(time.Millisecond)
		if next := w.step(); next.After(w.now) {
			return
		}
	}
	t.Error("no pause follows although nothing moves any more")
}

// finish records an outcome as the dispatcher does.
func (w *world) finish(id string, o delivery.Outcome) {
	w.Helper()
	stream, err := w.DeliveryChanges(w.Context(), "acme", id)
	w.ok(err)
	before, err := delivery.Fold(stream)
	w.ok(err)
	changes, err := before.Record(o, w.sub.RetrySchedule, 0, w.now)
	w.ok(err)
	finished, err := dispatch.Move(before, changes)
	w.ok(err)
	finished.Lease = "inc_1"
	stale, err := w.Save(w.Context(), []dispatch.Saved{finished})
	if w.ok(err); len(stale) > 0 {
		w.Fatal("stale")
	}
}

// What is being attempted was not parked, so that releasing and skipping do not wait for it.
func TestReleasingDoesNotWaitForWhatIsBeingAttempted(t *testing.T) {
	for _, skip := range []bool{false, true} {
		w := newWorld(t)
		w.change(w.sub.Pause("", w.now))
		w.sweep()
		held := w.schedule(1, "inc_1")
		w.change(w.sub.Resume(skip, w.now))
		w.sweep()
		w.all(held, delivery.StatusDelivering)
	}
}

func TestCancellingWaitsForWhatIsBeingAttempted(t *testing.T) {
	w := newWorld(t)
	held := w.schedule(1, "inc_1")
	w.change(w.sub.Delete(w.now))
	w.step()
	w.finish(held[0], delivery.Outcome{Kind: delivery.KindTimeout})
	w.sweep()
	w.all(held, delivery.StatusCancelled)
}

// TestASweepTellsWhatItEnds holds that a delivery that a sweep closes is counted as one that an attempt closes, once that is committed.
func TestASweepTellsWhatItEnds(t *testing.T) {
	w := newWorld(t)
	ended := map[delivery.Status]int{}
	tell := func(_ context.Context, status delivery.Status, n int) { ended[status] += n }
	w.sweeper.Ended = tell
	w.schedule(3, "")
	w.change(w.sub.Pause("", w.now))
	w.sweep()
	if len(ended) > 0 {
		t.Errorf("parking ended %v", ended)
	}
	w.change(w.sub.Resume(true, w.now))
	failing := sweep.New(broken{w.Store, "EndSweep"}, func() time.Time { return w.now })
	failing.Ended = tell
	if _, err := failing.Step(t.Context()); err == nil || len(ended) > 0 {
		t.Errorf("a step that failed (%v) ended %v", err, ended)
	}
	w.sweeper = sweep.New(&overtaken{Store: w.Store}, func() time.Time { return w.now })
	w.sweeper.Ended = tell
	w.sweep()
	if !maps.Equal(ended, map[delivery.Status]int{delivery.StatusCancelled: 3}) {
		t.Errorf("skipping 3 ended %v", ended)
	}
}

// overtaken is a store in which somebody else had the first delivery of the first batch.
type overtaken struct {
	*sqlite.Store
	over bool
}

func (o *overtaken) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	if o.over {
		return o.Store.Save(ctx, saved)
	}
	o.over = true
	_, err := o.Store.Save(ctx, saved[1:])
	return []int{0}, err
}

// broken is a store in which one call fails.
type broken struct {
	*sqlite.Store
	call string
}

var errAway = errors.New("away")

func (b broken) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if b.call == "InTx" {
		return errAway
	}
	return b.Store.InTx(ctx, fn)
}

func (b broken) NextSweep(ctx context.Context) (sweep.Sweep, bool, error) {
	s, found, err := b.Store.NextSweep(ctx)
	return s, found, b.at("NextSweep", err)
}

func (b broken) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	stale, err := b.Store.Save(ctx, saved)
	return stale, b.at("Save", err)
}

func (b broken) EndSweep(ctx context.Context, s sweep.Sweep, done bool, now time.Time) error {
	return b.at("EndSweep", b.Store.EndSweep(ctx, s, done, now))
}

func (b broken) at(call string, err error) error {
	if b.call == call {
		return errAway
	}
	return err
}

func TestAStepThatFailsMovesNothing(t *testing.T) {
	for _, call := range []string{"NextSweep", "InTx", "Save", "EndSweep"} {
		w := newWorld(t)
		ids := w.schedule(2, "")
		w.change(w.sub.Pause("", w.now))
		sweeper := sweep.New(broken{w.Store, call}, func() time.Time { return w.now })
		if _, err := sweeper.Step(t.Context()); !errors.Is(err, errAway) {
			t.Errorf("%s: got %v", call, err)
		}
		w.all(ids, delivery.StatusPending)
		w.sweep()
		w.all(ids, delivery.StatusParked)
	}
}

// stuck is a store in which no delivery of one lane can be saved.
type stuck struct {
	*sqlite.Store
	lane dispatch.Lane
}

func (s stuck) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	for _, d := range saved {
		if dispatch.LaneOf(d.Before) == s.lane {
			return nil, errAway
		}
	}
	return s.Store.Save(ctx, saved)
}

// TestALaneThatCannotBeSweptHoldsUpNoOther has what is stored of one lane damaged: those of other tenants wait for nobody to mend it.
func TestALaneThatCannotBeSweptHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	first := w.schedule(2, "")
	w.change(w.sub.Pause("", w.now))
	w.sweeper = sweep.New(stuck{w.Store, dispatch.LaneOfSubscription(&w.sub)}, func() time.Time { return w.now })
	w.subscribe()
	w.now = w.now.Add(time.Second)
	ids := w.schedule(2, "")
	w.change(w.sub.Pause("", w.now))
	failures := 0
	for range 6 {
		w.now = w.now.Add(time.Second)
		if _, err := w.sweeper.Step(t.Context()); errors.Is(err, errAway) {
			failures++
		}
	}
	w.all(ids, delivery.StatusParked)
	w.all(first, delivery.StatusPending)
	if failures < 2 {
		t.Errorf("the lane was tried %d times", failures)
	}
}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		change subscription.Change
		want   sweep.Action
	}{
		{subscription.Paused{}, sweep.Park}, {subscription.Disabled{}, sweep.Park}, {subscription.Deleted{}, sweep.Cancel},
		{subscription.Resumed{}, sweep.Release}, {subscription.Resumed{SkipParked: true}, sweep.Skip},
		{subscription.EndpointChanged{}, ""}, {subscription.Created{}, ""},
	} {
		if got, needed := sweep.ActionFor(c.change); got != c.want || needed != (c.want != "") {
			t.Errorf("%T asks for %q, %t", c.change, got, needed)
		}
	}
	for status, want := range map[subscription.Status]sweep.Action{
		subscription.StatusActive: sweep.Release, subscription.StatusPaused: sweep.Park, subscription.StatusDisabled: sweep.Park,
		subscription.StatusDeleted: sweep.Cancel, "a new one": sweep.Park,
	} {
		if got := sweep.ActionForStatus(status); got != want {
			t.Errorf("%s asks for %s", status, got)
		}
	}
}
