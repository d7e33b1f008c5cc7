package dispatch_test

import (
	"testing"
	"time"
)

// However the pauses of two backlogs began, the one that ends first is looked at first.
func TestTheShorterPauseEndsFirst(t *testing.T) {
	for _, order := range [][]string{{"sub_long", "sub_short"}, {"sub_short", "sub_long"}} {
		w := newWorld(t, 100)
		failed := map[string]int{}
		fail := func(id string, times int) {
			lane := w.subscribe(id, 1)
			for range 100 {
				w.schedule(lane, "")
			}
			for failed[id] < times {
				next := w.step()
				sent := w.take()
				for _, l := range sent {
					failed[l.Delivery.SubscriptionID]++
					w.Finish(l, answered(500))
				}
				if len(sent) == 0 {
					w.now = next
				}
			}
			w.step()
		}
		fail("sub_long", 12)
		fail("sub_short", 2)
		w.now = w.now.Add(3 * time.Second)
		w.step()
		sent := w.take()
		for _, id := range order {
			for _, l := range sent {
				if l.Delivery.SubscriptionID == id {
					w.Finish(l, answered(500))
				}
			}
		}
		next := w.step()
		if pause := next.Sub(w.now); len(sent) != 2 || pause <= 0 || pause > 500*time.Millisecond {
			t.Fatalf("%v: of %d that failed, the next is looked at after %s", order, len(sent), pause)
		}
		w.now = next
		w.step()
		if sent := w.take(); len(sent) != 1 || sent[0].Delivery.SubscriptionID != "sub_short" {
			t.Errorf("%v: sent %+v", order, sent)
		}
	}
}
