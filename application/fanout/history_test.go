package fanout_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var lane = dispatch.Lane{Tenant: acme, SubscriptionID: "sub_1"}

// An event meets the subscriptions as they were when it was accepted, however late it is handled.
func TestAnEventIsGovernedByWhatWasInForceWhenItWasAccepted(t *testing.T) {
	for name, c := range map[string]subscription.Change{
		"filter":  subscription.FilterChanged{At: start, EventTypes: subscription.Filter{"target.*"}},
		"options": subscription.OptionsChanged{At: start, SourceSystem: "crm", Options: payload.Options{}},
		"pause":   subscription.Paused{At: start},
		"delete":  subscription.Deleted{At: start},
		"url":     subscription.EndpointChanged{At: start, Name: "n", URL: "https://elsewhere.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.subscribe(acme, "sub_1", settings("visit_report.*"))
			position, keys := w.accept(sample("evt_before", event.VisitReportApproved))
			w.change("sub_1", c)
			after, keysAfter := w.accept(sample("evt_after", event.TargetImported))
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil {
				t.Fatal(err)
			}
			before := w.plan
			if len(before.Scheduled) != 1 || before.Scheduled[0].Delivery.SubscriptionVersion != 1 || len(before.Scheduled[0].Changes) != 1 {
				t.Fatalf("planned %+v", before)
			}
			// What has changed is not handed over, since it would go to an endpoint that was left, or be signed with a
			// secret that was. What takes nothing any more is swept besides: its own sweep may be over.
			wantSweeps := map[string][]sweep.Sweep{"pause": {{Lane: lane, Action: sweep.Park}}, "delete": {{Lane: lane, Action: sweep.Cancel}}}[name]
			if len(w.taken) != 0 || !slices.Equal(before.Sweeps, wantSweeps) {
				t.Errorf("handed over %d, and noted sweeps %v", len(w.taken), before.Sweeps)
			}
			w.taken = nil
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: after, Keys: keysAfter}}); err != nil {
				t.Fatal(err)
			}
			if matched := len(w.plan.Scheduled) == 1; matched != (name == "filter") {
				t.Errorf("afterwards it planned %+v", w.plan)
			}
			// The transaction of both was rolled back: they are handled anew.
			w.taken = nil
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil {
				t.Fatal(err)
			}
			if string(w.plan.Bodies[0].Bytes) != string(before.Bodies[0].Bytes) || w.plan.Scheduled[0].Delivery.SubscriptionVersion != 1 ||
				len(w.taken) > 0 && w.taken[0].Subscription.URL != "https://example.com" {
				t.Errorf("handled again it planned %+v", w.plan)
			}
		})
	}
}

// TestWhatComesAgainReadsNoHistory has two records come together, fail, and come again one by one: subscriptions are known up to there.
func TestWhatComesAgainReadsNoHistory(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	for range 2500 {
		w.change("sub_1", subscription.Paused{At: start}, subscription.Resumed{At: start})
	}
	first, keys := w.accept(sample("evt_1", event.VisitReportApproved))
	second, more := w.accept(sample("evt_2", event.VisitReportApproved))
	w.fail["Schedule"] = errors.New("the disk is full")
	if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: first, Keys: keys}, {Position: second, Keys: more}}); err == nil {
		t.Fatal("no error")
	}
	delete(w.fail, "Schedule")
	before := w.reads
	for _, r := range []fanout.Record{{Position: first, Keys: keys}, {Position: second, Keys: more}} {
		if err := w.fanOut.Handle(t.Context(), []fanout.Record{r}); err != nil || len(w.plan.Scheduled) != 1 {
			t.Errorf("handled again it planned %+v, %v", w.plan, err)
		}
	}
	if n := w.reads - before; n != 2 {
		t.Errorf("%d reads of the log, want one for each record", n)
	}
}

func TestWhatIsActiveAgainIsReleased(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	w.change("sub_1", subscription.Paused{At: start})
	position, keys := w.accept(sample("evt_1", event.VisitReportApproved))
	w.change("sub_1", subscription.Resumed{At: start})
	if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil {
		t.Fatal(err)
	}
	if len(w.taken) != 0 || w.plan.Scheduled[0].Delivery.Status != delivery.StatusParked || !slices.Equal(w.plan.Sweeps, []sweep.Sweep{{Lane: lane, Action: sweep.Release}}) {
		t.Errorf("planned %+v", w.plan)
	}
}

