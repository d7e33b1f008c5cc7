// Package sweep moves the open deliveries of a subscription whose state has changed: paused or
// disabled parks them, resumed releases them, deleted cancels them. A sweep is noted in the
// transaction that changes the subscription, so no crash forgets it; until it is done, no
// delivery of that lane is leased.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Action is what a sweep does to each delivery.
type Action string

// The actions.
const (
	Park    Action = "park"    // what is due
	Release Action = "release" // what is parked
	Skip    Action = "skip"    // cancel what is parked, and nothing else
	Cancel  Action = "cancel"  // whatever is open
)

// ActionFor is the sweep that a change of a subscription asks for; false for none.
func ActionFor(c subscription.Change) (Action, bool) {
	switch c := c.(type) {
	case subscription.Paused, subscription.Disabled:
		return Park, true
	case subscription.Resumed:
		if c.SkipParked {
			return Skip, true
		}
		return Release, true
	case subscription.Deleted:
		return Cancel, true
	default:
		return "", false
	}
}

// ErrSkipping refuses to pause a subscription while its skip is not done: what is parked then could not be told from what was
// to be skipped, and would be sent on resuming. Nothing is sent meanwhile. Changes that a receiver or its failures bring about
// do not wait.
var ErrSkipping = problem.New(problem.Conflict, "What was parked is still being skipped; pause the subscription when that is done, in a few seconds.")

// WaitsForSkip reports whether a change is refused with ErrSkipping while a skip is noted.
func WaitsForSkip(c subscription.Change) bool {
	_, pauses := c.(subscription.Paused)
	return pauses
}

// ActionForStatus is the sweep that brings a lane's deliveries in line with its subscription's status.
func ActionForStatus(status subscription.Status) Action {
	switch status {
	case subscription.StatusActive:
		return Release
	case subscription.StatusPaused, subscription.StatusDisabled:
		return Park
	case subscription.StatusDeleted:
		return Cancel
	default:
		return Park // an unknown status sends nothing, and loses nothing
	}
}

// Sweep is a lane and what to do to its deliveries.
type Sweep struct {
	dispatch.Lane
	Action Action
}

// Store keeps the sweeps and the deliveries they move.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// NextSweep is the sweep that has waited longest; false for none.
	NextSweep(ctx context.Context) (Sweep, bool, error)
	// Swept lists open deliveries of the lane in one of the statuses that nobody holds, oldest first, and counts those of the
	// lane that a dispatcher holds.
	Swept(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) (deliveries []delivery.Delivery, held int, err error)
	Save(ctx context.Context, saved []dispatch.Saved) (stale []int, err error)
	// EndSweep forgets the sweep when it is done, or else puts it behind the others.
	EndSweep(ctx context.Context, s Sweep, done bool, now time.Time) error
}

// maxSwept bounds one transaction.
const maxSwept = 500

// waitForHeld is how soon a sweep looks again for deliveries that are being attempted.
const waitForHeld = 100 * time.Millisecond

// Sweeper carries out the sweeps.
type Sweeper struct {
	// Ended hears of deliveries that a sweep has closed, once that is committed; nil for nobody.
	Ended func(ctx context.Context, status delivery.Status, n int)

	store Store
	now   func() time.Time
	wake  loop.Signal
	// waiting is the lanes found waiting for attempts since the last pause, or since something moved.
	waiting map[dispatch.Lane]bool
}

// New makes a Sweeper.
func New(store Store, now func() time.Time) *Sweeper {
	return &Sweeper{store: store, now: now, wake: loop.NewSignal(), waiting: map[dispatch.Lane]bool{}}
}

// Wake makes the sweeper look for work.
func (s *Sweeper) Wake() { s.wake.Send() }

// Loop is the sweeper's step.
func (s *Sweeper) Loop() loop.Loop { return loop.Loop{Name: "sweep", Step: s.Step, Wake: s.wake} }

