package simulation_test

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// bugsOfReading are about who pulls events, who follows deliveries, and what is told of dead letters.
func bugsOfReading() []simulation.Bug {
	return []simulation.Bug{
		bug("an event is left out where a cursor stands before it", func(s *store) {
			s.eventsAfter = func(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error) {
				events, err := s.Store.EventsAfter(ctx, owner, sequence, limit)
				if sequence > 0 && limit > 1 && len(events) > 1 {
					events = events[1:]
				}
				return events, err
			}
		}),
		bug("the last change is not told", func(s *store) {
			s.heard = func(ctx context.Context, after int64, limit int) ([]live.Record, error) {
				records, err := s.Store.DeliveryRecords(ctx, after, limit)
				if n := len(records); n > 1 {
					records[n-2] = records[n-1]
					records = records[:n-1]
				}
				return records, err
			}
		}),
		bug("the last change is not told to who comes back", func(s *store) {
			s.missed = func(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
				records, err := s.Store.TenantDeliveryRecords(ctx, owner, after, upTo)
				return records[:max(0, len(records)-1)], err
			}
		}),
		bug("a dead letter is told nobody", func(s *store) {
			s.appendEvents = func(ctx context.Context, events []intake.Accepted) error {
				told := slices.DeleteFunc(slices.Clone(events), func(e intake.Accepted) bool { return e.Type == event.DeliveryDeadLettered })
				if len(told) == 0 {
					return nil
				}
				return s.Store.AppendEvents(ctx, told)
			}
		}),
	}
}

// bugsOfRequests are about transactions that are run again, Idempotency-Keys, quotas and room.
func bugsOfRequests() []simulation.Bug {
	return []simulation.Bug{
		bug("what was scheduled before a collision is scheduled, too", func(s *store) {
			var carried, now []fanout.Scheduled
			s.schedule = func(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
				now = append(now, plan.Scheduled...)
				plan.Scheduled, carried = append(carried, plan.Scheduled...), nil
				return s.Store.Schedule(ctx, plan, ended)
			}
			s.inTx = func(ctx context.Context, fn func(context.Context) error) error {
				if memory.Joined(ctx) {
					return s.Store.InTx(ctx, fn)
				}
				now = nil
				return s.Store.InTx(ctx, func(ctx context.Context) error {
					carried, now = now, nil
					return fn(ctx)
				})
			}
		}),
		bug("a request is carried out whose key is no longer its own", func(s *store) {
			s.answer = func(ctx context.Context, key idempotency.Key, token string, sealed []byte) (bool, error) {
				_, err := s.Store.Answer(ctx, key, token, sealed)
				return true, err
			}
		}),
		bug("what was sent today is not counted", func(s *store) {
			s.countDay = func(_ context.Context, _ time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
				return sent, nil
			}
		}),
		bug("what was refused counts as sent", func(s *store) {
			s.countDay = func(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
				more := map[tenant.ID]int{}
				for owner, n := range sent {
					more[owner] = max(n, 1)
				}
				return s.Store.CountDay(ctx, day, more)
			}
		}),
		bug("a queue that was full is full for ever", func(s *store) {
			most := map[tenant.ID]int{}
			s.countOpen = func(ctx context.Context, owner tenant.ID, upTo int) (int, error) {
				open, err := s.Store.CountOpen(ctx, owner, upTo)
				most[owner] = max(most[owner], open)
				return most[owner], err
			}
		}),
	}
}
