package fanout_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func TestABodyIsRenderedOnceForThoseWhoSeeTheSame(t *testing.T) {
	w := newWorld(t)
	plain, crm := settings("visit_report.*"), settings("*")
	crm.SourceSystem = "crm"
	bare := settings("*")
	bare.Options = payload.Options{}
	w.subscribe(acme, "sub_1", plain)
	w.subscribe(acme, "sub_2", plain)
	w.subscribe(acme, "sub_3", crm)
	w.subscribe(acme, "sub_4", bare)
	w.subscribe(acme, "sub_5", settings("target.*"))
	w.subscribe("other", "sub_6", settings("*"))
	plan := w.handle(sample("evt_1", event.VisitReportApproved))

	if got := receivers(plan, "evt_1"); !slices.Equal(got, []string{"sub_1", "sub_2", "sub_3", "sub_4"}) {
		t.Errorf("goes to %v", got)
	}
	if len(plan.Bodies) != 3 || len(w.resolved) != 3 {
		t.Fatalf("%d bodies of %d look-ups", len(plan.Bodies), len(w.resolved))
	}
	body := map[int]string{}
	for i, b := range plan.Bodies {
		if b.Number != i+1 || b.Tenant != acme || b.EventID != "evt_1" {
			t.Errorf("body %d is %+v", i, b)
		}
		body[b.Number] = string(b.Bytes)
	}
	for _, s := range plan.Scheduled {
		id, sees := s.Delivery.SubscriptionID, body[s.Delivery.BodyNumber]
		if wantSAP, wantCRM := id < "sub_3", id == "sub_3"; strings.Contains(sees, "SAP-12") != wantSAP || strings.Contains(sees, "CRM-12") != wantCRM {
			t.Errorf("%s gets %s", id, sees)
		}
		if s.TraceParent != "00-evt_1-child" || s.Delivery.SubscriptionVersion != 1 || s.Delivery.EventType != event.VisitReportApproved ||
			s.Delivery.Status != delivery.StatusPending || !s.Delivery.DueAt.Equal(start) {
			t.Errorf("%s: %+v", id, s)
		}
	}
	if w.told["evt_1"] != 4 {
		t.Errorf("the span was told of %d deliveries", w.told["evt_1"])
	}
}

func TestTheGateIsAskedOnceABatchAndTenant(t *testing.T) {
	w := newWorld(t)
	detailed := settings("*")
	detailed.Options.BillingDetails = true
	w.subscribe(acme, "sub_1", settings("*"))
	w.subscribe(acme, "sub_2", detailed)
	w.handle(sample("evt_0", event.VisitReportApproved))
	if w.gateAsked != 0 {
		t.Errorf("asked %d times for what needs no feature", w.gateAsked)
	}
	off := w.handle(sample("evt_1", event.BillingEventReady), sample("evt_2", event.BillingEventReady), sample("evt_3", event.TargetImported))
	if w.gateAsked != 1 || len(off.Gated) != 4 || len(off.Scheduled) != 2 || len(receivers(off, "evt_3")) != 2 {
		t.Errorf("asked %d times: %+v", w.gateAsked, off)
	}
	w.billing[acme] = true
	w.subscribe(acme, "sub_3", settings("*"))
	on := w.handle(sample("evt_4", event.BillingEventReady))
	if w.gateAsked != 2 || len(on.Gated) != 0 || len(on.Scheduled) != 3 || len(on.Bodies) != 2 {
		t.Errorf("asked %d times: %+v", w.gateAsked, on)
	}
}

// An error is never taken for "no match" or "off": the record comes again.
func TestAnErrorIsAnError(t *testing.T) {
	broken := errors.New("away")
	for _, call := range []string{"Enabled", "Events", "Governing", "ResolveFor", "Schedule"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t)
			w.subscribe(acme, "sub_1", settings("*"))
			w.billing[acme] = true
			w.fail[call] = broken
			position, keys := w.accept(sample("evt_1", event.BillingEventReady))
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			if len(w.plan.Scheduled)+len(w.plan.Gated)+len(w.taken)+w.inFlight != 0 {
				t.Errorf("left %+v and %d slots behind", w.plan, w.inFlight)
			}
			delete(w.fail, call)
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil || len(w.plan.Scheduled) != 1 || len(w.taken) != 1 {
				t.Errorf("handled again: %v, %+v", err, w.plan)
			}
		})
	}
}

