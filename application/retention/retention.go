// Package retention deletes what has grown too old, a little at a time.
package retention

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Ages says how long things are kept.
type Ages struct {
	Events      time.Duration // accepted events, once none of their deliveries is kept
	Attempts    time.Duration // closed deliveries with their attempts
	DeadLetters time.Duration
}

// Shortest is how long everything is kept.
func (a Ages) Shortest() time.Duration { return min(a.Events, a.Attempts, a.DeadLetters) }

// Cutoffs are the times before which things are deleted; Now is for a store that makes room ahead.
type Cutoffs struct {
	Now         time.Time
	Events      time.Time
	Attempts    time.Time
	DeadLetters time.Time
}

// Counted is the time before which something that was counted may have been deleted, so that counts cannot be compared any
// more.
func (c Cutoffs) Counted() time.Time {
	if c.Events.After(c.Attempts) {
		return c.Events
	}
	return c.Attempts
}

// Store deletes in small transactions, so that nobody has to wait long.
type Store interface {
	// Purge deletes about limit rows at most of what is older than the cutoffs, and returns how many. What is open, or not
	// fanned out yet, stays whatever its age.
	Purge(ctx context.Context, before Cutoffs, limit int) (deleted int, err error)
}

// Round is a store's way through its tenants, of which one purge may come only so far. If each began with the first tenant, it would look in
// vain at all that are done, and with thousands of them more would grow old meanwhile than is deleted.
type Round struct{ at atomic.Pointer[tenant.ID] }

// lookedAtOnce is how many tenants one look goes through: some ten milliseconds of reading, or 350 with SQLite where each has hundreds of young events.
const lookedAtOnce = 500

// Go purges tenant by tenant, in the order of their IDs, and goes on next time at the one where it came to the limit, or behind the one that
// failed: that has to wait for the next round, so that it holds up no other. Of tens of thousands of tenants few have something old: look names
// those among some. Where it fails all of them are purged, since one that is damaged must not hide the others.
func (r *Round) Go(tenants []tenant.ID, limit int, look func(owners []tenant.ID) ([]tenant.ID, error), purge func(owner tenant.ID, limit int) (int, error)) (deleted int, err error) {
	tenants = slices.Sorted(slices.Values(tenants))
	if at := r.at.Load(); at != nil {
		done, _ := slices.BinarySearch(tenants, *at)
		tenants = tenants[done:]
	}
	for some := range slices.Chunk(tenants, lookedAtOnce) {
		if old, err := look(some); err == nil {
			some = slices.Sorted(slices.Values(old))
		}
		for _, owner := range some {
			n, err := purge(owner, limit-deleted)
			if err != nil {
				behind := owner + "\x00"
				r.at.Store(&behind)
				return deleted, fmt.Errorf("purge tenant %s: %w", owner, err)
			}
			if deleted += n; deleted >= limit {
				r.at.Store(&owner)
				return deleted, nil
			}
		}
	}
	r.at.Store(nil)
	return deleted, nil
}

const (
	purgedAtOnce = 500
	pause        = time.Minute            // when nothing is left to delete
	breath       = 100 * time.Millisecond // between two deletions, for others that wait to write
)

// Retention is the step that deletes.
type Retention struct {
	store Store
	ages  Ages
	now   func() time.Time
}

// New makes a Retention.
func New(store Store, ages Ages, now func() time.Time) *Retention {
	return &Retention{store: store, ages: ages, now: now}
}

// Loop is the retention's step.
func (r *Retention) Loop() loop.Loop { return loop.Loop{Name: "retention", Step: r.Step} }

// Step deletes one batch.
func (r *Retention) Step(ctx context.Context) (time.Time, error) {
	now := r.now()
	deleted, err := r.store.Purge(ctx, Cutoffs{
		Now: now, Events: now.Add(-r.ages.Events), Attempts: now.Add(-r.ages.Attempts), DeadLetters: now.Add(-r.ages.DeadLetters),
	}, purgedAtOnce)
	if err != nil {
		return time.Time{}, fmt.Errorf("delete what is old: %w", err)
	}
	if deleted == 0 {
		return now.Add(pause), nil
	}
	return now.Add(breath), nil
}
