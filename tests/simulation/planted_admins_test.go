package simulation_test

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// bugsOfAdmins are about those who change subscriptions at once, look before they send much again, and follow a part of what happens.
func bugsOfAdmins() []simulation.Bug {
	return append(bugsOfLooking(),
		bug("a subscription's own schedule is the one that it began with", func(s *store) {
			first := map[string][]time.Duration{}
			s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
				answer, err := s.Store.LeaseReady(ctx, r)
				for i := range answer.Leased {
					of := *answer.Leased[i].Subscription
					if _, known := first[of.ID]; !known {
						first[of.ID] = of.RetrySchedule
					}
					of.RetrySchedule = first[of.ID]
					answer.Leased[i].Subscription = &of
				}
				return answer, err
			}
		}),
		bug("what is abandoned again waits as some other subscription says", func(s *store) {
			s.orphans = func(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
				list, err := s.Store.Orphans(ctx, from, to, limit)
				for i := range list {
					list[i].Schedule = []time.Duration{3 * time.Second}
				}
				return list, err
			}
		}),
		bug("a change is decided on what was read before the transaction", staleRead))
}

// staleRead has settings that were read a while ago, under the present version, and writes what they lead to over those that there are.
func staleRead(s *store) {
	read := map[dispatch.Lane]subscription.Settings{}
	s.toChange = func(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
		sub, err := s.Store.SubscriptionToChange(ctx, lane)
		if before, known := read[lane]; known && err == nil {
			sub.Settings = before
		} else if err == nil {
			read[lane] = sub.Settings
		}
		return sub, err
	}
	s.appendSub = func(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
		if now, err := s.Store.SubscriptionToChange(ctx, dispatch.LaneOfSubscription(&after)); err == nil {
			before, after = now, now
			for _, c := range changes {
				if err := after.Apply(c); err != nil {
					return err
				}
			}
		}
		return s.Store.AppendSubscription(ctx, before, after, changes, by)
	}
}

// bugsOfLooking are about dry runs, and about who follows a part of what happens.
func bugsOfLooking() []simulation.Bug {
	return []simulation.Bug{
		bug("a dry run leaves out what a job does not", func(s *store) {
			s.walk = func(ctx context.Context, walk jobs.Walk) ([]delivery.Delivery, error) {
				list, err := s.Store.WalkDeliveries(ctx, walk)
				if !memory.Joined(ctx) && len(list) < walk.Limit {
					list = list[:max(0, len(list)-1)]
				}
				return list, err
			}
		}),
		bug("a dry run does what it finds", func(s *store) {
			s.walk = func(ctx context.Context, walk jobs.Walk) ([]delivery.Delivery, error) {
				list, err := s.Store.WalkDeliveries(ctx, walk)
				for _, d := range list {
					if changes, refused := d.RequestRetry(d.UpdatedAt); refused == nil && !memory.Joined(ctx) {
						saved, _ := dispatch.Move(d, changes)
						_, err = s.Store.Save(ctx, []dispatch.Saved{saved})
					}
				}
				return list, err
			}
		}),
		bug("one who follows a part is told of the last part of a stretch alone", func(s *store) {
			s.missed = func(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
				list, err := s.Store.TenantDeliveryRecords(ctx, owner, after, upTo)
				newest := map[string]int64{}
				for _, r := range list {
					newest[r.DeliveryID] = r.Version
				}
				kept := list[:0]
				for _, r := range list {
					if newest[r.DeliveryID] == r.Version {
						kept = append(kept, r)
					}
				}
				return kept, err
			}
		}),
	}
}
