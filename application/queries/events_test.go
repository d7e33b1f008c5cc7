package queries_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// dispositions of an event by subscription; more than one for a subscription is a failure.
func (w *world) dispositions(owner tenant.ID, id string) map[string]queries.Disposition {
	w.Helper()
	detail, err := w.events.Detail(w.Context(), owner, id)
	w.ok(err)
	found := map[string]queries.Disposition{}
	for _, d := range detail.Dispositions {
		if twice, ok := found[d.SubscriptionID]; ok {
			w.Fatalf("%s has two dispositions: %+v and %+v", d.SubscriptionID, twice, d)
		}
		found[d.SubscriptionID] = d
	}
	return found
}

func TestWhatBecameOfAnEvent(t *testing.T) {
	w := newWorld(t)
	all, targets := w.subscribe("acme", "*"), w.subscribe("acme", "target.*", "appointment.started")
	paused := w.subscribe("acme", "billing.*")
	paused = w.change(paused, subscription.Paused{At: w.now})
	id := w.accept("acme", event.BillingEventReady)
	later := w.subscribe("acme", "*")

	accepted, err := w.events.Detail(t.Context(), "acme", id)
	if list := accepted.Dispositions; err != nil || list == nil || len(list) != 0 || accepted.Type != event.BillingEventReady {
		t.Errorf("before fan-out it has %v, %v", list, err)
	}
	w.handle("acme", id)
	got := w.dispositions("acme", id)
	if d := got[all.ID]; d.Outcome != queries.OutcomeFeatureGated || !strings.Contains(d.Reason, "billing_webhooks") || d.DeliveryID != "" {
		t.Errorf("without the feature: %+v", d)
	}
	if d := got[targets.ID]; d.Outcome != queries.OutcomeNotMatched || d.Reason != "none of its patterns (target.*, appointment.started) wants billing.event_ready; the nearest is target.*" {
		t.Errorf("not wanted: %+v", d)
	}
	if _, ok := got[later.ID]; ok || len(got) != 3 {
		t.Errorf("dispositions are %+v", got)
	}

	w.ok(w.SetFeature(t.Context(), "acme", tenant.BillingWebhooks, true, w.now))
	id = w.accept("acme", event.BillingEventReady)
	w.handle("acme", id)
	got = w.dispositions("acme", id)
	if d := got[paused.ID]; d.Outcome != queries.OutcomeDelivery || d.Status != delivery.StatusParked || d.DeliveryID == "" || !strings.Contains(d.Reason, "billing.event_ready") {
		t.Errorf("paused: %+v", d)
	}
	if d := got[all.ID]; d.Status != delivery.StatusPending {
		t.Errorf("active: %+v", d)
	}
	if _, err := w.events.Detail(t.Context(), "other", id); !problem.Is(err, problem.NotFound) {
		t.Errorf("another tenant gets %v", err)
	}
}

// What somebody asks for later is a replay, whatever the event was for the subscription; what was created later says so.
// bounded notes how much of something is asked for.
type bounded struct {
	queries.EventReader
	deliveries, subscriptions int
}

func (b *bounded) DeliveriesOf(ctx context.Context, owner tenant.ID, events []string, each int) (map[string][]delivery.Delivery, error) {
	b.deliveries = each
	return b.EventReader.DeliveriesOf(ctx, owner, events, each)
}

func (b *bounded) ListSubscriptions(ctx context.Context, owner tenant.ID, after string, limit int) ([]subscription.Subscription, error) {
	b.subscriptions = limit
	return b.EventReader.ListSubscriptions(ctx, owner, after, limit)
}

// An event has as many deliveries as its tenant may have subscriptions, and more by replays, which came later and may be cut off.
func TestADetailHasRoomForEverySubscription(t *testing.T) {
	w := newWorld(t)
	first, second := w.subscribe("acme", "*"), w.subscribe("acme", "*")
	id := w.accept("acme", event.VisitReportApproved)
	w.handle("acme", id)
	for range 3 {
		w.replay(second, id)
	}
	asked := &bounded{EventReader: w.Store}
	detail, err := (&queries.Events{Reader: asked, Now: time.Now}).Detail(t.Context(), "acme", id)
	w.ok(err)
	if asked.deliveries <= subscriptions.MaxPerTenant || asked.subscriptions < subscriptions.MaxPerTenant {
		t.Errorf("asked for %d deliveries and %d subscriptions, of which a tenant may have %d", asked.deliveries, asked.subscriptions, subscriptions.MaxPerTenant)
	}
	two, err := w.DeliveriesOf(t.Context(), "acme", []string{id}, 2)
	w.ok(err)
	if d := detail.Dispositions; len(d) != 2 || d[0].SubscriptionID != first.ID || d[0].DeliveryID != two[id][0].ID || d[1].DeliveryID != two[id][1].ID || len(detail.Replays) != 3 {
		t.Errorf("dispositions are %+v, replays %+v; the oldest two are %+v", d, detail.Replays, two[id])
	}
}

