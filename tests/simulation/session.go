package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// Store is what the simulated processes ask of the database.
type Store interface {
	intake.Store
	fanout.TurnStore
	dispatch.Store
	dispatch.Incarnations
	dispatch.Secrets
	sweep.Store
	retention.Store
	subscriptions.Store
	queries.DeliveryStore
	queries.EventRetryStore
	jobs.Store
	jobs.DeliveryStore
	jobs.EventStore
	jobs.RenderStore
	access.TenantStore
	directory.Store
	metrics.RebuildStore
	subscriptions.NoticeStore
	catchup.Reader
	live.Log
	live.KeyReader
	idempotency.Store
	intake.QuotaStore
	intake.BacklogStore
	TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error)
	BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error
	Next(ctx context.Context, group string, limit int) (memory.Batch, error)
	Advance(ctx context.Context, b memory.Batch) error
}

// session is one process's connection to the database: each call may fail, take long, be the last one, or let
// others work first.
type session struct {
	*memory.Store
	p *process
}

// commit is a transaction of a session on its way.
type commit struct {
	lost bool
	late []func(ctx context.Context) // what is done when the caller did not learn that it was kept
}

type commitKey struct{}

func (s *session) enter(ctx context.Context, name string) error {
	w := s.p.world
	w.counts.Calls++
	w.trace.call(s.p, name)
	if !memory.Joined(ctx) && w.current != nil && w.order.IntN(6) == 0 {
		w.current.sleep(w.now, nil)
	}
	if s.p.dead {
		memory.Break(ctx, errKilled)
		return errKilled
	}
	if err := w.faults.call(s.p, memory.Joined(ctx)); err != nil {
		w.trace.line("%s: %s fails: %v", s.p.name, name, err)
		memory.Break(ctx, err)
		return err
	}
	return nil
}

// InTx runs fn in a transaction whose commit may go wrong in every way, and runs it again after a collision, as PostgreSQL's store does.
func (s *session) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if memory.Joined(ctx) {
		return s.Store.InTx(ctx, fn)
	}
	err := s.inTx(ctx, fn)
	for repeats := 0; errors.Is(err, errCollided) && repeats < maxRepeats; repeats++ {
		s.p.world.counts.Collided++
		err = s.inTx(ctx, fn)
	}
	return err
}

// maxRepeats is how often a transaction is run again.
const maxRepeats = 5

func (s *session) inTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := s.enter(ctx, "begin"); err != nil {
		return err
	}
	w, c := s.p.world, &commit{}
	fate := faultKinds
	err := s.Store.InTx(context.WithValue(ctx, commitKey{}, c), func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		if s.p.dead {
			return errKilled
		}
		switch fate = w.faults.fate(s.p); fate {
		case commitFails:
			return errCommit
		case collides:
			return errCollided
		}
		c.lost = fate != faultKinds
		return nil
	})
	switch {
	case err != nil || fate == faultKinds:
		return err
	case fate == killedAfter:
		s.p.die()
		return errKilled
	default:
		w.begin(s.p, s.p.name+"/late commit", func(a *activity) {
			a.sleep(w.now.Add(w.faults.span(100*time.Millisecond, 10*time.Second)), nil)
			for _, fn := range c.late {
				fn(context.Background())
			}
		})
		return errUnknown
	}
}

// write is a call that is a transaction by itself when it is in none.
func write[T any](ctx context.Context, s *session, name string, call func(ctx context.Context) (T, error)) (answer T, err error) {
	s.p.world.mayWrite(name)
	err = s.InTx(ctx, func(ctx context.Context) error {
		if err := s.enter(ctx, name); err != nil {
			return err
		}
		answer, err = call(ctx)
		return err
	})
	return answer, err
}

func do(ctx context.Context, s *session, name string, call func(ctx context.Context) error) error {
	_, err := write(ctx, s, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

func read[T any](ctx context.Context, s *session, name string, call func(ctx context.Context) (T, error)) (T, error) {
	if err := s.enter(ctx, name); err != nil {
		var none T
		return none, err
	}
	return call(ctx)
}

// Of intake.

func (s *session) Known(ctx context.Context, keys []intake.EventKey) (intake.Known, error) {
	return read(ctx, s, "Known", func(ctx context.Context) (intake.Known, error) { return s.Store.Known(ctx, keys) })
}

func (s *session) AppendEvents(ctx context.Context, events []intake.Accepted) error {
	return do(ctx, s, "AppendEvents", func(ctx context.Context) error {
		for _, e := range events {
			s.p.world.journal.accepted[e.Key()] = s.p.world.now
		}
		return s.Store.AppendEvents(ctx, events)
	})
}

// Of fan-out.

func (s *session) Next(ctx context.Context, group string, limit int) (memory.Batch, error) {
	return read(ctx, s, "Next", func(ctx context.Context) (memory.Batch, error) { return s.Store.Next(ctx, group, limit) })
}

func (s *session) Advance(ctx context.Context, b memory.Batch) error {
	return do(ctx, s, "Advance", func(ctx context.Context) error { return s.Store.Advance(ctx, b) })
}

func (s *session) Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error) {
	return read(ctx, s, "Events", func(ctx context.Context) ([]intake.Accepted, error) { return s.Store.Events(ctx, keys) })
}

func (s *session) NamedBy(ctx context.Context, position int64) ([]intake.EventKey, error) {
	return read(ctx, s, "NamedBy", func(ctx context.Context) ([]intake.EventKey, error) { return s.Store.NamedBy(ctx, position) })
}

func (s *session) Governing(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) ([]fanout.SubscriptionChange, map[tenant.ID]bool, error) {
	if err := s.enter(ctx, "Governing"); err != nil {
		return nil, nil, err
	}
	return s.Store.Governing(ctx, after, upTo, limit, owners)
}

func (s *session) ResolveFor(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
	if err := s.enter(ctx, "ResolveFor"); err != nil {
		return nil, nil, err
	}
	return s.Store.ResolveFor(ctx, lookups, lanes)
}

func (s *session) Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	return read(ctx, s, "Resolve", func(ctx context.Context) ([]payload.Context, error) { return s.Store.Resolve(ctx, lookups) })
}

