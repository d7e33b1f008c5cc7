package simulation_test

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// planted is every bug: mistakes that were made in systems of this kind, or that a change here could make.
func planted() []simulation.Bug {
	return slices.Concat(bugsOfAccepting(), bugsOfFanOut(), bugsOfLeasing(), bugsOfRecording(), bugsOfSweeping(), bugsOfRetrying(), bugsOfJobs(),
		bugsOfRebuilds(), bugsOfRotations(), bugsOfEnds(), bugsOfContent(), bugsOfReading(), bugsOfRequests(), bugsOfAdmins())
}

func bugsOfAccepting() []simulation.Bug {
	return []simulation.Bug{
		bug("known as a duplicate before the commit", func(s *store) {
			seen := map[intake.EventKey][32]byte{}
			s.appendEvents = func(ctx context.Context, events []intake.Accepted) error {
				for _, e := range events {
					seen[e.Key()] = e.Fingerprint
				}
				return s.Store.AppendEvents(ctx, events)
			}
			s.known = func(ctx context.Context, keys []intake.EventKey) (intake.Known, error) {
				known, err := s.Store.Known(ctx, keys)
				for _, k := range keys {
					if print, found := seen[k]; found && err == nil {
						known.Fingerprints[k] = print
					}
				}
				return known, err
			}
		}),
		bug("a commit that failed is taken for one that did not", func(s *store) {
			s.inTx = func(ctx context.Context, fn func(context.Context) error) error {
				var failed error
				if err := s.Store.InTx(ctx, func(ctx context.Context) error { failed = fn(ctx); return failed }); failed != nil {
					return err
				}
				return nil
			}
		}),
		bug("the second half of a commit's events is forgotten", func(s *store) {
			s.appendEvents = func(ctx context.Context, events []intake.Accepted) error {
				return s.Store.AppendEvents(ctx, events[:(len(events)+1)/2])
			}
		}),
		bug("retention deletes what is younger than it may", func(s *store) {
			s.purge = func(ctx context.Context, _ retention.Cutoffs, limit int) (int, error) {
				now := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
				return s.Store.Purge(ctx, retention.Cutoffs{Events: now, Attempts: now, DeadLetters: now}, limit)
			}
		}),
	}
}

func bugsOfFanOut() []simulation.Bug {
	return []simulation.Bug{
		bug("the offset is moved too early", func(s *store) {
			s.next = func(ctx context.Context, group string, limit int) (memory.Batch, error) {
				b, err := s.Store.Next(ctx, group, limit)
				if err == nil && len(b.Records) > 0 {
					err = s.Store.Advance(ctx, b)
				}
				return b, err
			}
			s.advance = func(context.Context, memory.Batch) error { return nil }
		}),
		bug("the offset is moved too late", func(s *store) {
			s.advance = func(ctx context.Context, b memory.Batch) error {
				if len(b.Records) > 1 {
					b.Records = b.Records[:len(b.Records)-1]
				}
				return s.Store.Advance(ctx, b)
			}
		}),
		bug("the index stays where it was first", func(s *store) {
			s.governing = func(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) ([]fanout.SubscriptionChange, map[tenant.ID]bool, error) {
				list, deferring, err := s.Store.Governing(ctx, after, upTo, limit, owners)
				if after > 0 {
					list = nil
				}
				return list, deferring, err
			}
		}),
		bug("the index runs ahead of the event", func(s *store) {
			s.governing = func(ctx context.Context, after, _ int64, limit int, owners []tenant.ID) ([]fanout.SubscriptionChange, map[tenant.ID]bool, error) {
				list, deferring, err := s.Store.Governing(ctx, after, 1<<60, limit, owners)
				for i := range list {
					list[i].Position = after + 1
				}
				return list, deferring, err
			}
		}),
		bug("records of every tenant are found", func(s *store) {
			s.resolveFor = func(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
				for i := range lookups {
					lookups[i].Tenant = "alpha"
				}
				return s.Store.ResolveFor(ctx, lookups, lanes)
			}
		}),
		bug("handed over although it was rolled back", func(s *store) {
			s.schedule = func(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
				return s.Store.Schedule(ctx, plan, func(bool) { ended(true) })
			}
		}),
		bug("not handed over although it was committed", func(s *store) {
			s.schedule = func(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
				return s.Store.Schedule(ctx, plan, func(bool) { ended(false) })
			}
		}),
		bug("slots are kept after a rollback", func(s *store) {
			s.schedule = func(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
				return s.Store.Schedule(ctx, plan, func(committed bool) {
					if committed {
						ended(true)
					}
				})
			}
		}),
		bug("a lane that was paused meanwhile is not swept again", func(s *store) {
			s.schedule = func(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
				plan.Sweeps = nil
				return s.Store.Schedule(ctx, plan, ended)
			}
		}),
		bug("one of several subscriptions is left out", func(s *store) {
			s.schedule = func(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
				if n := len(plan.Scheduled); n > 1 && plan.Scheduled[n-1].Lease == "" {
					plan.Scheduled = plan.Scheduled[:n-1]
				}
				return s.Store.Schedule(ctx, plan, ended)
			}
		}),
	}
}