func TestAnEventThatPanicsIsSetAside(t *testing.T) {
	good := sample("evt_good", event.VisitReportApproved)
	for name, plant := range map[string]func(*world) event.Type{
		"span":   func(w *world) event.Type { w.panicsAt["evt_bad"] = true; return good.Type },
		"new ID": func(w *world) event.Type { w.panicIDs = 2; return good.Type }, // the second of its deliveries
		"gate":   func(w *world) event.Type { w.panicsAt["the gate"] = true; return event.BillingEventReady },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.subscribe(acme, "sub_1", settings("*"))
			w.subscribe(acme, "sub_2", settings("*"))
			bad := sample("evt_bad", plant(w))
			plan := w.handle(bad, good)
			if len(plan.SetAside) != 1 || plan.SetAside[0].EventID != "evt_bad" || !strings.Contains(plan.SetAside[0].Reason, "panicked") || !plan.SetAside[0].At.Equal(start) {
				t.Errorf("set aside %+v", plan.SetAside)
			}
			if len(plan.SetAside) == 1 && (plan.SetAside[0].SetAside != 2 || plan.SetAside[0].Expected() != 2 || plan.Tallies[0].SetAside != 2 || plan.Tallies[0].Expected != 4 || plan.Tallies[0].Events != 2) {
				t.Errorf("counted %+v, and in all %+v", plan.SetAside[0], plan.Tallies)
			}
			if len(receivers(plan, "evt_bad")) != 0 || len(receivers(plan, "evt_good")) != 2 || len(plan.Bodies) != 1 || plan.Bodies[0].EventID != "evt_good" {
				t.Errorf("planned %+v", plan)
			}
			if !slices.Equal(w.aside, []string{"evt_bad"}) {
				t.Errorf("it was told that %v were set aside", w.aside)
			}
			if w.inFlight != 0 || len(w.taken) != 2 || w.taken[0].Delivery.EventID != "evt_good" {
				t.Errorf("%d slots stay taken, handed over %+v", w.inFlight, w.taken)
			}
		})
	}
}

// An event that cannot be read comes again for a while, since a process of a newer version may read it, and is then set aside.
func TestAnEventThatCannotBeReadIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	w.subscribe(acme, "sub_2", settings("visit_report.*"))
	w.subscribe(acme, "sub_3", settings("target.*"))
	position, keys := w.accept(sample("evt_bad", event.TargetImported), sample("evt_good", event.VisitReportApproved))
	damaged := errors.New("damaged")
	w.events[keys[0]] = intake.Accepted{Event: event.Event{TenantID: acme, ID: "evt_bad", Type: event.TargetImported}, At: w.events[keys[0]].At, Unreadable: damaged}
	refused := 0
	for ; w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}) != nil; refused++ {
		if refused > 20 {
			t.Fatal("it comes again for ever, and holds up all that is behind it")
		}
	}
	if refused < 3 {
		t.Errorf("it came again %d times", refused)
	}
	if p := w.plan.SetAside; len(p) != 1 || p[0].EventID != "evt_bad" || p[0].Reason != "damaged" || p[0].SetAside != 2 || p[0].NotMatched != 1 {
		t.Errorf("set aside %+v", p)
	}
	if len(receivers(w.plan, "evt_bad")) != 0 || len(receivers(w.plan, "evt_good")) != 2 {
		t.Errorf("planned %+v", w.plan)
	}
	if len(w.plan.Tallies) != 1 || w.plan.Tallies[0].Events != 2 || w.plan.Tallies[0].Expected != 6 || w.plan.Tallies[0].SetAside != 2 {
		t.Errorf("counted %+v", w.plan.Tallies)
	}
}