// What was accepted while its subscription was paused, and is fanned out later, is skipped too by whoever resumed it without that.
func TestWhatWasSkippedIsNotReleasedLater(t *testing.T) {
	for name, c := range map[string]struct {
		later []subscription.Change
		fail  error
		want  sweep.Action
	}{
		"resumed":                     {later: nil, want: sweep.Skip},
		"renamed since":               {later: []subscription.Change{subscription.EndpointChanged{At: start, Name: "m"}}, want: sweep.Skip},
		"paused since":                {later: []subscription.Change{subscription.Paused{At: start}}, want: ""},
		"disabled since":              {later: []subscription.Change{subscription.Disabled{At: start}}, want: sweep.Park},
		"resumed without that since":  {later: []subscription.Change{subscription.Paused{At: start}, subscription.Resumed{At: start}}, want: sweep.Release},
		"nobody can say how any more": {fail: dispatch.ErrUnreadable, want: sweep.Release},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.subscribe(acme, "sub_1", settings("*"))
			w.change("sub_1", subscription.Paused{At: start})
			position, keys := w.accept(sample("evt_1", event.VisitReportApproved))
			w.change("sub_1", subscription.Resumed{At: start, SkipParked: true})
			for _, later := range c.later {
				w.change("sub_1", later)
			}
			w.fail["LoadSubscription"] = c.fail
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil {
				t.Fatal(err)
			}
			var want []sweep.Sweep
			if c.want != "" {
				want = []sweep.Sweep{{Lane: lane, Action: c.want}}
			}
			if w.plan.Scheduled[0].Delivery.Status != delivery.StatusParked || !slices.Equal(w.plan.Sweeps, want) {
				t.Errorf("planned %+v", w.plan)
			}
		})
	}
}

func TestAStreamThatCannotBeIsAnErrorUntilItIsMended(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	good := slices.Clone(w.changes)
	w.changes = append(w.changes, w.changes[0]) // created twice
	position, keys := w.accept(sample("evt_1", event.VisitReportApproved))
	if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err == nil {
		t.Error("no error")
	}
	w.changes = good
	if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil || len(w.plan.Scheduled) != 1 {
		t.Errorf("afterwards %v, %+v", err, w.plan)
	}
}

// A record that cannot be read stops fan-out for as long as a process of a newer version might take over, and no longer: the
// subscription as it is now stands in for it, and its own later changes are not applied twice.
func TestAChangeThatCannotBeReadStopsNobodyForEver(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("target.*"))
	w.subscribe(acme, "sub_2", settings("*"))
	w.subscribe(acme, "sub_3", settings("*"))
	changed := w.now["sub_1"]
	w.handle(sample("evt_0", event.AppointmentStarted)) // from here on changes are followed
	w.change("sub_3", subscription.Paused{At: start, Reason: "maintenance"})
	w.change("sub_1", subscription.FilterChanged{At: start, EventTypes: subscription.Filter{"visit_report.*"}})
	w.change("sub_1", subscription.Paused{At: start, Reason: "maintenance"}, subscription.Resumed{At: start})
	w.changes[4].Change, w.changes[4].Unreadable = nil, errors.New("damaged")
	w.changes[3].Change, w.changes[3].Unreadable = nil, errors.New("damaged, and its row, too")
	lost := dispatch.Lane{Tenant: acme, SubscriptionID: "sub_3"}
	w.lost = map[dispatch.Lane]bool{lost: true}
	w.change("sub_3", subscription.Resumed{At: start})
	w.change("sub_1", subscription.FilterChanged{At: start, EventTypes: subscription.Filter{"*"}})
	position, keys := w.accept(sample("evt_1", event.AppointmentStarted))
	refused := 0
	for ; refused < 20; refused++ {
		if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err == nil {
			break
		}
	}
	if refused != 12 || !slices.Equal(w.unreadable, []int64{5, 6}) || !slices.Equal(w.toldLost, []dispatch.Lane{lost}) {
		t.Errorf("refused %d times, told of %d and %v", refused, w.unreadable, w.toldLost)
	}
	var got []string
	for _, s := range w.plan.Scheduled {
		got = append(got, fmt.Sprintf("%s at %d", s.Delivery.SubscriptionID, s.Delivery.SubscriptionVersion))
	}
	if want := []string{fmt.Sprintf("sub_1 at %d", changed.Version+4), "sub_2 at 1"}; !slices.Equal(got, want) {
		t.Errorf("scheduled for %v, want %v", got, want)
	}
}

