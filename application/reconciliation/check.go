package reconciliation

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// How often an hour is checked: as all are kept for months, those of a large deployment could not be checked each day.
const (
	recently    = 2 * Span        // how long an hour counts as recent
	recentEvery = 5 * time.Minute // a recent one
	every       = 24 * time.Hour  // one of the last days, or one that did not balance
	ofItsAge    = 7               // an older one is checked again after this part of its age
	idle        = 30 * time.Second
	restTimes   = 3 // a check is followed by a rest of so many times as long as it took
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
	if err := c.store.EndCheck(ctx, due, unbalanced, now, now.Add(pause(now.Sub(due.Begins), unbalanced))); err != nil {
		return time.Time{}, fmt.Errorf("note a reconciliation: %w", err)
	}
	ended := c.now()
	return ended.Add(restTimes * min(max(0, ended.Sub(now)), idle)), nil
}

// pause is how long after its check an hour of the age is checked again.
func pause(age time.Duration, unbalanced bool) time.Duration {
	switch {
	case age < recently:
		return recentEvery
	case unbalanced:
		return every
	}
	return max(every, age/ofItsAge)
}