// A delivery that somebody retries, or whose subscription was resumed, may have been attempted before.
func TestHowFarADeliveryHasCome(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	d := w.delivery(s)
	wants := func(end string) {
		t.Helper()
		if got := w.dispositions("acme", d.EventID)[s.ID].Reason; !strings.HasSuffix(got, end) {
			t.Errorf("got %q, want %q at its end", got, end)
		}
	}
	wants("; it waits for its first attempt")
	d = w.record(d, delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: w.now})
	wants("; attempt 1 failed, the next is due at " + w.now.Add(time.Minute).Format(time.RFC3339))
	changes, err := d.RequestRetry(w.now)
	d = w.move(d, "", changes, err)
	wants("; it waits for attempt 2")
	w.lease(d)
	wants("; attempt 2 is under way")
	changes, err = d.Record(delivery.Outcome{Kind: delivery.KindSucceeded}, nil, 0, w.now)
	d = w.move(d, "inc_1", changes, err)
	wants("; the receiver took it at attempt 2")
}

// That an event came to a delivery stays true when retention has deleted that.
func TestADeliveryThatIsNotKeptIsNoMismatch(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	d := w.delivery(s)
	w.record(d, delivery.Outcome{Kind: delivery.KindSucceeded, StartedAt: w.now})
	w.now = w.now.Add(48 * time.Hour)
	day := w.now.Add(-24 * time.Hour)
	if n, err := w.Purge(t.Context(), retention.Cutoffs{Now: w.now, Events: day.Add(-240 * time.Hour), Attempts: day, DeadLetters: day}, 100); err != nil || n == 0 {
		t.Fatalf("%d were deleted, %v", n, err)
	}
	if got := w.dispositions("acme", d.EventID)[s.ID]; got.Outcome != queries.OutcomeDelivery || got.DeliveryID != "" || got.Status != "" || !strings.Contains(got.Reason, "not kept any more") {
		t.Errorf("%+v", got)
	}
}

func TestReplaysAndWhoCameLater(t *testing.T) {
	w := newWorld(t)
	wanting, other := w.subscribe("acme", "visit_report.approved"), w.subscribe("acme", "target.*")
	wanting = w.change(wanting, subscription.Paused{At: w.now, Reason: "maintenance"})
	id := w.accept("acme", event.VisitReportApproved)
	w.handle("acme", id)
	later := w.subscribe("acme", "*")
	gone := w.subscribe("acme", "*")
	w.change(gone, subscription.Deleted{At: w.now})
	for _, s := range []subscription.Subscription{wanting, other, later} {
		w.replay(s, id)
	}
	detail, err := w.events.Detail(t.Context(), "acme", id)
	w.ok(err)
	if d := detail.Dispositions; len(d) != 2 || d[0].Outcome != queries.OutcomeDelivery || d[1].Outcome != queries.OutcomeNotMatched ||
		d[0].Reason != "its pattern visit_report.approved wants visit_report.approved; the subscription was paused (maintenance) when the event came, so it was parked; it waits until the subscription is resumed" {
		t.Errorf("dispositions are %+v", d)
	}
	if r := detail.Replays; len(r) != 3 || r[0].SubscriptionID != wanting.ID || r[0].DeliveryID == detail.Dispositions[0].DeliveryID || r[2].SubscriptionID != later.ID ||
		!strings.Contains(r[1].Reason, "replayed at 2026-07-01T12:00:00Z") {
		t.Errorf("replays are %+v", r)
	}
	if len(detail.Later) != 1 || detail.Later[0].ID != later.ID {
		t.Errorf("later came %+v", detail.Later)
	}
	listed, err := w.events.List(t.Context(), queries.EventFilter{Tenant: "acme", Limit: 10})
	if w.ok(err); len(listed) != 1 || len(listed[0].Deliveries) != 4 || listed[0].More {
		t.Errorf("listed are %+v", listed)
	}
	for range queries.ShownDeliveries {
		w.replay(later, id)
	}
	listed, err = w.events.List(t.Context(), queries.EventFilter{Tenant: "acme", Limit: 10})
	if w.ok(err); len(listed[0].Deliveries) != queries.ShownDeliveries || !listed[0].More || listed[0].Deliveries[0].ID != detail.Dispositions[0].DeliveryID {
		t.Errorf("listed are %d, more: %t", len(listed[0].Deliveries), listed[0].More)
	}
}