func (s *session) LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error) {
	return read(ctx, s, "LaneStates", func(ctx context.Context) (map[dispatch.Lane]fanout.LaneState, error) {
		return s.Store.LaneStates(ctx, lanes)
	})
}

func (s *session) NextTurn(ctx context.Context, after tenant.ID) (tenant.ID, error) {
	return read(ctx, s, "NextTurn", func(ctx context.Context) (tenant.ID, error) { return s.Store.NextTurn(ctx, after) })
}

func (s *session) DeferredOf(ctx context.Context, owner tenant.ID, limit int) ([]fanout.Deferred, error) {
	return read(ctx, s, "DeferredOf", func(ctx context.Context) ([]fanout.Deferred, error) { return s.Store.DeferredOf(ctx, owner, limit) })
}

func (s *session) MayDefer(ctx context.Context, since time.Time) (bool, error) {
	return read(ctx, s, "MayDefer", func(ctx context.Context) (bool, error) { return s.Store.MayDefer(ctx, since) })
}

func (s *session) OldestUnrouted(ctx context.Context) (time.Time, error) {
	return read(ctx, s, "OldestUnrouted", s.Store.OldestUnrouted)
}

func (s *session) SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	if err := s.enter(ctx, "SubscriptionsAt"); err != nil {
		return nil, nil, err
	}
	return s.Store.SubscriptionsAt(ctx, owners, position)
}

// Schedule tells what became of the transaction only when the process learns of it.
func (s *session) Schedule(ctx context.Context, plan fanout.Plan, ended func(committed bool)) error {
	return do(ctx, s, "Schedule", func(ctx context.Context) error {
		c := ctx.Value(commitKey{}).(*commit)
		job := s.p.working != "" && s.p.world.current.name == s.p.name+"/jobs"
		if job {
			s.p.world.renders(ctx, s.p.working, plan)
		}
		s.p.world.gates(ctx, plan, job)
		for _, d := range plan.Scheduled {
			if d.Lease != "" {
				s.p.world.leases(ctx, s.p, d.Delivery)
			}
		}
		return s.Store.Schedule(ctx, plan, func(committed bool) {
			if c.lost {
				c.late = append(c.late, func(context.Context) { ended(true) })
				return
			}
			ended(committed)
		})
	})
}

// Of the dispatcher.

func (s *session) Look(ctx context.Context, request dispatch.LookRequest) (dispatch.LookAnswer, error) {
	return write(ctx, s, "Look", func(ctx context.Context) (dispatch.LookAnswer, error) { return s.Store.Look(ctx, request) })
}

// LeaseReady gives back what it leased when its caller does not learn of it.
func (s *session) LeaseReady(ctx context.Context, request dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	return write(ctx, s, "LeaseReady", func(ctx context.Context) (dispatch.LeaseAnswer, error) {
		answer, err := s.Store.LeaseReady(ctx, request)
		if err == nil {
			for _, l := range answer.Leased {
				s.p.world.leases(ctx, s.p, l.Delivery)
			}
			c := ctx.Value(commitKey{}).(*commit)
			c.late = append(c.late, func(ctx context.Context) { s.giveBackLate(ctx, request.Lease, answer.Leased) })
		}
		return answer, err
	})
}

// giveBackLate tries again until it has succeeded, as long as the process lives.
func (s *session) giveBackLate(ctx context.Context, lease string, leased []dispatch.Leased) {
	for s.GiveBack(ctx, lease, leased) != nil && !s.p.dead {
		s.p.world.current.sleep(s.p.world.now.Add(50*time.Millisecond), nil)
	}
}

func (s *session) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	return write(ctx, s, "Save", func(ctx context.Context) ([]int, error) {
		if s.p.working != "" && s.p.world.current.name == s.p.name+"/jobs" {
			for _, d := range saved {
				s.p.world.resends(s.p.working, d.Before, d.Changes)
			}
		}
		return s.Store.Save(ctx, saved)
	})
}

