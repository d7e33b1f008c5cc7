package dispatch_test

import (
	"testing"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// move gives the lane another URL.
func (w *world) move(lane dispatch.Lane) {
	s := w.lane[lane]
	s.URL, s.Version = s.URL+"/moved", s.Version+1
	w.lane[lane] = s
	w.Changed(lane)
}

// The answer of an earlier URL ends its delivery, and says nothing of the receiver that was set since.
func TestA410OfAnEarlierURLDisablesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		later    []delivery.Outcome // of the new URL, in the same step
		disabled bool
	}{
		"alone":                 {},
		"with a success":        {later: []delivery.Outcome{succeeded()}},
		"with the new one gone": {later: []delivery.Outcome{answered(410)}, disabled: true},
	} {
		for _, lateFirst := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t, 50)
				lane := w.subscribe("sub_1", 50)
				late := w.schedule(lane, incarnation)
				w.Reserve(lane, 50)
				w.move(lane)
				results := []dispatch.Result{{Leased: late, Outcome: answered(410)}}
				for _, o := range c.later {
					r := dispatch.Result{Leased: w.schedule(lane, incarnation), Outcome: o}
					w.Reserve(lane, 50)
					if results = append(results, r); !lateFirst {
						results[0], results[1] = results[1], results[0]
					}
				}
				w.FinishTogether(results)
				w.step()
				if (w.disabled[lane] == subscription.ReasonGone) != c.disabled {
					t.Errorf("disabled %v", w.disabled)
				}
				if got := w.rows[late.Delivery.ID].Status; got != delivery.StatusDeadLetter {
					t.Errorf("its delivery is %s", got)
				}
				want := []event.Type{event.DeliveryDeadLettered}
				if c.disabled {
					want = []event.Type{event.SubscriptionDisabled, event.DeliveryDeadLettered, event.DeliveryDeadLettered}
				}
				w.wantTold(want...)
			})
		}
	}
}

func TestFailuresOfAnEarlierURLAreNotCounted(t *testing.T) {
	w := newWorld(t, 50)
	lane := w.subscribe("sub_1", 50)
	var results []dispatch.Result
	for i := range 18 {
		if i == 9 {
			w.move(lane)
		}
		results = append(results, dispatch.Result{Leased: w.schedule(lane, incarnation), Outcome: answered(500)})
		w.Reserve(lane, 50)
	}
	w.FinishTogether(append(results[4:], results[:4]...)) // some before those of the new URL, some behind them
	w.step()
	if h := w.health[lane]; h.Failures != 9 {
		t.Errorf("%d failures are counted", h.Failures)
	}
	late := w.schedule(lane, incarnation)
	before := *late.Subscription
	before.URL, before.Version = before.URL+"/before", before.Version-1
	late.Subscription = &before
	w.Reserve(lane, 50)
	w.Finish(late, answered(500))
	if w.step(); w.health[lane].Failures != 9 {
		t.Errorf("with one that came late %d are", w.health[lane].Failures)
	}
	w.wantTold()
	if w.attempted(lane, event.VisitReportApproved, answered(500)); w.health[lane].Failures != 10 {
		t.Errorf("with one of the new URL %d are", w.health[lane].Failures)
	}
	w.wantTold(event.SubscriptionFailing)
}