// replay begins another delivery of the event.
func (w *world) replay(s subscription.Subscription, eventID string) {
	w.Helper()
	changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: w.id("dlv_"), Tenant: s.Tenant, EventID: eventID, EventType: event.VisitReportApproved,
		SubscriptionID: s.ID, SubscriptionVersion: s.Version, BodyNumber: 1})
	d, err := delivery.Fold(changes)
	w.ok(err)
	w.ok(w.Schedule(w.Context(), fanout.Plan{Scheduled: []fanout.Scheduled{{Delivery: d, Changes: changes, AcceptedAt: w.now}}}, func(bool) {}))
}

// Every status is put in words, so that a new one is not forgotten.
func TestEveryStatusSaysHowFarADeliveryIs(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	d := w.delivery(s)
	said := map[string]bool{}
	for _, status := range delivery.Statuses() {
		w.ok(w.db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
			_, err := tx.Exec(ctx, `UPDATE open_deliveries SET status = ? WHERE delivery_id = ?`, status, d.ID)
			return err
		}))
		detail, err := w.events.Detail(t.Context(), "acme", d.EventID)
		if w.ok(err); len(detail.Dispositions) != 1 || said[detail.Dispositions[0].Reason] || !strings.Contains(detail.Dispositions[0].Reason, "; ") {
			t.Errorf("%s: %+v", status, detail.Dispositions)
		}
		said[detail.Dispositions[0].Reason] = true
	}
}

func TestAnEventThatWasSetAsideSaysSo(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	id := w.accept("acme", event.VisitReportApproved)
	w.panics[id] = true
	w.handle("acme", id)
	if d := w.dispositions("acme", id)[s.ID]; d.Outcome != queries.OutcomeNotMatched || !strings.Contains(d.Reason, "set aside: ") || !strings.Contains(d.Reason, "it fell") {
		t.Errorf("%+v", d)
	}
}

// overtaken reads an event just before something becomes of it.
type overtaken struct {
	queries.EventReader
	then func()
}

func (o *overtaken) Event(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	e, err := o.EventReader.Event(ctx, owner, id)
	if then := o.then; then != nil {
		o.then = nil
		then()
	}
	return e, err
}

func TestAnEventThatIsJustBeingSetAsideSaysSo(t *testing.T) {
	w := newWorld(t)
	w.subscribe("acme", "*")
	id := w.accept("acme", event.VisitReportApproved)
	w.panics[id] = true
	w.events.Reader = &overtaken{w.Store, func() { w.handle("acme", id) }}
	detail, err := w.events.Detail(t.Context(), "acme", id)
	w.ok(err)
	if d := detail.Dispositions; detail.SetAside == nil || len(d) != 1 || d[0].Outcome != queries.OutcomeNotMatched || !strings.Contains(d[0].Reason, "was set aside") {
		t.Errorf("set aside: %v, dispositions %+v", detail.SetAside, d)
	}
	w.events.Reader = &overtaken{w.Store, func() {
		w.ok((&queries.EventRetries{Store: w.Store, Now: func() time.Time { return w.now }}).Retry(t.Context(), "acme", id, subscriptions.Actor{}))
	}}
	detail, err = w.events.Detail(t.Context(), "acme", id)
	if w.ok(err); detail.SetAside != nil || detail.Retried == nil || len(detail.Dispositions) != 0 {
		t.Errorf("while it is to be fanned out again: set aside %v, retried %v, dispositions %+v", detail.SetAside, detail.Retried, detail.Dispositions)
	}
}