func bugsOfLeasing() []simulation.Bug {
	changed := func(name string, change func(l *dispatch.Leased)) simulation.Bug {
		return bug(name, func(s *store) {
			s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
				answer, err := s.Store.LeaseReady(ctx, r)
				for i := range answer.Leased {
					change(&answer.Leased[i])
				}
				return answer, err
			}
		})
	}
	return []simulation.Bug{
		changed("the body is rendered anew for a retry", func(l *dispatch.Leased) {
			if l.Delivery.Attempts > 0 {
				l.Body = append(slices.Clone(l.Body), ' ')
			}
		}),
		changed("a retry gets another delivery's ID", func(l *dispatch.Leased) {
			if l.Delivery.Attempts > 0 {
				l.Delivery.ID += "R"
			}
		}),
		bug("leased before it is due", func(s *store) {
			s.look = func(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
				r.Now = r.Now.Add(10 * time.Second)
				return s.Store.Look(ctx, r)
			}
		}),
		bug("leased while the lane is swept", func(s *store) {
			s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
				if next, found, err := s.NextSweep(ctx); err == nil && found {
					if err := s.EndSweep(ctx, next, true, r.Now); err != nil {
						return dispatch.LeaseAnswer{}, err
					}
				}
				return s.Store.LeaseReady(ctx, r)
			}
		}),
		bug("what a subscription allows at once is not heard", func(s *store) {
			s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
				answer, err := s.Store.LeaseReady(ctx, r)
				for lane, rest := range answer.Lanes {
					rest.MaxInFlight = 100
					answer.Lanes[lane] = rest
				}
				return answer, err
			}
		}),
		bug("what is given back stays leased", func(s *store) {
			s.giveBack = func(context.Context, string, []dispatch.Leased) error { return nil }
		}),
		bug("what is given back is taken for what was attempted", func(s *store) {
			s.giveBack = func(ctx context.Context, lease string, leased []dispatch.Leased) error {
				for _, l := range leased {
					changes, err := l.Delivery.Abandon(l.Subscription.RetrySchedule, l.Delivery.UpdatedAt, l.Delivery.UpdatedAt)
					if err != nil {
						return err
					}
					moved, err := dispatch.Move(l.Delivery, changes)
					if err != nil {
						return err
					}
					moved.Lease = lease
					if _, err := s.Save(ctx, []dispatch.Saved{moved}); err != nil {
						return err
					}
				}
				return nil
			}
		}),
		bug("one of what was leased is lost on the way", func(s *store) {
			s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
				answer, err := s.Store.LeaseReady(ctx, r)
				answer.Leased = answer.Leased[:max(min(1, len(answer.Leased)), len(answer.Leased)-1)]
				return answer, err
			}
		}),
		bug("a live process is taken over", func(s *store) {
			s.orphans = func(ctx context.Context, from, _ time.Time, limit int) ([]dispatch.Orphan, error) {
				return s.Store.Orphans(ctx, from.Add(time.Minute), time.Time{}, limit)
			}
		}),
		bug("nobody takes over", func(s *store) {
			s.orphans = func(context.Context, time.Time, time.Time, int) ([]dispatch.Orphan, error) { return nil, nil }
		}),
		bug("the heart does not beat", func(s *store) {
			s.heartbeat = func(context.Context, string, time.Time) error { return nil }
		}),
		bug("a secret is opened for whoever asks", func(s *store) {
			var kept []secret.Secret
			s.openSecret = func(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
				if len(kept) > 0 {
					return kept[0], nil
				}
				opened, err := s.Store.OpenSecret(ctx, owner, subscriptionID, secretID)
				if err == nil {
					kept = append(kept, opened)
				}
				return opened, err
			}
		}),
	}
}