// TestHistories holds fan-out against a fold of the log up to the event, with rollbacks and restarts in between.
func TestHistories(t *testing.T) {
	types := []event.Type{event.VisitReportApproved, event.TargetImported, event.AppointmentStarted}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		var ids []string
		var records [][]event.Event
		var positions []int64
		want := map[string][]string{} // receivers of an event
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				id := fmt.Sprintf("sub_%02d", len(ids))
				ids = append(ids, id)
				w.subscribe(acme, id, settings(rapid.SampledFrom([]string{"*", "target.*", "visit_report.approved"}).Draw(rt, "filter")))
			case 1, 2:
				if len(ids) > 0 {
					w.disturb(rt, rapid.SampledFrom(ids).Draw(rt, "subscription"))
				}
			default:
				e := sample(fmt.Sprintf("evt_%02d", len(records)), rapid.SampledFrom(types).Draw(rt, "type"))
				for _, id := range ids {
					if s := w.now[id]; s.Status != subscription.StatusDeleted && s.EventTypes.Matches(e.Type) {
						want[e.ID] = append(want[e.ID], id+" "+string(s.Status))
					}
				}
				position, _ := w.accept(e)
				records, positions = append(records, []event.Event{e}), append(positions, position)
			}
		}
		for i := 0; i < len(records); i++ {
			if i > 0 && rapid.IntRange(0, 4).Draw(rt, "again") == 0 { // a rollback of the last few
				i = rapid.IntRange(0, i-1).Draw(rt, "from")
			}
			if rapid.IntRange(0, 9).Draw(rt, "restart") == 0 {
				w.restart()
			}
			w.taken = nil
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: positions[i], Keys: keysOf(records[i])}}); err != nil {
				rt.Fatal(err)
			}
			if got := standing(w, records[i][0].ID); !slices.Equal(got, want[records[i][0].ID]) {
				rt.Fatalf("%s went to %v, want %v", records[i][0].ID, got, want[records[i][0].ID])
			}
		}
	})
}

// disturb changes a subscription somehow, if it can still be changed.
func (w *world) disturb(rt *rapid.T, id string) {
	s := w.now[id]
	if s.Status == subscription.StatusDeleted {
		return
	}
	var c subscription.Change
	switch rapid.IntRange(0, 3).Draw(rt, "change") {
	case 0:
		c = subscription.FilterChanged{At: start, EventTypes: subscription.Filter{rapid.SampledFrom([]string{"*", "appointment.*"}).Draw(rt, "to")}}
	case 1:
		if c = (subscription.Paused{At: start}); s.Status != subscription.StatusActive {
			c = subscription.Resumed{At: start}
		}
	case 2:
		if c = (subscription.Disabled{At: start, Reason: "gone"}); s.Status == subscription.StatusDisabled {
			c = subscription.Resumed{At: start}
		}
	default:
		c = subscription.Deleted{At: start}
	}
	w.change(id, c)
}

// standing is who got the event, with the status that the delivery tells.
func standing(w *world, eventID string) (list []string) {
	for _, s := range w.plan.Scheduled {
		if s.Delivery.EventID != eventID {
			continue
		}
		status := "active"
		if len(s.Changes) > 1 {
			status = string(w.statusAt(s.Delivery.SubscriptionID, s.Delivery.SubscriptionVersion))
		}
		list = append(list, s.Delivery.SubscriptionID+" "+status)
	}
	slices.Sort(list)
	return list
}

func (w *world) statusAt(id string, version int64) subscription.Status {
	var s subscription.Subscription
	for _, c := range w.changes {
		if c.SubscriptionID == id && s.Version < version {
			if err := s.Apply(c.Change); err != nil {
				w.Fatal(err)
			}
		}
	}
	return s.Status
}

func keysOf(events []event.Event) (keys []intake.EventKey) {
	for _, e := range events {
		keys = append(keys, intake.EventKey{Tenant: e.TenantID, ID: e.ID})
	}
	return keys
}