// An event that was set aside is retried for the subscriptions of then; what fails again is set aside again.
func TestAnEventThatWasSetAsideIsRetried(t *testing.T) {
	w := newWorld(t)
	first := w.subscribe("acme", "*")
	id := w.accept("acme", event.VisitReportApproved)
	retries := queries.EventRetries{Store: w.Store, Now: func() time.Time { return w.now }}
	again := func(panics bool) map[string]queries.Disposition {
		t.Helper()
		w.ok(retries.Retry(t.Context(), "acme", id, subscriptions.Actor{KeyID: "key_1", KeyName: "ERP"}))
		if waiting := w.dispositions("acme", id); len(waiting) != 0 {
			t.Errorf("before it is fanned out again: %+v", waiting)
		}
		w.panics[id] = panics
		w.handle("acme", id)
		return w.dispositions("acme", id)
	}
	w.panics[id] = true
	w.handle("acme", id)
	later := w.subscribe("acme", "visit_report.*")
	if got := again(true); len(got) != 2 || !strings.Contains(got[later.ID].Reason, "set aside: ") {
		t.Errorf("it failed again: %+v", got)
	}
	got := again(false)
	if len(got) != 2 || got[first.ID].Outcome != queries.OutcomeDelivery || got[later.ID].Outcome != queries.OutcomeDelivery {
		t.Errorf("retried: %+v", got)
	}
	if e, err := w.Event(t.Context(), "acme", id); err != nil || e.Retried == nil || e.Retried.KeyID != "key_1" || e.Retried.KeyName != "ERP" {
		t.Errorf("it was retried by %+v, %v", e.Retried, err)
	}
	hours, err := w.Hours(t.Context(), "acme", start.Truncate(time.Hour), start.Truncate(time.Hour).Add(time.Hour))
	if w.ok(err); len(hours) != 1 || !hours[0].Balanced() || hours[0].Counted.SetAside != 0 || hours[0].Counted.Deliveries != 2 || hours[0].Counted.Events != 1 {
		t.Errorf("reconciled: %+v", hours)
	}
	if err := retries.Retry(t.Context(), "acme", id, subscriptions.Actor{}); !problem.Is(err, problem.Conflict) {
		t.Errorf("retried once more: %v", err)
	}
}

// TestDispositions: for every event and every subscription that its tenant had when it was accepted there
// is exactly one disposition, whatever happened before it was fanned out.
func TestDispositions(t *testing.T) {
	w := newWorld(t)
	types := []event.Type{event.VisitReportApproved, event.TargetImported, event.BillingEventReady}
	filters := [][]string{{"*"}, {"target.*"}, {"billing.*", "visit_report.approved"}}
	histories := 0
	rapid.Check(t, func(rt *rapid.T) {
		histories++
		owner := tenant.ID(fmt.Sprintf("t%d", histories))
		w.tenant(owner)
		type accepted struct {
			id     string
			kind   event.Type
			filter map[string]subscription.Filter // of those that are there
		}
		var subs []subscription.Subscription
		var events []accepted
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch what := rapid.IntRange(0, 5).Draw(rt, "what"); {
			case what == 0 || len(subs) == 0:
				subs = append(subs, w.subscribe(owner, rapid.SampledFrom(filters).Draw(rt, "filter")...))
			case what <= 2:
				i := rapid.IntRange(0, len(subs)-1).Draw(rt, "subscription")
				subs[i] = w.disturb(rt, subs[i], filters)
			default:
				e := accepted{kind: rapid.SampledFrom(types).Draw(rt, "type"), filter: map[string]subscription.Filter{}}
				for _, s := range subs {
					if s.Status != subscription.StatusDeleted {
						e.filter[s.ID] = s.EventTypes
					}
				}
				e.id = w.accept(owner, e.kind)
				events = append(events, e)
			}
		}
		for _, e := range events {
			billing := rapid.Bool().Draw(rt, "billing")
			w.ok(w.SetFeature(w.Context(), owner, tenant.BillingWebhooks, billing, w.now))
			w.handle(owner, e.id)
			got := w.dispositions(owner, e.id)
			for id, filter := range e.filter {
				want := queries.OutcomeDelivery
				switch {
				case !filter.Matches(e.kind):
					want = queries.OutcomeNotMatched
				case e.kind == event.BillingEventReady && !billing:
					want = queries.OutcomeFeatureGated
				}
				if d := got[id]; d.Outcome != want || (d.DeliveryID != "") != (want == queries.OutcomeDelivery) || d.Reason == "" {
					rt.Fatalf("%s for %s has %+v, want %s", e.kind, filter, d, want)
				}
			}
			if len(got) != len(e.filter) {
				rt.Fatalf("%d dispositions for %d subscriptions", len(got), len(e.filter))
			}
		}
	})
}

func (w *world) disturb(rt *rapid.T, s subscription.Subscription, filters [][]string) subscription.Subscription {
	if s.Status == subscription.StatusDeleted {
		return s
	}
	switch rapid.IntRange(0, 2).Draw(rt, "change") {
	case 0:
		return w.change(s, subscription.FilterChanged{At: w.now, EventTypes: rapid.SampledFrom(filters).Draw(rt, "to")})
	case 1:
		return w.change(s, subscription.Deleted{At: w.now})
	default:
		if s.Status == subscription.StatusActive {
			return w.change(s, subscription.Paused{At: w.now})
		}
		return w.change(s, subscription.Resumed{At: w.now})
	}
}
