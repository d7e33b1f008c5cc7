package fanout_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// ending is a store that says only later how the transaction has ended, as one does whose transaction goes on.
type ending struct {
	*world
	fails error
	ended func(committed bool)
}

func (e *ending) Schedule(_ context.Context, _ fanout.Plan, ended func(bool)) error {
	e.ended = ended
	return e.fails
}

func (e *ending) handle(t *testing.T) error {
	t.Helper()
	f := fanout.New(fanout.Config{Store: e, Gate: e, Handover: e, Observer: spans{e.world}, Now: func() time.Time { return start }, NewID: e.newID})
	e.subscribe(acme, "sub_1", settings("*"))
	return f.Handle(t.Context(), e.take(sample("evt_1", event.VisitReportApproved)))
}

// What was reserved is handed over when the transaction ends, however long that takes after its plan was stored.
func TestWhatIsReservedIsKeptUntilTheTransactionEnds(t *testing.T) {
	e := &ending{world: newWorld(t)}
	if err := e.handle(t); err != nil {
		t.Fatal(err)
	}
	is(t, "freed before the end", len(e.freed), 0)
	e.ended(true)
	is(t, "handed over", len(e.taken), 1)
	is(t, "freed", len(e.freed), 0)
	is(t, "spans that came to nothing", e.undone, 0)
}

// A transaction that fails to store the plan frees what was reserved, once, though its end is told of as well.
func TestWhatIsReservedIsFreedOnce(t *testing.T) {
	e := &ending{world: newWorld(t), fails: errors.New("away")}
	if err := e.handle(t); !errors.Is(err, e.fails) {
		t.Fatal(err)
	}
	e.ended(false)
	is(t, "handed over", len(e.taken), 0)
	is(t, "freed", len(e.freed), 1)
	is(t, "still reserved", e.inFlight, 0)
	is(t, "spans that came to nothing", e.undone, 1)
}

// A lane that got no slot is named once its delivery is committed, and not before: until then there is nothing to be found.
func TestLanesWithoutASlotAreNamedOnceTheyAreCommitted(t *testing.T) {
	for what, failure := range map[string]error{"committed": nil, "undone": errors.New("the commit failed")} {
		w := newWorld(t)
		w.free, w.commitErr = 1, failure
		w.subscribe(acme, "sub_1", settings("*"))
		w.subscribe(acme, "sub_2", settings("*"))
		w.subscribe(acme, "sub_3", settings("*"))
		w.handle(sample("evt_1", event.VisitReportApproved))
		var want []dispatch.Lane
		if failure == nil {
			want = []dispatch.Lane{{Tenant: acme, SubscriptionID: "sub_2"}, {Tenant: acme, SubscriptionID: "sub_3"}}
		}
		if !slices.Equal(w.waiting, want) {
			t.Errorf("%s: named %v, want %v", what, w.waiting, want)
		}
	}
}

// All tenants of a record together get no more than is scheduled at once, though none of them has more than its share.
func TestARecordOfManyTenantsIsBounded(t *testing.T) {
	w := newWorld(t)
	w.atOnce = 4
	w.restart()
	var events []event.Event
	for _, owner := range []tenant.ID{"a", "b", "c"} {
		w.subscribe(owner, "sub_"+string(owner)+"1", settings("*"))
		w.subscribe(owner, "sub_"+string(owner)+"2", settings("*"))
		events = append(events, several(owner, string(owner), 1)...)
	}
	is(t, "at once", scheduledIn(w.handle(events...)), "a0 a0 b0 b0")
	is(t, "in a turn", w.waitingOf("c"), "c0@7.2")
}

// What a missing feature keeps from subscriptions is counted as that, or what is expected of the events does not add up.
func TestWhatIsGatedIsCounted(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	w.subscribe(acme, "sub_2", settings("*"))
	tally := w.handle(sample("evt_1", event.BillingEventReady)).Tallies[0]
	if tally.Events != 1 || tally.Expected != 2 || tally.FeatureGated != 2 || tally.Deliveries+tally.NotMatched+tally.SetAside != 0 {
		t.Errorf("counted %+v", tally)
	}
	w.panicsAt["evt_2"] = true
	plan := w.handle(sample("evt_2", event.BillingEventReady))
	if len(plan.SetAside) != 1 || plan.SetAside[0].FeatureGated != 2 || plan.SetAside[0].SetAside != 0 {
		t.Errorf("set aside %+v", plan.SetAside)
	}
}
