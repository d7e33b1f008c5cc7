package dispatcher_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func TestTheEndGivesBackWhatWaitsToBeBegun(t *testing.T) {
	within(t, 100, func(w *world) {
		w.silence()
		w.start(50)
		first := w.began()
		w.stop()
		synctest.Wait()
		w.cut()
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
		if first += w.began(); len(w.givenBack) != 50-first || w.InFlight() != 0 {
			t.Errorf("%d began, %d given back, %d in flight", first, len(w.givenBack), w.InFlight())
		}
	})
}

// What is held for its slot is given back at the end, while attempts go on, or it would wait until it is taken over.
func TestTheEndGivesBackWhatIsHeld(t *testing.T) {
	within(t, 4, func(w *world) {
		held := dispatch.Lane{Tenant: lane.Tenant, SubscriptionID: "sub_held"}
		for range 2 { // the second has to wait, since the subscription allows one at once
			if _, ok := w.Reserve(held, 1); !ok {
				t.Fatal("no room")
			}
		}
		var both []dispatch.Leased
		for _, id := range []string{"dlv_1", "dlv_2"} {
			both = append(both, dispatch.Leased{Delivery: delivery.Delivery{ID: id, Tenant: held.Tenant, SubscriptionID: held.SubscriptionID, Status: delivery.StatusPending, Version: 1}, Lease: "inc_1",
				Subscription: &subscription.Subscription{Settings: subscription.Settings{MaxInFlight: 1, RetrySchedule: []time.Duration{time.Minute}}}})
		}
		w.Take(both, true)
		synctest.Wait()
		w.strict = true
		w.stop()
		synctest.Wait()
		w.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		if err := <-w.ended; err != nil || len(w.givenBack) != 1 || w.givenBack[0].Delivery.ID != "dlv_2" {
			t.Errorf("given back %+v, %v", w.givenBack, err)
		}
	})
}

func TestTheEndDoesNotWaitForGoodToGiveBack(t *testing.T) {
	within(t, 100, func(w *world) {
		w.silence()
		w.start(50)
		w.locked = true // by somebody else, in the database
		w.stop()
		synctest.Wait()
		w.cut()
		if err := <-w.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		w.locked = false
		began := w.began()
		if err := w.Close(t.Context()); err != nil || len(w.givenBack) != 50-began {
			t.Errorf("closed once more it has given %d of %d back: %v", len(w.givenBack), 50-began, err)
		}
	})
}
