package demo

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

func (s *stage) failsTwice(ctx context.Context) error {
	hook := s.receiver.at("/flaky", func(n int, w http.ResponseWriter, _ *http.Request) {
		if n <= 2 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
	})
	sub, err := s.subscribe(ctx, ruhr, hook, []string{"target.completed"}, nil)
	if err != nil {
		return err
	}
	event, _, err := s.emit(ctx, s.api, ruhr, "target.completed", nil)
	if err != nil {
		return err
	}
	var first arrival
	for n := range 3 {
		got, err := hook.next(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			first = got
		} else if !sameDelivery(got, first) {
			return fmt.Errorf("attempt %d differs from the first", n+1)
		}
	}
	s.tick("three attempts, the same delivery ID and the same bytes each time")
	id, err := s.deliveryOf(ctx, event, sub.ID)
	if err != nil {
		return err
	}
	d, err := s.settled(ctx, id, "succeeded")
	if err != nil {
		return err
	}
	s.tick("the delivery says so: %s", story(d))
	return nil
}

// sameDelivery reports whether a receiver can tell that both bring the same.
func sameDelivery(a, b arrival) bool {
	for _, id := range []string{"X-Ordinavo-Event-Id", "X-Ordinavo-Delivery-Id", "webhook-id"} {
		if a.header.Get(id) != b.header.Get(id) {
			return false
		}
	}
	return string(a.body) == string(b.body)
}

// story is a delivery's attempts in a line.
func story(d delivery) string {
	var steps []string
	for _, a := range d.Attempts {
		step := fmt.Sprintf("attempt %d %s", a.Number, a.Outcome)
		if a.ResponseStatus != nil {
			step += fmt.Sprintf(" (%d)", *a.ResponseStatus)
		}
		steps = append(steps, step)
	}
	return strings.Join(steps, " → ") + ": " + d.Status
}

func (s *stage) deadLetter(ctx context.Context) error {
	var up atomic.Bool
	hook := s.receiver.at("/down", func(_ int, w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			http.Error(w, "down", http.StatusInternalServerError)
		}
	})
	sub, err := s.subscribe(ctx, ruhr, hook, []string{"target.scheduled"}, nil)
	if err != nil {
		return err
	}
	event, _, err := s.emit(ctx, s.api, ruhr, "target.scheduled", nil)
	if err != nil {
		return err
	}
	id, err := s.deliveryOf(ctx, event, sub.ID)
	if err != nil {
		return err
	}
	d, err := s.settled(ctx, id, "dead_letter")
	if err != nil {
		return err
	}
	s.tick("after the whole retry schedule it is kept as a dead letter: %s", story(d))
	up.Store(true)
	if err := s.api.as(ruhr).call(ctx, http.MethodPost, "/v1/deliveries/"+id+"/retry", nil, nil); err != nil {
		return err
	}
	if d, err = s.settled(ctx, id, "succeeded"); err != nil {
		return err
	}
	s.tick("the receiver is back; POST /v1/deliveries/{id}/retry delivers it: %s", story(d))
	return nil
}

// killed kills the process while a receiver holds one of its attempts, and starts another one on the same data.
func (s *stage) killed(ctx context.Context) error {
	release := make(chan struct{})
	hook := s.receiver.at("/slow", func(n int, _ http.ResponseWriter, q *http.Request) {
		if n == 1 {
			select {
			case <-release:
			case <-q.Context().Done():
			}
		}
	})
	defer close(release)
	sub, err := s.subscribe(ctx, ruhr, hook, []string{"target.imported"}, nil)
	if err != nil {
		return err
	}
	event, _, err := s.emit(ctx, s.api, ruhr, "target.imported", nil)
	if err != nil {
		return err
	}
	first, err := hook.next(ctx)
	if err != nil {
		return err
	}
	s.service.kill()
	s.tick("kill -9 while the receiver was still reading: nobody knows how that attempt ended")
	if err := s.startService(ctx); err != nil {
		return err
	}
	second, err := hook.next(ctx)
	if err != nil {
		return err
	}
	if !sameDelivery(second, first) {
		return fmt.Errorf("the bytes or the IDs changed over the restart")
	}
	s.tick("a new process took the delivery over and sent the same bytes under the same IDs")
	id, err := s.deliveryOf(ctx, event, sub.ID)
	if err != nil {
		return err
	}
	d, err := s.settled(ctx, id, "succeeded")
	if err != nil {
		return err
	}
	s.tick("and the delivery tells it: %s", story(d))
	return nil
}