func (s *session) NoteHealth(ctx context.Context, lanes map[dispatch.Lane]dispatch.Ended, now time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	return write(ctx, s, "NoteHealth", func(ctx context.Context) (map[dispatch.Lane]dispatch.Health, error) {
		return s.Store.NoteHealth(ctx, lanes, now)
	})
}

func (s *session) GiveBack(ctx context.Context, lease string, leased []dispatch.Leased) error {
	return do(ctx, s, "GiveBack", func(ctx context.Context) error {
		for _, l := range leased {
			s.p.world.givesBack(l.Delivery)
		}
		return s.Store.GiveBack(ctx, lease, leased)
	})
}

func (s *session) BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error {
	return do(ctx, s, "BeginIncarnation", func(ctx context.Context) error { return s.Store.BeginIncarnation(ctx, incarnation, now) })
}

func (s *session) Heartbeat(ctx context.Context, incarnation string, now time.Time) error {
	return do(ctx, s, "Heartbeat", func(ctx context.Context) error { return s.Store.Heartbeat(ctx, incarnation, now) })
}

func (s *session) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	return read(ctx, s, "Orphans", func(ctx context.Context) ([]dispatch.Orphan, error) {
		return s.Store.Orphans(ctx, from, to, limit)
	})
}

func (s *session) OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	return read(ctx, s, "OpenSecret", func(ctx context.Context) (secret.Secret, error) {
		return s.Store.OpenSecret(ctx, owner, subscriptionID, secretID)
	})
}

func (s *session) NoteCircuits(ctx context.Context, incarnation string, reports []dispatch.CircuitReport) error {
	return do(ctx, s, "NoteCircuits", func(ctx context.Context) error { return s.Store.NoteCircuits(ctx, incarnation, reports) })
}

// Of sweeps.

func (s *session) NextSweep(ctx context.Context) (next sweep.Sweep, found bool, err error) {
	next, err = read(ctx, s, "NextSweep", func(ctx context.Context) (next sweep.Sweep, err error) {
		next, found, err = s.Store.NextSweep(ctx)
		return next, err
	})
	return next, found, err
}

func (s *session) Swept(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) (list []delivery.Delivery, held int, err error) {
	list, err = read(ctx, s, "Swept", func(ctx context.Context) (list []delivery.Delivery, err error) {
		list, held, err = s.Store.Swept(ctx, lane, statuses, limit)
		return list, err
	})
	return list, held, err
}

func (s *session) EndSweep(ctx context.Context, w sweep.Sweep, done bool, now time.Time) error {
	return do(ctx, s, "EndSweep", func(ctx context.Context) error { return s.Store.EndSweep(ctx, w, done, now) })
}

// Of what users ask for.

func (s *session) LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return read(ctx, s, "LoadSubscription", func(ctx context.Context) (subscription.Subscription, error) {
		return s.Store.LoadSubscription(ctx, lane)
	})
}

func (s *session) SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return read(ctx, s, "SubscriptionToChange", func(ctx context.Context) (subscription.Subscription, error) {
		return s.Store.SubscriptionToChange(ctx, lane)
	})
}

func (s *session) CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return read(ctx, s, "CurrentSubscription", func(ctx context.Context) (subscription.Subscription, error) {
		return s.Store.CurrentSubscription(ctx, lane)
	})
}

func (s *session) AppendSubscription(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
	return do(ctx, s, "AppendSubscription", func(ctx context.Context) error {
		return s.Store.AppendSubscription(ctx, before, after, changes, by)
	})
}

func (s *session) CountSubscriptions(ctx context.Context, owner tenant.ID) (int, error) {
	return read(ctx, s, "CountSubscriptions", func(ctx context.Context) (int, error) { return s.Store.CountSubscriptions(ctx, owner) })
}

func (s *session) SaveSecret(ctx context.Context, lane dispatch.Lane, id string, plain secret.Secret, now time.Time) error {
	return do(ctx, s, "SaveSecret", func(ctx context.Context) error { return s.Store.SaveSecret(ctx, lane, id, plain, now) })
}

func (s *session) Delivery(ctx context.Context, owner tenant.ID, id string) (delivery.Delivery, error) {
	return read(ctx, s, "Delivery", func(ctx context.Context) (delivery.Delivery, error) { return s.Store.Delivery(ctx, owner, id) })
}

func (s *session) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	return read(ctx, s, "HoldEvent", func(ctx context.Context) (queries.Event, error) { return s.Store.HoldEvent(ctx, owner, id) })
}

func (s *session) FanOutAgain(ctx context.Context, e queries.Event, retried queries.Retried) error {
	return do(ctx, s, "FanOutAgain", func(ctx context.Context) error { return s.Store.FanOutAgain(ctx, e, retried) })
}

func (s *session) Upsert(ctx context.Context, owner tenant.ID, b directory.Batch) error {
	return do(ctx, s, "Upsert", func(ctx context.Context) error { return s.Store.Upsert(ctx, owner, b) })
}
