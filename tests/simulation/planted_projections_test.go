package simulation_test

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/tests/simulation"
)

// bugsOfRebuilds are about the counts of attempts, and building them anew.
func bugsOfRebuilds() []simulation.Bug {
	return []simulation.Bug{
		bug("a rebuild goes live without what was counted meanwhile", func(s *store) {
			s.goLive = func(ctx context.Context, g metrics.Generation) (bool, error) {
				_, counted, err := s.Store.MetricsOffset(ctx, metrics.Live)
				if err != nil {
					return false, err
				}
				_, anew, err := s.Store.MetricsOffset(ctx, g)
				if err != nil {
					return false, err
				}
				if _, err := s.Store.MoveMetricsOffset(ctx, g, anew, counted); err != nil {
					return false, err
				}
				return s.Store.GoLive(ctx, g)
			}
		}),
		bug("a rebuild counts into what readers see", func(s *store) {
			s.addAttempts = func(ctx context.Context, _ metrics.Generation, counts map[metrics.Key]int64) error {
				shown, _, err := s.Store.MetricsOffset(ctx, metrics.Live)
				if err != nil {
					return err
				}
				return s.Store.AddAttempts(ctx, shown, counts)
			}
		}),
		bug("counting stands by for ever", func(s *store) {
			s.moveMetrics = func(ctx context.Context, of metrics.Generation, from, to int64) (bool, error) {
				shown, _, err := s.Store.MetricsOffset(ctx, metrics.Live)
				if err != nil || of == shown && from > 0 {
					return false, err
				}
				return s.Store.MoveMetricsOffset(ctx, of, from, to)
			}
		}),
		bug("two count the same attempts", func(s *store) {
			s.moveMetrics = func(ctx context.Context, of metrics.Generation, from, to int64) (bool, error) {
				_, err := s.Store.MoveMetricsOffset(ctx, of, from, to)
				return true, err
			}
		}),
	}
}

// bugsOfRotations are about the secrets of a rotation's overlap, and the notice of its end.
func bugsOfRotations() []simulation.Bug {
	return []simulation.Bug{
		bug("a notice is forgotten and not told", func(s *store) {
			s.appendEvents = func(ctx context.Context, events []intake.Accepted) error {
				told := slices.DeleteFunc(slices.Clone(events), func(e intake.Accepted) bool { return e.Type == event.SecretRotationEnding })
				if len(told) == 0 {
					return nil
				}
				return s.Store.AppendEvents(ctx, told)
			}
		}),
		bug("a notice is told and not forgotten", func(s *store) {
			s.endNotice = func(context.Context, subscriptions.Notice) (bool, error) { return true, nil }
		}),
		bug("an old secret is valid beyond its overlap", secretsLeased(func(of *subscription.Secrets) { of.OverlapEnd = of.OverlapEnd.Add(24 * time.Hour) })),
		bug("an old secret ends with the rotation's beginning", secretsLeased(func(of *subscription.Secrets) { of.Previous = "" })),
	}
}

// secretsLeased changes the secrets of what is leased.
func secretsLeased(change func(of *subscription.Secrets)) func(s *store) {
	return func(s *store) {
		s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
			answer, err := s.Store.LeaseReady(ctx, r)
			for i, l := range answer.Leased {
				changed := *l.Subscription
				change(&changed.Secrets)
				answer.Leased[i].Subscription = &changed
			}
			return answer, err
		}
	}
}
