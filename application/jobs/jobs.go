// Package jobs sends many deliveries again, a bounded batch at a time: bulk retries and replays. A step's work and the job's
// progress are one transaction, so that a job goes on where it stood, whatever ends its process.
package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Store keeps jobs.
type Store interface {
	// CreateJob answers ErrTooMany when the tenant has maxOpen open jobs already.
	CreateJob(ctx context.Context, j job.Job, maxOpen int) error
	// Job answers problem.NotFound when the tenant has no such job. Within a transaction the job stays as it is until the end.
	Job(ctx context.Context, owner tenant.ID, id string) (job.Job, error)
	// Jobs lists newest first; before is the ID that the last page ended with, empty for the first.
	Jobs(ctx context.Context, owner tenant.ID, before string, limit int) ([]job.Job, error)
	// NextJob is the open job that has waited longest for its turn, among those that no other process works on. If there is
	// none it returns when the next turn is; zero for never. One that is damaged has failed, see job.Read.
	NextJob(ctx context.Context, now time.Time) (j job.Job, found bool, turn time.Time, err error)
	// SaveJob writes the job; turn is the next turn of an open one.
	SaveJob(ctx context.Context, j job.Job, turn time.Time) error
}

// ErrTooMany refuses a job of a tenant that has as many open ones as it may have.
func ErrTooMany(open int) error {
	return problem.New(problem.Conflict, "The tenant has %d open jobs, which is as many as it may have: wait for one of them, or cancel it.", open)
}

// Walk is a stretch of a tenant's deliveries, by their IDs.
type Walk struct {
	Tenant tenant.ID
	// Filter says which index to walk by; what that yields must still be checked against it.
	Filter      job.Filter
	After, UpTo string // After is exclusive
	Limit       int
}

// Statuses says what the filter wants: whether open deliveries, and which closed ones.
func (w Walk) Statuses() (open bool, closed []delivery.Status) {
	for _, status := range w.Filter.Statuses {
		if status.IsTerminal() {
			closed = append(closed, status)
		} else {
			open = true
		}
	}
	return open, closed
}

// DeliveryStore reads deliveries, and moves them.
type DeliveryStore interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Deliveries lists newest first.
	Deliveries(ctx context.Context, filter queries.DeliveryFilter) ([]delivery.Delivery, error)
	// WalkDeliveries lists oldest first, however few the filter picks, and reads no more than a few times the limit.
	WalkDeliveries(ctx context.Context, walk Walk) ([]delivery.Delivery, error)
	// NewestDeliveries maps each event to its newest delivery in the lane, up to the ID and made before the time; zero for any
	// time.
	NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error)
	// LaneStates returns the present state of the lanes' subscriptions; within a transaction it stays so until the end.
	LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error)
	Save(ctx context.Context, saved []dispatch.Saved) (stale []int, err error)
	// CountOpen counts the tenant's open deliveries, or everybody's when it is empty, and stops at upTo.
	CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error)
}

// Gate asks whether a tenant has booked a feature.
type Gate interface {
	Enabled(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error)
}

// Service takes requests for jobs.
type Service struct {
	Store Store
	Picker
	Now   func() time.Time
	NewID func(prefix string) string
}

// Request is what somebody asks for.
type Request struct {
	Tenant tenant.ID
	Kind   job.Kind
	Mode   job.Mode
	Filter job.Filter
	By     job.Requester
}

// Begin accepts a job, to be worked on soon.
func (s *Service) Begin(ctx context.Context, r Request) (job.Job, error) {
	j, err := s.prepare(ctx, r)
	if err != nil {
		return job.Job{}, err
	}
	if err := s.Store.CreateJob(ctx, j, job.MaxOpen); err != nil {
		return job.Job{}, fmt.Errorf("create a job: %w", err)
	}
	return j, nil
}

// maxLookedAt bounds a dry run.
const maxLookedAt = 100_000

// DryRun counts what a job would find now, and changes nothing. The job that it returns is not stored; it has succeeded when
// everything was looked at.
func (s *Service) DryRun(ctx context.Context, r Request) (job.Job, error) {
	j, err := s.prepare(ctx, r)
	if err != nil {
		return job.Job{}, err
	}
	for looked := 0; looked < maxLookedAt; {
		next, err := s.pick(ctx, j, s.Now())
		if err != nil {
			return job.Job{}, err
		}
		next.tally.Done = len(next.deliveries)
		j.AfterEvent = next.afterEvent
		j.Advance(next.tally, next.after, s.Now())
		if next.last || next.waits { // of what fan-out is not done with nobody knows what will be missing
			j.Finish(s.Now())
			return j, nil
		}
		looked += next.looked
	}
	return j, nil
}

// prepare refuses what no job could do.
func (s *Service) prepare(ctx context.Context, r Request) (job.Job, error) {
	fields := problem.Collect("")
	for i, status := range r.Filter.Statuses {
		if !status.IsRetryable() {
			fields.Under("statuses").Add(problem.Index(i), "is a status in which a delivery is sent anyway")
		}
	}
	if err := fields.Err(); err != nil {
		return job.Job{}, err
	}
	if r.Kind == job.Replay {
		if err := s.mustBeActive(ctx, dispatch.Lane{Tenant: r.Tenant, SubscriptionID: r.Filter.SubscriptionID}); err != nil {
			return job.Job{}, err
		}
	}
	j := job.New(s.NewID("job_"), r.Tenant, r.Kind, r.Mode, r.Filter, r.By, s.Now())
	if r.Mode == job.Missing {
		err := s.reachEvents(ctx, &j)
		return j, err
	}
	newest, err := s.Deliveries.Deliveries(ctx, queries.DeliveryFilter{Tenant: r.Tenant, SubscriptionID: r.Filter.SubscriptionID, Limit: 1})
	if err != nil {
		return job.Job{}, fmt.Errorf("find the newest delivery: %w", err)
	}
	for _, d := range newest {
		j.ReachTo(d.ID)
	}
	return j, nil
}

func (s *Service) mustBeActive(ctx context.Context, lane dispatch.Lane) error {
	states, err := s.Deliveries.LaneStates(ctx, []dispatch.Lane{lane})
	if err != nil {
		return fmt.Errorf("read the state of %s: %w", lane.SubscriptionID, err)
	}
	switch state := states[lane]; state.Status {
	case subscription.StatusActive:
		return nil
	case subscription.StatusPaused, subscription.StatusDisabled:
		return problem.New(problem.Conflict, "The subscription is %s; only an active one is sent to.", state.Status)
	default: // deleted, or never there
		return subscription.ErrNotFound
	}
}

// Cancel ends a job where it stands.
func (s *Service) Cancel(ctx context.Context, owner tenant.ID, id string) (j job.Job, err error) {
	err = s.Deliveries.InTx(ctx, func(ctx context.Context) error {
		if j, err = s.Store.Job(ctx, owner, id); err != nil {
			return err
		}
		if err := j.Cancel(s.Now()); err != nil {
			return err
		}
		return s.Store.SaveJob(ctx, j, time.Time{})
	})
	return j, err
}
