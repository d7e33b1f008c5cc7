package intake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Step looks at the lag and counts what is due. It takes at most half of one connection's time.
func (b *Backlog) Step(ctx context.Context) (time.Time, error) {
	began := b.now()
	if isAhead(b.restUntil, began) {
		return b.restUntil, nil
	}
	if b.isBounded() {
		if err := b.lookAtSharers(ctx, began); err != nil {
			return time.Time{}, err
		}
		if err := b.weigh(ctx, began); err != nil {
			return time.Time{}, err
		}
	}
	if err := b.lookAtQueue(ctx, began); err != nil {
		return time.Time{}, err
	}
	ended := b.now()
	b.restUntil = ended.Add(min(ended.Sub(began), longestPause))
	return b.nextLook(ended), nil
}

func (b *Backlog) lookAtSharers(ctx context.Context, now time.Time) error {
	processes, err := b.store.CountProcesses(ctx, now.Add(-sharesFor))
	if err != nil {
		return fmt.Errorf("count the processes: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.processes = max(1, processes)
	return nil
}

// weigh asks what the events of tenants come to that have emitted since they were last asked about, and forgets idle tenants.
func (b *Backlog) weigh(ctx context.Context, now time.Time) error {
	owners := b.toWeigh(now)
	if len(owners) == 0 {
		return nil
	}
	perEvent, err := b.store.DeliveriesPerEvent(ctx, owners)
	if err != nil {
		return fmt.Errorf("look at what events come to: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, owner := range owners {
		if e := b.emitters[owner]; e != nil {
			e.perEvent, e.weighedAt, e.weighAfter = perEvent[owner], now, min(max(lookEvery, 2*e.weighAfter), weighEvery)
		}
	}
	return nil
}

func (b *Backlog) toWeigh(now time.Time) (owners []tenant.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.emitters, func(_ tenant.ID, e *emitter) bool {
		return e.waiting == 0 && e.taken == 0 && !e.isFull() && !isAhead(e.acceptedAt.Add(longestPause), now)
	})
	for owner, e := range b.emitters {
		if e.weighedAt.IsZero() || (e.acceptedAt.After(e.weighedAt) || e.weighedAt.After(now)) && !isAhead(e.weighedAt.Add(e.weighAfter), now) {
			owners = append(owners, owner)
		}
	}
	return owners
}

// counting is a room about to be counted.
type counting struct {
	*room
	owner  tenant.ID // empty for all
	before int       // entries of recent that precede the count
}

// lookAtQueue looks at what is not fanned out before it counts, so that what is fanned out in between counts twice rather than
// not at all.
func (b *Backlog) lookAtQueue(ctx context.Context, now time.Time) error {
	due := b.due(now)
	if b.limits.FanOutLag == 0 && len(due) == 0 {
		return nil
	}
	oldest, err := b.store.OldestUnrouted(ctx)
	if err != nil {
		return fmt.Errorf("look at the lag of fan-out: %w", err)
	}
	waiting, err := b.store.WaitingFrom(ctx)
	if err != nil {
		return fmt.Errorf("look at what waits for its turn: %w", err)
	}
	b.lags(now, oldest, waiting)
	for _, c := range due {
		since := oldest
		for owner, from := range waiting {
			if (c.owner == "" || c.owner == owner) && (since.IsZero() || from.Before(since)) {
				since = from
			}
		}
		if err := b.count(ctx, c, since); err != nil {
			return err
		}
	}
	return nil
}

// lags notes whose events wait too long: everybody's behind the log, or one tenant's for its turn.
func (b *Backlog) lags(now, oldest time.Time, waiting map[tenant.ID]time.Time) {
	isLate := func(since time.Time) bool {
		return b.limits.FanOutLag > 0 && !since.IsZero() && now.Sub(since) > b.limits.FanOutLag
	}
	lateOf := map[tenant.ID]bool{}
	for owner, from := range waiting {
		if isLate(from) {
			lateOf[owner] = true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.late, b.lateOf = isLate(oldest), lateOf
}

func (b *Backlog) count(ctx context.Context, c counting, oldest time.Time) error {
	began := b.now()
	open, err := b.store.CountOpen(ctx, c.owner, c.limit)
	if err != nil {
		return fmt.Errorf("count open deliveries: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c.counted(open, c.before, oldest, began, b.now())
	return nil
}

func (b *Backlog) due(now time.Time) (due []counting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all.isDue(now, b.processes) {
		due = append(due, counting{&b.all, "", b.all.seal()})
	}
	for _, owner := range slices.Sorted(maps.Keys(b.emitters)) { // in an order that a simulation can repeat
		if e := b.emitters[owner]; e.isDue(now, b.processes) {
			due = append(due, counting{&e.room, owner, e.seal()})
		}
	}
	return due
}

// nextLook is after a while, or as soon as a wanted count may be made.
func (b *Backlog) nextLook(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := now.Add(lookEvery)
	sooner := func(r *room) {
		if r.wantsCount(b.processes) && r.countAt.Before(next) {
			next = r.countAt
		}
	}
	sooner(&b.all)
	for _, e := range b.emitters {
		sooner(&e.room)
	}
	return next
}
