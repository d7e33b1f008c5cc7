package share

import (
	"context"
	"slices"
	"sync"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Slots are lent one at a time. A tenant gets all of them but one, which is kept for the next to come; what is done for none counts as one
// tenant's.
type Slots struct {
	mu      sync.Mutex
	free    int
	most    int // that one tenant may have
	held    map[tenant.ID]int
	waiting map[tenant.ID][]*waiter // first come, first served within a tenant
	turns   []tenant.ID             // of those who wait, the next first
}

type waiter struct{ given chan struct{} }

// NewSlots makes n slots.
func NewSlots(n int) *Slots {
	return &Slots{free: n, most: max(n-1, 1), held: map[tenant.ID]int{}, waiting: map[tenant.ID][]*waiter{}}
}

// Enter waits for a slot, which leave gives back. The error is why ctx ended.
func (s *Slots) Enter(ctx context.Context) (leave func(), err error) {
	owner, _ := Of(ctx)
	leave = func() { s.leave(owner) }
	w := s.ask(owner)
	if w == nil {
		return leave, nil
	}
	select {
	case <-w.given:
		return leave, nil
	case <-ctx.Done():
		if !s.withdraw(owner, w) { // it was given one at the same moment
			leave()
		}
		return nil, context.Cause(ctx)
	}
}

// ask takes a slot, or waits for one behind the tenant's others.
func (s *Slots) ask(owner tenant.ID) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 && s.held[owner] < s.most {
		s.take(owner)
		return nil
	}
	if len(s.waiting[owner]) == 0 {
		s.turns = append(s.turns, owner)
	}
	w := &waiter{make(chan struct{})}
	s.waiting[owner] = append(s.waiting[owner], w)
	return w
}

func (s *Slots) take(owner tenant.ID) {
	s.free--
	s.held[owner]++
}

func (s *Slots) leave(owner tenant.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if s.held[owner]--; s.held[owner] == 0 {
		delete(s.held, owner)
	}
	s.give()
}

// give lends what is free to those whose turn it is. Who may have no more is passed over, and keeps its turn.
func (s *Slots) give() {
	for i := 0; i < len(s.turns) && s.free > 0; {
		owner := s.turns[i]
		if s.held[owner] >= s.most {
			i++
			continue
		}
		first := s.waiting[owner][0]
		s.turns = append(slices.Delete(s.turns, i, i+1), owner)
		s.remove(owner, 0)
		s.take(owner)
		close(first.given)
	}
}

// remove takes one out of those who wait, and the tenant's turn with the last.
func (s *Slots) remove(owner tenant.ID, at int) {
	if s.waiting[owner] = slices.Delete(s.waiting[owner], at, at+1); len(s.waiting[owner]) == 0 {
		delete(s.waiting, owner)
		s.turns = slices.DeleteFunc(s.turns, func(t tenant.ID) bool { return t == owner })
	}
}

// withdraw is false when it does not wait any more.
func (s *Slots) withdraw(owner tenant.ID, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.waiting[owner], w)
	if at >= 0 {
		s.remove(owner, at)
	}
	return at >= 0
}
