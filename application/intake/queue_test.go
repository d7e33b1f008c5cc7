package intake_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// requestOf is so many events of the tenants in turn, which no other request has.
func requestOf(number, events int, owners ...tenant.ID) (request []event.Event) {
	for i := range events {
		request = append(request, sample(owners[i%len(owners)], fmt.Sprintf("evt_%d_%d", number, i), "a"))
	}
	return request
}

// However much of one tenant waits, or of several in the same requests, another's next request is among the next to be accepted.
func TestATenantDoesNotWaitForAllThatAnotherHasSent(t *testing.T) {
	for name, noisy := range map[string][]tenant.ID{"of one": {"acme"}, "of several": {"acme", "other"}} {
		t.Run(name, func(t *testing.T) {
			within(t, func(w *world) {
				w.store.tenants["quiet"] = true
				for i := range 5 {
					if _, err := w.Submit(w.Context(), requestOf(i, 1000, noisy...), "", nil); err != nil {
						t.Fatal(err)
					}
				}
				var quiet []<-chan answer
				for i := range 20 {
					quiet = append(quiet, w.submit(w.Context(), sample("quiet", fmt.Sprint("evt_", i), "a")))
				}
				for range 2 {
					w.step()
				}
				synctest.Wait()
				for i, got := range quiet {
					if len(got) == 0 {
						t.Errorf("request %d of the other waits still", i)
					} else if a := <-got; a.err != nil {
						t.Error(a.err)
					}
				}
				for w.Waiting() > 0 {
					w.step()
				}
			})
		})
	}
}

// A second turn takes as much as the first, and nothing is kept of who has nothing here.
func TestEachTurnTakesAThousandEvents(t *testing.T) {
	within(t, func(w *world) {
		w.store.tenants["quiet"] = true
		for i := range 4 {
			if _, err := w.Submit(w.Context(), requestOf(i, 1000, "acme"), "", nil); err != nil {
				t.Fatal(err)
			}
		}
		const requests = 1500
		answered := make(chan answer, requests)
		for i := range requests {
			got := w.submit(w.Context(), sample("quiet", fmt.Sprint("evt_", i), "a"))
			go func() { answered <- <-got }()
		}
		synctest.Wait()
		for range 2 {
			w.step()
		}
		synctest.Wait()
		if len(answered) != requests {
			t.Errorf("after two steps %d of %d are answered", len(answered), requests)
		}
		for w.Waiting() > 0 {
			w.step()
		}
		if n := w.Lines(); n > 0 {
			t.Errorf("%d tenants are kept that have nothing here", n)
		}
	})
}

// Whether by its requests or by their events: a tenant leaves a fifth of the room to others, and gets it again.
func TestATenantLeavesRoomForOthers(t *testing.T) {
	for events, want := range map[int]int{1: 4096 - 4096/5, 1000: 40} {
		within(t, func(w *world) {
			fill := func() (found int) {
				for ; ; found++ {
					_, err := w.Submit(w.Context(), requestOf(found, events, "acme"), "", nil)
					if problem.Is(err, problem.Unavailable) {
						return found
					}
					if err != nil {
						w.Fatal(err)
					}
				}
			}
			if found := fill(); found != want {
				w.Errorf("%d requests of %d events found room, want %d", found, events, want)
			}
			if _, err := w.Submit(w.Context(), requestOf(0, events, "other"), "", nil); err != nil {
				w.Errorf("another tenant's did not: %v", err)
			}
			before := w.Waiting()
			w.step()
			if found := fill(); found == 0 || w.Waiting() > before {
				w.Errorf("%d requests found room again, and %d events wait", found, w.Waiting())
			}
		})
	}
}
