package simulation_test

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation"
)

// bugsOfJobs are about bulk retries and replays.
func bugsOfJobs() []simulation.Bug {
	return []simulation.Bug{
		bug("a job's place is kept before what it does", placeFirst),
		bug("a job's place is kept after what it does", func(s *store) {
			var later []func(ctx context.Context) error
			s.saveJob = func(_ context.Context, j job.Job, turn time.Time) error {
				later = append(later, func(ctx context.Context) error { return s.Store.SaveJob(ctx, j, turn) })
				return nil
			}
			s.inTx = func(ctx context.Context, fn func(context.Context) error) error {
				return inTwo(ctx, s, fn, &later)
			}
		}),
		bug("two workers go on from what each knows of a job", func(s *store) {
			known := map[string]job.Job{}
			s.nextJob = func(ctx context.Context, now time.Time) (job.Job, bool, time.Time, error) {
				j, found, turn, err := s.Store.NextJob(ctx, now)
				if before, seen := known[j.ID]; found && seen {
					j = before
				}
				return j, found, turn, err
			}
			s.saveJob = func(ctx context.Context, j job.Job, turn time.Time) error {
				known[j.ID] = j
				return s.Store.SaveJob(ctx, j, turn)
			}
		}),
		bug("a job's place is of a form that is not known any more", func(s *store) {
			s.nextJob = func(ctx context.Context, now time.Time) (job.Job, bool, time.Time, error) {
				j, found, turn, err := s.Store.NextJob(ctx, now)
				j.After = ""
				return j, found, turn, err
			}
		}),
		bug("the last of a job's stretch is left out", func(s *store) {
			s.walk = func(ctx context.Context, walk jobs.Walk) ([]delivery.Delivery, error) {
				list, err := s.Store.WalkDeliveries(ctx, walk)
				return list[:max(0, len(list)-1)], err
			}
		}),
		bug("the last of a replay's stretch is left out", func(s *store) {
			s.newest = func(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
				if len(eventIDs) > 0 && upTo != "dlv_~" { // which is asked for what is missing
					eventIDs = eventIDs[:len(eventIDs)-1]
				}
				return s.Store.NewestDeliveries(ctx, lane, eventIDs, upTo, until)
			}
		}),
		bug("the last of what is rendered anew is lost", rendering(func(plan *fanout.Plan) { plan.Scheduled = plan.Scheduled[:len(plan.Scheduled)-1] })),
		bug("a replay that renders anew sends what was rendered before", rendering(func(plan *fanout.Plan) {
			plan.Bodies = nil
			for i := range plan.Scheduled {
				renumber(&plan.Scheduled[i])
			}
		})),
		bug("what is missing does not wait for fan-out", func(s *store) {
			s.isFannedOut = func(context.Context, queries.Event) (bool, error) { return true, nil }
			s.walkEvents = func(ctx context.Context, walk jobs.EventWalk) (list []queries.Event, err error) {
				accepted, err := s.AcceptedEvents(ctx, queries.EventFilter{Tenant: walk.Tenant, Since: walk.Since, Limit: 1000})
				for _, e := range slices.Backward(accepted) {
					if e.Sequence > walk.After && e.Sequence <= walk.UpTo && len(list) < walk.Limit {
						list = append(list, e)
					}
				}
				return list, err
			}
		}),
		bug("what is missing is begun whoever else has begun it", func(s *store) {
			s.newest = func(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
				if upTo == "dlv_~" {
					return nil, nil
				}
				return s.Store.NewestDeliveries(ctx, lane, eventIDs, upTo, until)
			}
		}),
		bug("the last of what is missing is left out", func(s *store) {
			s.walkEvents = func(ctx context.Context, walk jobs.EventWalk) ([]queries.Event, error) {
				list, err := s.Store.WalkEvents(ctx, walk)
				return list[:max(0, len(list)-1)], err
			}
		}),
		bug("a job that has ended goes on", func(s *store) {
			var last job.Job
			s.nextJob = func(ctx context.Context, now time.Time) (job.Job, bool, time.Time, error) {
				j, found, turn, err := s.Store.NextJob(ctx, now)
				before := last
				if last = j; !found && err == nil && before.ID != "" {
					return before, true, turn, nil
				}
				return j, found, turn, err
			}
		}),
	}
}

// rendering changes what a replay schedules that renders anew.
func rendering(change func(plan *fanout.Plan)) func(s *store) {
	return func(s *store) {
		working := false
		s.eventBodies = func(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
			bodies, err := s.Store.EventBodies(ctx, owner, eventIDs)
			working = err == nil
			return bodies, err
		}
		s.schedule = func(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
			if working && len(plan.Scheduled) > 0 {
				change(&plan)
			}
			working = false
			return s.Store.Schedule(ctx, plan, ended)
		}
	}
}

// renumber makes the delivery send the first body of its event.
func renumber(s *fanout.Scheduled) {
	first := s.Changes[0].(delivery.Scheduled)
	first.BodyNumber = 1
	s.Changes = append([]delivery.Change{first}, s.Changes[1:]...)
	s.Delivery.BodyNumber = 1
}

// placeFirst commits how far a job has come, and what it does in a transaction of its own behind that.
func placeFirst(s *store) {
	working := false
	var later []func(ctx context.Context) error
	s.nextJob = func(ctx context.Context, now time.Time) (job.Job, bool, time.Time, error) {
		j, found, turn, err := s.Store.NextJob(ctx, now)
		working = found
		return j, found, turn, err
	}
	s.save = func(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
		if !working {
			return s.Store.Save(ctx, saved)
		}
		later = append(later, func(ctx context.Context) error {
			_, err := s.Store.Save(ctx, saved)
			return err
		})
		return nil, nil
	}
	s.inTx = func(ctx context.Context, fn func(context.Context) error) error {
		defer func() { working = false }()
		return inTwo(ctx, s, fn, &later)
	}
}

// inTwo is a transaction, and another for what it has left for later.
func inTwo(ctx context.Context, s *store, fn func(context.Context) error, later *[]func(ctx context.Context) error) error {
	if err := s.Store.InTx(ctx, fn); err != nil {
		*later = nil
		return err
	}
	left := *later
	*later = nil
	for _, do := range left {
		if err := s.Store.InTx(ctx, do); err != nil {
			return err
		}
	}
	return nil
}