func TestWhatIsHandedOver(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_active", settings("*"))
	w.subscribe(acme, "sub_paused", settings("*"))
	w.subscribe(acme, "sub_swept", settings("*"))
	w.change("sub_paused", subscription.Paused{At: start})
	w.sweeping = map[dispatch.Lane]bool{{Tenant: acme, SubscriptionID: "sub_swept"}: true}
	plan := w.handle(sample("evt_1", event.VisitReportApproved))
	want := map[string]struct {
		status delivery.Status
		lease  string
	}{"sub_active": {delivery.StatusPending, "inc_1"}, "sub_paused": {delivery.StatusParked, ""}, "sub_swept": {delivery.StatusPending, ""}}
	for _, s := range plan.Scheduled {
		if got := want[s.Delivery.SubscriptionID]; s.Delivery.Status != got.status || s.Lease != got.lease {
			t.Errorf("%s is %s, leased to %q", s.Delivery.SubscriptionID, s.Delivery.Status, s.Lease)
		}
	}
	if len(w.taken) != 1 {
		t.Fatalf("handed over %+v", w.taken)
	}
	l := w.taken[0]
	if l.Subscription.ID != "sub_active" || l.Subscription.URL != "https://example.com" || l.Lease != "inc_1" || l.TraceParent != "00-evt_1-child" ||
		!l.AcceptedAt.Equal(start.Add(-1e9)) || string(l.Body) != string(plan.Bodies[0].Bytes) || l.Delivery.Version != 1 {
		t.Errorf("handed over %+v", l)
	}
}

func TestWithoutASlotADeliveryWaitsInTheQueue(t *testing.T) {
	w := newWorld(t)
	w.free = 1
	w.subscribe(acme, "sub_1", settings("*"))
	w.subscribe(acme, "sub_2", settings("*"))
	plan := w.handle(sample("evt_1", event.VisitReportApproved))
	if len(plan.Scheduled) != 2 || len(w.taken) != 1 || plan.Scheduled[1].Lease != "" {
		t.Errorf("planned %+v, handed over %d", plan, len(w.taken))
	}
}

func TestARolledBackTransactionFreesItsSlots(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	w.commitErr = errors.New("the commit failed")
	w.handle(sample("evt_1", event.VisitReportApproved), sample("evt_2", event.VisitReportApproved))
	if len(w.taken) != 0 || len(w.freed) != 2 || w.inFlight != 0 {
		t.Errorf("handed over %d, freed %d, %d stay taken", len(w.taken), len(w.freed), w.inFlight)
	}
}

// A transaction that is repeated counts an event once; the spans of one that came to nothing end with that.
func TestAnEventCountsOnceItIsCommitted(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	record := w.take(sample("evt_1", event.VisitReportApproved), sample("evt_2", event.VisitReportApproved))
	w.fail["Schedule"] = errors.New("away")
	if err := w.fanOut.Handle(t.Context(), record); err == nil {
		t.Fatal("no error")
	}
	delete(w.fail, "Schedule")
	w.commitErr = errors.New("the commit failed")
	for _, want := range []struct{ undone, told int }{{4, 0}, {4, 2}} {
		if err := w.fanOut.Handle(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		is(t, "spans that came to nothing", w.undone, want.undone)
		is(t, "counted", w.toldTimes, want.told)
		w.commitErr = nil
	}
}

// A record whose names are damaged loses no event: each of them knows its record.
func TestEventsOfADamagedRecordAreFannedOut(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	records := w.take(sample("evt_1", event.TargetImported), sample("evt_2", event.TargetImported))
	broken := errors.New("damaged")
	position, keys := w.accept(sample("evt_3", event.TargetImported), sample("evt_4", event.TargetImported))
	records = append(records, fanout.Record{Position: position, Unreadable: broken})
	w.fail["NamedBy"] = errors.New("away")
	if err := w.fanOut.Handle(t.Context(), records); !errors.Is(err, w.fail["NamedBy"]) || len(w.plans)+len(w.damaged) != 0 {
		t.Errorf("while the store is away: %v, %d plans, told of %+v", err, len(w.plans), w.damaged)
	}
	delete(w.fail, "NamedBy")
	if err := w.fanOut.Handle(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"evt_1", "evt_2", "evt_3", "evt_4"} {
		if got := receivers(w.plan, id); !slices.Equal(got, []string{"sub_1"}) {
			t.Errorf("%s goes to %v", id, got)
		}
	}
	if len(w.damaged) != 1 || w.damaged[0].Position != position || !slices.Equal(w.damaged[0].Keys, keys) || !errors.Is(w.damaged[0].Unreadable, broken) {
		t.Errorf("told of %+v", w.damaged)
	}
}