func bugsOfRecording() []simulation.Bug {
	decided := func(name string, change func(d *dispatch.Saved)) simulation.Bug {
		return bug(name, func(s *store) {
			s.save = func(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
				for i := range saved {
					change(&saved[i])
				}
				return s.Store.Save(ctx, saved)
			}
		})
	}
	return []simulation.Bug{
		unfenced(),
		decided("Retry-After is not heard", func(d *dispatch.Saved) {
			failed, ok := d.Changes[0].(delivery.AttemptFailed)
			if ok && failed.Attempt.RetryAfter > 0 && !failed.NextAt.IsZero() {
				failed.NextAt = failed.At.Add(time.Second)
				d.Changes, d.After.DueAt = []delivery.Change{failed}, failed.NextAt
			}
		}),
		decided("the row is not what the log says", func(d *dispatch.Saved) {
			if d.After.Status == delivery.StatusRetrying {
				d.After.Failures = 0
			}
		}),
		decided("a retry that is due never", func(d *dispatch.Saved) {
			failed, ok := d.Changes[0].(delivery.AttemptFailed)
			if ok && failed.Attempt.Number == 2 && !failed.NextAt.IsZero() {
				failed.NextAt = failed.At.AddDate(1, 0, 0)
				d.Changes, d.After.DueAt = []delivery.Change{failed}, failed.NextAt
			}
		}),
	}
}

// unfenced writes an outcome also when somebody else has the delivery by now.
func unfenced() simulation.Bug {
	return simulation.Bug{Name: "an outcome is written without a fence", Plant: func() func(simulation.Store) simulation.Store {
		leases := []string{""}
		return func(real simulation.Store) simulation.Store {
			s := replaced(real)
			s.leaseReady = func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
				if !slices.Contains(leases, r.Lease) {
					leases = append(leases, r.Lease)
				}
				return s.Store.LeaseReady(ctx, r)
			}
			s.save = func(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
				stale, err := s.Store.Save(ctx, saved)
				for place, d := range saved {
					if err == nil && slices.Contains(stale, place) {
						err = force(ctx, s.Store, d, leases)
					}
				}
				return nil, err
			}
			return s
		}
	}}
}

// force writes the outcome behind whatever came meanwhile.
func force(ctx context.Context, s simulation.Store, d dispatch.Saved, leases []string) error {
	now, err := s.Delivery(ctx, d.Before.Tenant, d.Before.ID)
	succeeded, ok := d.Changes[0].(delivery.AttemptSucceeded)
	if err != nil || !ok || now.Status.IsTerminal() {
		return err
	}
	now.Status = d.Before.Status
	succeeded.Attempt.Number = now.Attempts + 1
	forced, err := dispatch.Move(now, []delivery.Change{succeeded})
	if err != nil {
		return err
	}
	forced.TraceParent = d.TraceParent
	for _, lease := range leases {
		forced.Lease = lease
		if stale, err := s.Save(ctx, []dispatch.Saved{forced}); err != nil || len(stale) == 0 {
			return err
		}
	}
	return nil
}

func bugsOfSweeping() []simulation.Bug {
	return []simulation.Bug{
		bug("a retry is forgotten at resume", func(s *store) {
			s.swept = func(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) ([]delivery.Delivery, int, error) {
				list, held, err := s.Store.Swept(ctx, lane, statuses, limit)
				return slices.DeleteFunc(list, func(d delivery.Delivery) bool {
					return d.Status == delivery.StatusParked && d.Attempts > 0
				}), held, err
			}
		}),
		bug("what is parked is not cancelled with its subscription", func(s *store) {
			s.swept = func(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) ([]delivery.Delivery, int, error) {
				if len(statuses) > 1 {
					statuses = without(statuses, delivery.StatusParked)
				}
				return s.Store.Swept(ctx, lane, statuses, limit)
			}
		}),
		bug("a sweep does not wait for attempts that are out", func(s *store) {
			s.endSweep = func(ctx context.Context, w sweep.Sweep, _ bool, now time.Time) error {
				return s.Store.EndSweep(ctx, w, true, now)
			}
		}),
		bug("only the first that are parked are released", func(s *store) {
			s.endSweep = func(ctx context.Context, w sweep.Sweep, done bool, now time.Time) error {
				return s.Store.EndSweep(ctx, w, done || w.Action == sweep.Release, now)
			}
			s.swept = func(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, _ int) ([]delivery.Delivery, int, error) {
				return s.Store.Swept(ctx, lane, statuses, 1)
			}
		}),
	}
}

// bugsOfRetrying are about events that were set aside.
func bugsOfRetrying() []simulation.Bug {
	return []simulation.Bug{
		bug("what was counted of an event stays when it is fanned out again", func(s *store) {
			s.fanOutAgain = func(ctx context.Context, e queries.Event, retried queries.Retried) error {
				e.SetAside = &fanout.SetAside{}
				return s.Store.FanOutAgain(ctx, e, retried)
			}
		}),
		bug("an event is fanned out again although it is not set aside", func(s *store) {
			s.holdEvent = func(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
				e, err := s.Store.HoldEvent(ctx, owner, id)
				if e.SetAside == nil {
					e.SetAside = &fanout.SetAside{}
				}
				return e, err
			}
		}),
		bug("a retry of an event is answered and not written", func(s *store) {
			s.fanOutAgain = func(context.Context, queries.Event, queries.Retried) error { return nil }
		}),
	}
}
