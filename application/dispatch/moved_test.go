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
