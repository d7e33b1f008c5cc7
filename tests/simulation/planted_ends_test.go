package simulation_test

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// bugsOfEnds come to rest, and in a place that nobody asked for.
func bugsOfEnds() []simulation.Bug {
	return []simulation.Bug{
		bug("a resumption cancels what was parked", sweeping(sweep.Release, sweep.Skip)),
		bug("a pause cancels whatever is open", sweeping(sweep.Park, sweep.Cancel)),
		bug("what is to be skipped is released", sweeping(sweep.Skip, sweep.Release)),
		bug("the first failure is the last", failing(func(failed *delivery.AttemptFailed) { failed.NextAt = time.Time{} })),
		bug("a 410 disables nothing", func(s *store) {
			s.appendSub = func(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
				if slices.ContainsFunc(changes, func(c subscription.Change) bool { _, is := c.(subscription.Disabled); return is }) {
					return nil
				}
				return s.Store.AppendSubscription(ctx, before, after, changes, by)
			}
		}),
		bug("a pause is taken for a receiver that is gone", func(s *store) {
			s.appendSub = func(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
				for i, c := range changes {
					if paused, is := c.(subscription.Paused); is {
						changes[i] = subscription.Disabled{At: paused.At, Reason: subscription.ReasonGone}
						after.Status, after.Reason = subscription.StatusDisabled, subscription.ReasonGone
					}
				}
				return s.Store.AppendSubscription(ctx, before, after, changes, by)
			}
		}),
		bug("a lane's subscription stays what it was at its first lease", func(s *store) {
			first := map[dispatch.Lane]*subscription.Subscription{}
			s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
				answer, err := s.Store.LeaseReady(ctx, r)
				for i, l := range answer.Leased {
					if first[l.Lane()] == nil {
						first[l.Lane()] = l.Subscription
					}
					answer.Leased[i].Subscription = first[l.Lane()]
				}
				return answer, err
			}
		}),
		bug("a lane is leased from its end", backwards),
		bug("what is due is looked for a minute late", func(s *store) {
			s.look = func(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
				r.Now = r.Now.Add(-time.Minute)
				return s.Store.Look(ctx, r)
			}
		}),
		bug("an event is deleted that is still to be delivered", deleting(func(ctx context.Context, s damaged, of delivery.Delivery) error {
			return s.DropEvent(ctx, of.Tenant, of.EventID)
		})),
		bug("a body is deleted that is still to be sent", deleting(func(ctx context.Context, s damaged, of delivery.Delivery) error { return s.DropBody(ctx, of) })),
		bug("the schedule is not heard", failing(func(failed *delivery.AttemptFailed) { failed.NextAt = failed.At.Add(time.Millisecond) })),
	}
}

// sweeping does another thing than was asked for.
func sweeping(asked, done sweep.Action) func(s *store) {
	return func(s *store) {
		s.nextSweep = func(ctx context.Context) (sweep.Sweep, bool, error) {
			next, found, err := s.Store.NextSweep(ctx)
			if next.Action == asked {
				next.Action = done
			}
			return next, found, err
		}
		s.endSweep = func(ctx context.Context, w sweep.Sweep, over bool, now time.Time) error {
			if noted, found, err := s.Store.NextSweep(ctx); err != nil || found && noted.Lane == w.Lane {
				w.Action = noted.Action
			}
			return s.Store.EndSweep(ctx, w, over, now)
		}
	}
}

// damaged is a store of which somebody takes away what is needed.
type damaged interface {
	Rows() []memory.Row
	DropBody(ctx context.Context, d delivery.Delivery) error
	DropEvent(ctx context.Context, owner tenant.ID, id string) error
}

// deleting deletes for each open delivery of an event that is old.
func deleting(drop func(ctx context.Context, s damaged, of delivery.Delivery) error) func(s *store) {
	return func(s *store) {
		s.purge = func(ctx context.Context, before retention.Cutoffs, limit int) (n int, err error) {
			err = s.InTx(ctx, func(ctx context.Context) error {
				below := s.Store.(damaged)
				for _, row := range below.Rows() {
					if row.Closed || !row.CreatedAt.Before(before.Events) {
						continue
					}
					if err := drop(ctx, below, row.Delivery); err != nil {
						return err
					}
				}
				n, err = s.Store.Purge(ctx, before, limit)
				return err
			})
			return n, err
		}
	}
}

// failing changes what a failed attempt leads to that is not the last.
func failing(change func(failed *delivery.AttemptFailed)) func(s *store) {
	return func(s *store) {
		s.save = func(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
			for i, d := range saved {
				failed, ok := d.Changes[0].(delivery.AttemptFailed)
				if !ok || failed.NextAt.IsZero() {
					continue
				}
				change(&failed)
				changes := []delivery.Change{failed}
				if failed.NextAt.IsZero() {
					changes = append(changes, delivery.DeadLettered{At: failed.At, Reason: delivery.ReasonExhausted})
				}
				moved, err := dispatch.Move(d.Before, changes)
				if err != nil {
					return nil, err
				}
				saved[i].Changes, saved[i].After = changes, moved.After
			}
			return s.Store.Save(ctx, saved)
		}
	}
}

// backwards leases all that is ready in a lane, keeps the newest of it, and gives the rest back.
func backwards(s *store) {
	s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (answer dispatch.LeaseAnswer, err error) {
		const many = 1 << 20
		whole := r
		whole.Lanes = slices.Clone(r.Lanes)
		for i := range whole.Lanes {
			whole.Lanes[i].Slots, whole.Lanes[i].Out = many, -many
		}
		err = s.InTx(ctx, func(ctx context.Context) error {
			if answer, err = s.Store.LeaseReady(ctx, whole); err != nil {
				return err
			}
			var kept, rest []dispatch.Leased
			for _, asked := range r.Lanes {
				ready := slices.DeleteFunc(slices.Clone(answer.Leased), func(l dispatch.Leased) bool { return l.Lane() != asked.Lane })
				of := answer.Lanes[asked.Lane]
				most := min(len(ready), max(0, min(asked.Slots, of.MaxInFlight-asked.Out)))
				if of.More = len(ready) > most; of.MaxInFlight > 0 {
					answer.Lanes[asked.Lane] = of
				}
				rest, kept = append(rest, ready[:len(ready)-most]...), append(kept, ready[len(ready)-most:]...)
			}
			answer.Leased = kept
			return s.Store.GiveBack(ctx, r.Lease, rest)
		})
		return answer, err
	}
}
