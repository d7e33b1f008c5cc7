package intake

import (
	"context"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Limits bound what intake accepts while earlier events are not dealt with; 0 is no bound.
type Limits struct {
	// EventsPerDay is how many events of a tenant are accepted on a UTC day. Duplicates do not count.
	EventsPerDay int
	// TenantOpen and Open bound unfinished deliveries: of one tenant, and of all together.
	TenantOpen, Open int
	// FanOutLag is how long the oldest accepted event may have waited for its deliveries to be scheduled.
	FanOutLag time.Duration
}

// BacklogStore says what waits. The cost of an answer is bounded by what is asked for.
type BacklogStore interface {
	// CountOpen counts the tenant's open deliveries, or everybody's when it is empty, and stops at upTo.
	CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error)
	// OldestUnrouted is when the oldest record was written that fan-out has not reached yet; zero when there is none.
	OldestUnrouted(ctx context.Context) (time.Time, error)
	// WaitingFrom maps each tenant with events waiting for their turn at fan-out to when the oldest of their records was
	// written.
	WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error)
	// DeliveriesPerEvent is how many deliveries an event of each tenant came to on average in the last hour that has any; for a
	// tenant of which nothing has been fanned out yet, its number of subscriptions, at most MostAssumed.
	DeliveriesPerEvent(ctx context.Context, owners []tenant.ID) (map[tenant.ID]float64, error)
	// CountProcesses counts the processes that have said since then that they live.
	CountProcesses(ctx context.Context, since time.Time) (int, error)
}

// MostAssumed is how many deliveries an event is assumed to come to at most while nobody knows: otherwise a tenant with
// thousands of subscriptions, each with its filter, would be refused before its first event was fanned out.
const MostAssumed = 100

const (
	lookEvery  = time.Second
	weighEvery = 10 * time.Second // how often to ask what a tenant's events come to; sooner at first
	// sharesFor is how long a process that has fallen silent keeps its share.
	sharesFor = 30 * time.Second
)

// Backlog looks now and then at what waits behind intake, so that a request is refused by what was last seen and costs no count
// of its own. Between two counts each process takes no more than its share of what was free, by what events come to, so that
// all of them together stay within the bound.
type Backlog struct {
	store  BacklogStore
	limits Limits
	now    func() time.Time
	wake   loop.Signal

	restUntil time.Time // only the step uses it

	mu        sync.Mutex
	late      bool               // fan-out lags
	lateOf    map[tenant.ID]bool // tenants whose events wait too long for their turn
	processes int
	all       room
	emitters  map[tenant.ID]*emitter
}

// emitter is a tenant that has emitted lately.
type emitter struct {
	room
	waiting    int     // parts of requests that hold some of the room
	perEvent   float64 // deliveries that an event comes to
	weighedAt  time.Time
	weighAfter time.Duration // how long until it is asked again
	acceptedAt time.Time
}

// NewBacklog makes a Backlog that has seen nothing yet.
func NewBacklog(store BacklogStore, limits Limits, now func() time.Time) *Backlog {
	return &Backlog{store: store, limits: limits, now: now, wake: loop.NewSignal(), processes: 1, all: room{limit: limits.Open}, emitters: map[tenant.ID]*emitter{}}
}

// Loop is the step that looks.
func (b *Backlog) Loop() loop.Loop { return loop.Loop{Name: "backlog", Step: b.Step, Wake: b.wake} }

func (b *Backlog) isBounded() bool { return b.limits.Open > 0 || b.limits.TenantOpen > 0 }

// hold is how many deliveries a tenant's events that wait to be accepted will come to.
type hold struct {
	owner      tenant.ID
	deliveries float64
}

// admit refuses events for which there is no room, or holds room for them until it is released.
func (b *Backlog) admit(events []event.Event) ([]hold, Reason, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.late {
		return nil, ReasonFanOutLag, later(problem.Unavailable, 5*time.Second, "Events that were accepted wait too long for their deliveries to be scheduled; send this again a little later.")
	}
	for i := range events {
		if b.lateOf[events[i].TenantID] {
			return nil, ReasonFanOutLag, later(problem.Unavailable, 5*time.Second,
				"Events of the tenant %s wait too long for their deliveries to be scheduled; send this again a little later.", events[i].TenantID)
		}
	}
	if !b.isBounded() {
		return nil, "", nil
	}
	if !b.all.hasSpace(b.processes) {
		b.ask(&b.all)
		return nil, ReasonOpen, later(problem.Unavailable, b.all.comeAgain(), "Too many deliveries are not finished; send this again later.")
	}
	for i := range events {
		if e := b.emitters[events[i].TenantID]; e != nil && !e.hasSpace(b.processes) {
			b.ask(&e.room)
			return nil, ReasonTenantOpen, later(problem.RateLimited, e.comeAgain(),
				"The tenant %s may have %d deliveries that are not finished, those parked for paused and disabled subscriptions included, and there is no room for more: "+
					"see to its receivers, and send this again later.", events[i].TenantID, e.limit)
		}
	}
	return b.hold(events), "", nil
}

// hold takes room for what the events come to, tenant by tenant in the order of the request.
func (b *Backlog) hold(events []event.Event) (holds []hold) {
	for i := range events {
		owner := events[i].TenantID
		e := b.emitters[owner]
		if e == nil {
			e = &emitter{room: room{limit: b.limits.TenantOpen}, perEvent: 1}
			b.emitters[owner] = e
		}
		last := len(holds) - 1
		if last < 0 || holds[last].owner != owner {
			holds = append(holds, hold{owner: owner})
			e.waiting++
			last++
		}
		holds[last].deliveries += e.perEvent
	}
	for _, h := range holds {
		e := b.emitters[h.owner]
		e.held += h.deliveries
		b.all.held += h.deliveries
		b.ask(&e.room)
	}
	b.ask(&b.all)
	return holds
}

// ask wakes the loop once for a room that wants a count.
func (b *Backlog) ask(r *room) {
	if !r.asked && r.wantsCount(b.processes) {
		r.asked = true
		b.wake.Send()
	}
}

// settle releases what was held for the submissions; the fresh events among them were accepted.
func (b *Backlog) settle(group []*Submission, fresh []Accepted) {
	if !b.isBounded() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	for i := range fresh {
		e := b.emitters[fresh[i].TenantID]
		if e.weighedAt.IsZero() && e.acceptedAt.IsZero() {
			b.wake.Send()
		}
		e.acceptedAt = now
		e.accept(now, e.perEvent)
		b.all.accept(now, e.perEvent)
	}
	for _, s := range group {
		b.letGo(s.holds)
	}
}

// release releases what was held for events that were not submitted.
func (b *Backlog) release(holds []hold) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letGo(holds)
}

// letGo forgets a tenant of which nothing was ever accepted: it may not exist.
func (b *Backlog) letGo(holds []hold) {
	for _, h := range holds {
		e := b.emitters[h.owner]
		b.all.held = max(0, b.all.held-h.deliveries)
		e.held = max(0, e.held-h.deliveries)
		if e.waiting--; e.waiting == 0 {
			e.held = 0
			if e.acceptedAt.IsZero() {
				delete(b.emitters, h.owner)
			}
		}
	}
}

func later(code problem.Code, after time.Duration, format string, args ...any) error {
	refused := problem.New(code, format, args...)
	refused.RetryAfter = after
	return refused
}
