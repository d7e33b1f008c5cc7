package reconciliation

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// How often an hour is checked.
const (
	recently    = 2 * Span        // how long an hour counts as recent
	recentEvery = 5 * time.Minute // a recent one
	every       = 24 * time.Hour  // others
	idle        = 30 * time.Second
)

// Checked is one hour of one tenant.
type Checked struct {
	Tenant tenant.ID
	Begins time.Time
}

// CheckStore keeps the turns of the checks.
type CheckStore interface {
	Reader
	// NextCheck gives the caller the hour that has been due longest, and makes it due again at retry, so that only one of
	// several processes checks it; false when none is due at now.
	NextCheck(ctx context.Context, now, retry time.Time) (Checked, bool, error)
	// EndCheck notes the result.
	EndCheck(ctx context.Context, c Checked, unbalanced bool, now, next time.Time) error
}

// Checker is the background check of the invariant: every hour of every tenant, the recent ones more often.
type Checker struct {
	store  CheckStore
	now    func() time.Time
	report func(context.Context, Checked, Missing)
}

// NewChecker makes a Checker; report hears of each hour that does not balance.
func NewChecker(store CheckStore, now func() time.Time, report func(context.Context, Checked, Missing)) *Checker {
	return &Checker{store: store, now: now, report: report}
}

// Loop is the checker's step. Any number of processes may run it: each hour is checked by one.
func (c *Checker) Loop() loop.Loop { return loop.Loop{Name: "reconciliation", Step: c.Step} }

// Step checks one hour.
func (c *Checker) Step(ctx context.Context) (time.Time, error) {
	now := c.now()
	due, found, err := c.store.NextCheck(ctx, now, now.Add(recentEvery))
	if err != nil {
		return time.Time{}, fmt.Errorf("find an hour to reconcile: %w", err)
	}
	if !found {
		return now.Add(idle), nil
	}
	hours, err := c.store.Hours(ctx, due.Tenant, due.Begins, due.Begins.Add(Span))
	if err != nil {
		return time.Time{}, fmt.Errorf("reconcile an hour: %w", err)
	}
	unbalanced := false
	for _, h := range hours {
		if unbalanced = !h.Balanced(); unbalanced {
			c.report(ctx, due, h.Missing())
		}
	}
	next := now.Add(every)
	if now.Sub(due.Begins) < recently {
		next = now.Add(recentEvery)
	}
	if err := c.store.EndCheck(ctx, due, unbalanced, now, next); err != nil {
		return time.Time{}, fmt.Errorf("note a reconciliation: %w", err)
	}
	return now, nil
}
