package intake

import (
	"slices"
	"sync"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// What waits to be accepted is bounded, since it is held in memory. A tenant leaves a fifth of the room to others.
const (
	maxQueued   = 4096                      // requests
	maxWaiting  = 50_000                    // events of theirs, also those in the transaction under way
	mostQueued  = maxQueued - maxQueued/5   // of one tenant
	mostWaiting = maxWaiting - maxWaiting/5 // of one tenant
)

// queue is what waits, in turns by tenant: however much one has sent at once, another's next request is among the next to be accepted. Requests
// with events of several tenants wait as if they were one more tenant's.
type queue struct {
	mu       sync.Mutex
	came     int64 // so many, in all
	requests int
	events   int
	of       map[tenant.ID]*line
	turns    []tenant.ID // of those that have requests here, the next first
}

// line is what one tenant has: requests, first come first served, and the count of events that wait, or are in a transaction.
type line struct {
	requests []*Submission
	events   int
	taken    int // in the turn under way
}

// perTurn is how many events a turn takes: as many as one request may have, so that small requests do not wait longer than large ones.
const perTurn = 1000

func ownerOf(events []event.Event) (owner tenant.ID) {
	for i, e := range events {
		if i > 0 && e.TenantID != owner {
			return ""
		}
		owner = e.TenantID
	}
	return owner
}

// hasRoom says whether one more request with so many events would find room.
func (q *queue) hasRoom(owner tenant.ID, events int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.roomIn(q.of[owner], events)
}

func (q *queue) roomIn(l *line, events int) bool {
	if l != nil && (len(l.requests) >= mostQueued || l.events+events > mostWaiting) {
		return false
	}
	return q.requests < maxQueued && q.events+events <= maxWaiting
}

// add is false where there is no room.
func (q *queue) add(s *Submission) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.of[s.owner]
	if !q.roomIn(l, s.count) {
		return false
	}
	if l == nil {
		l = &line{}
		q.of[s.owner] = l
	}
	if len(l.requests) == 0 {
		q.turns = append(q.turns, s.owner)
	}
	q.came++
	s.number = q.came
	l.requests = append(l.requests, s)
	q.requests, q.events, l.events = q.requests+1, q.events+s.count, l.events+s.count
	return true
}

// take is the request whose turn it is, which is counted until done; nil for none.
func (q *queue) take() *Submission {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		return nil
	}
	owner := q.turns[0]
	l := q.of[owner]
	s := l.requests[0]
	l.requests[0] = nil
	l.requests = l.requests[1:]
	q.requests--
	if l.taken += s.count; l.taken >= perTurn || len(l.requests) == 0 {
		l.taken, q.turns = 0, slices.Delete(q.turns, 0, 1)
		if len(l.requests) > 0 {
			q.turns = append(q.turns, owner)
		}
	}
	q.forget(owner, l)
	return s
}

// done gives back the room of its events.
func (q *queue) done(s *Submission) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.events -= s.count
	if l := q.of[s.owner]; l != nil {
		l.events -= s.count
		q.forget(s.owner, l)
	}
}

func (q *queue) forget(owner tenant.ID, l *line) {
	if l.events == 0 && len(l.requests) == 0 {
		delete(q.of, owner)
	}
}
