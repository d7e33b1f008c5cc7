package intake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Limits bound what intake takes while what it took before is not dealt with; 0 is no bound.
type Limits struct {
	// EventsPerDay is how many events of a tenant are accepted on a day of UTC. Duplicates do not count.
	EventsPerDay int
	// TenantOpen and Open are deliveries that are not finished: a tenant's, and everybody's.
	TenantOpen, Open int
	// FanOutLag is for how long the oldest accepted event may have waited for its deliveries to be scheduled.
	FanOutLag time.Duration
}

// BacklogStore says what waits. Each answer costs no more than what it is asked for.
type BacklogStore interface {
	// CountOpen counts the tenant's open deliveries, or all of them when it is empty, and stops at upTo.
	CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error)
	// OldestUnrouted is when the oldest event was accepted that is not fanned out yet; zero when there is none.
	OldestUnrouted(ctx context.Context) (time.Time, error)
}

// Pacing of the looks: counting a long queue may take a fiftieth of one connection's time.
const (
	lookEvery    = time.Second
	countPause   = 50 // times as long as counting took
	longestPause = time.Minute
)

// Backlog looks now and then at what waits behind intake, so that a request is refused by what was seen last and costs
// no count of its own. What comes between two looks is let through.
type Backlog struct {
	store  BacklogStore
	limits Limits
	now    func() time.Time

	countAt time.Time // of the step alone

	mu      sync.Mutex
	late    bool               // fan-out lags
	full    bool               // too many deliveries are open
	fullOf  map[tenant.ID]bool // of these tenants
	emitted map[tenant.ID]bool // since the last count
}

// NewBacklog makes a Backlog that has seen nothing yet.
func NewBacklog(store BacklogStore, limits Limits, now func() time.Time) *Backlog {
	return &Backlog{store: store, limits: limits, now: now, emitted: map[tenant.ID]bool{}}
}

// Loop is the step that looks.
func (b *Backlog) Loop() loop.Loop { return loop.Loop{Name: "backlog", Step: b.Step} }

// Step looks at the lag, and when it is time again counts.
func (b *Backlog) Step(ctx context.Context) (time.Time, error) {
	now := b.now()
	if err := b.lookAtFanOut(ctx, now); err != nil {
		return time.Time{}, err
	}
	if until := b.countAt.Sub(now); until <= 0 || until > longestPause { // the clock may have been set back
		if err := b.count(ctx); err != nil {
			return time.Time{}, err
		}
		b.countAt = b.now().Add(min(countPause*b.now().Sub(now), longestPause))
	}
	return b.now().Add(lookEvery), nil
}

func (b *Backlog) lookAtFanOut(ctx context.Context, now time.Time) error {
	if b.limits.FanOutLag == 0 {
		return nil
	}
	oldest, err := b.store.OldestUnrouted(ctx)
	if err != nil {
		return fmt.Errorf("look at the lag of fan-out: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late = !oldest.IsZero() && now.Sub(oldest) > b.limits.FanOutLag
	return nil
}

func (b *Backlog) count(ctx context.Context) error {
	full, err := b.isFull(ctx, "", b.limits.Open)
	if err != nil {
		return err
	}
	fullOf := map[tenant.ID]bool{}
	for _, owner := range b.toCount() {
		if fullOf[owner], err = b.isFull(ctx, owner, b.limits.TenantOpen); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full, b.fullOf = full, fullOf
	return nil
}

func (b *Backlog) isFull(ctx context.Context, owner tenant.ID, limit int) (bool, error) {
	if limit == 0 {
		return false, nil
	}
	open, err := b.store.CountOpen(ctx, owner, limit)
	if err != nil {
		return false, fmt.Errorf("count open deliveries: %w", err)
	}
	return open >= limit, nil
}

// toCount is the tenants that emitted since the last count, and those that were full then.
func (b *Backlog) toCount() (owners []tenant.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for owner, full := range b.fullOf {
		if full {
			b.emitted[owner] = true
		}
	}
	for owner := range b.emitted {
		owners = append(owners, owner)
	}
	b.emitted = map[tenant.ID]bool{}
	return owners
}

// admit refuses events for which there is no room.
func (b *Backlog) admit(events []event.Event) (Reason, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.late:
		return ReasonFanOutLag, later(problem.Unavailable, 5*time.Second, "Events that were accepted wait too long for their deliveries to be scheduled; send this again a little later.")
	case b.full:
		return ReasonOpen, later(problem.Unavailable, 30*time.Second, "Too many deliveries are not finished; send this again later.")
	}
	for _, e := range events {
		if b.fullOf[e.TenantID] {
			return ReasonTenantOpen, later(problem.RateLimited, 30*time.Second,
				"The tenant %s has %d deliveries that are not finished, which is as many as it may have: see to its receivers, and send this again later.", e.TenantID, b.limits.TenantOpen)
		}
	}
	return "", nil
}

// accepted notes whose events they are.
func (b *Backlog) accepted(events []Accepted) {
	if b.limits.TenantOpen == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		b.emitted[e.TenantID] = true
	}
}

func later(code problem.Code, after time.Duration, format string, args ...any) error {
	refused := problem.New(code, format, args...)
	refused.RetryAfter = after
	return refused
}