// Step moves one batch of one sweep. It is woken by each change of the queue, so it looks for a sweep before it takes the writer from others.
func (s *Sweeper) Step(ctx context.Context) (next time.Time, err error) {
	_, found, err := s.store.NextSweep(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for a sweep: %w", err)
	}
	if !found {
		return time.Time{}, nil
	}
	var r round
	err = s.store.InTx(ctx, func(ctx context.Context) (err error) {
		r, err = s.round(ctx)
		return err
	})
	switch {
	case err == nil:
		s.tell(ctx, r.ended)
		return r.next, nil
	case r.sweep == Sweep{}:
		return time.Time{}, fmt.Errorf("sweep: %w", err)
	}
	// A lane that cannot be swept does not hold up the others.
	behind := s.store.EndSweep(ctx, r.sweep, false, s.now())
	return time.Time{}, errors.Join(fmt.Errorf("sweep subscription %s of %s: %w", r.sweep.SubscriptionID, r.sweep.Tenant, err), behind)
}

// round is what one step does to a lane.
type round struct {
	sweep       Sweep
	moved, held int
	ended       map[delivery.Status]int // of those moved, in terminal ones
	next        time.Time
}

func (s *Sweeper) round(ctx context.Context) (round, error) {
	sweep, found, err := s.store.NextSweep(ctx)
	if err != nil || !found {
		return round{}, err
	}
	r := round{sweep: sweep}
	if err := s.move(ctx, &r); err != nil {
		return r, err
	}
	r.next = s.now()
	switch {
	case r.moved > 0:
		clear(s.waiting)
	case r.held > 0:
		r.next = s.pause(sweep.Lane, r.next)
	}
	return r, s.store.EndSweep(ctx, sweep, r.moved == 0 && r.held == 0, s.now())
}

func (s *Sweeper) tell(ctx context.Context, ended map[delivery.Status]int) {
	if s.Ended == nil {
		return
	}
	for status, n := range ended {
		s.Ended(ctx, status, n)
	}
}

// pause follows a round in which nothing moved, so that a lane that waits for its attempts does not hold up the others.
func (s *Sweeper) pause(lane dispatch.Lane, now time.Time) time.Time {
	if !s.waiting[lane] {
		s.waiting[lane] = true
		return now
	}
	clear(s.waiting)
	return now.Add(waitForHeld)
}

func (s *Sweeper) move(ctx context.Context, r *round) error {
	now, action := s.now(), r.sweep.Action
	deliveries, held, err := s.store.Swept(ctx, r.sweep.Lane, action.statuses(), maxSwept)
	if err != nil {
		return err
	}
	if action == Release || action == Skip {
		held = 0 // what is being attempted was not parked
	}
	saved := make([]dispatch.Saved, 0, len(deliveries))
	for _, d := range deliveries {
		changes, err := action.decide(d, now)
		if err != nil {
			return err
		}
		swept, err := dispatch.Move(d, changes)
		if err != nil {
			return err
		}
		saved = append(saved, swept)
	}
	stale, err := s.store.Save(ctx, saved)
	r.moved, r.held, r.ended = len(saved), held, map[delivery.Status]int{}
	for place, d := range saved {
		if d.After.Status.IsTerminal() && !slices.Contains(stale, place) {
			r.ended[d.After.Status]++
		}
	}
	return err
}

func (a Action) statuses() (swept []delivery.Status) {
	for _, status := range delivery.Statuses() {
		switch a {
		case Park:
			if status.IsClaimable() {
				swept = append(swept, status)
			}
		case Release, Skip:
			if status == delivery.StatusParked {
				swept = append(swept, status)
			}
		case Cancel:
			if !status.IsTerminal() {
				swept = append(swept, status)
			}
		}
	}
	return swept
}

func (a Action) decide(d delivery.Delivery, now time.Time) ([]delivery.Change, error) {
	switch a {
	case Park:
		return d.Park("the subscription takes nothing now", now)
	case Release:
		return d.Release(now)
	case Skip:
		return d.Cancel("skipped when the subscription was resumed", now)
	case Cancel:
		return d.Cancel("the subscription was deleted", now)
	default:
		return nil, fmt.Errorf("sweep: unknown action %q", a)
	}
}
