package storetest

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// planted is the real store, but for the methods that are set, which are given it. It is one type for all bugs: a type that embeds a Store
// is compiled with all of its methods.
type planted struct {
	Store
	addAttempts          func(ctx context.Context, s Store, g metrics.Generation, counts map[metrics.Key]int64) error
	answer               func(ctx context.Context, s Store, key idempotency.Key, token string, sealed []byte) (bool, error)
	circuits             func(ctx context.Context, s Store, owner tenant.ID, ids []string, heartbeatSince time.Time) (map[string]circuit.Report, error)
	countDay             func(ctx context.Context, s Store, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error)
	countKeys            func(ctx context.Context, s Store, owner tenant.ID, now time.Time) (int, error)
	countOpen            func(ctx context.Context, s Store, owner tenant.ID, upTo int) (int, error)
	countProcesses       func(ctx context.Context, s Store, since time.Time) (int, error)
	currentSubscription  func(ctx context.Context, s Store, lane dispatch.Lane) (subscription.Subscription, error)
	deferredOf           func(ctx context.Context, s Store, owner tenant.ID, limit int) ([]fanout.Deferred, error)
	deliveries           func(ctx context.Context, s Store, f queries.DeliveryFilter) ([]delivery.Delivery, error)
	endSweep             func(ctx context.Context, s Store, w sweep.Sweep, done bool, now time.Time) error
	fanOutAgain          func(ctx context.Context, s Store, e queries.Event, retried queries.Retried) error
	goLive               func(ctx context.Context, s Store, g metrics.Generation) (bool, error)
	holdEvent            func(ctx context.Context, s Store, owner tenant.ID, id string) (queries.Event, error)
	inTx                 func(ctx context.Context, s Store, fn func(context.Context) error) error
	known                func(ctx context.Context, s Store, keys []intake.EventKey) (intake.Known, error)
	leaseReady           func(ctx context.Context, s Store, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error)
	look                 func(ctx context.Context, s Store, r dispatch.LookRequest) (dispatch.LookAnswer, error)
	namedBy              func(ctx context.Context, s Store, position int64) ([]intake.EventKey, error)
	nextNotices          func(ctx context.Context, s Store, after subscriptions.Notice, limit int) ([]subscriptions.Notice, error)
	nextTurn             func(ctx context.Context, s Store, after tenant.ID) (tenant.ID, error)
	openSecret           func(ctx context.Context, s Store, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error)
	orphans              func(ctx context.Context, s Store, from, to time.Time, limit int) ([]dispatch.Orphan, error)
	purge                func(ctx context.Context, s Store, before retention.Cutoffs, limit int) (int, error)
	resolve              func(ctx context.Context, s Store, lookups []fanout.Lookup) ([]payload.Context, error)
	revokeKey            func(ctx context.Context, s Store, owner tenant.ID, id string, now time.Time) error
	save                 func(ctx context.Context, s Store, saved []dispatch.Saved) ([]int, error)
	schedule             func(ctx context.Context, s Store, plan fanout.Plan, ended func(bool)) error
	subscriptionToChange func(ctx context.Context, s Store, lane dispatch.Lane) (subscription.Subscription, error)
	subscriptionsAt      func(ctx context.Context, s Store, owners []tenant.ID, position int64) ([]subscription.Subscription, []dispatch.Lane, error)
	upsert               func(ctx context.Context, s Store, owner tenant.ID, b directory.Batch) error
	waitingFrom          func(ctx context.Context, s Store) (map[tenant.ID]time.Time, error)
	walkEvents           func(ctx context.Context, s Store, walk jobs.EventWalk) ([]queries.Event, error)
}

func (p planted) AddAttempts(ctx context.Context, g metrics.Generation, counts map[metrics.Key]int64) error {
	if p.addAttempts != nil {
		return p.addAttempts(ctx, p.Store, g, counts)
	}
	return p.Store.AddAttempts(ctx, g, counts)
}

func (p planted) Answer(ctx context.Context, key idempotency.Key, token string, sealed []byte) (bool, error) {
	if p.answer != nil {
		return p.answer(ctx, p.Store, key, token, sealed)
	}
	return p.Store.Answer(ctx, key, token, sealed)
}

func (p planted) Circuits(ctx context.Context, owner tenant.ID, ids []string, heartbeatSince time.Time) (map[string]circuit.Report, error) {
	if p.circuits != nil {
		return p.circuits(ctx, p.Store, owner, ids, heartbeatSince)
	}
	return p.Store.Circuits(ctx, owner, ids, heartbeatSince)
}

func (p planted) CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	if p.countDay != nil {
		return p.countDay(ctx, p.Store, day, sent)
	}
	return p.Store.CountDay(ctx, day, sent)
}

func (p planted) CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error) {
	if p.countOpen != nil {
		return p.countOpen(ctx, p.Store, owner, upTo)
	}
	return p.Store.CountOpen(ctx, owner, upTo)
}

func (p planted) CountProcesses(ctx context.Context, since time.Time) (int, error) {
	if p.countProcesses != nil {
		return p.countProcesses(ctx, p.Store, since)
	}
	return p.Store.CountProcesses(ctx, since)
}

func (p planted) CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	if p.currentSubscription != nil {
		return p.currentSubscription(ctx, p.Store, lane)
	}
	return p.Store.CurrentSubscription(ctx, lane)
}

func (p planted) DeferredOf(ctx context.Context, owner tenant.ID, limit int) ([]fanout.Deferred, error) {
	if p.deferredOf != nil {
		return p.deferredOf(ctx, p.Store, owner, limit)
	}
	return p.Store.DeferredOf(ctx, owner, limit)
}

func (p planted) Deliveries(ctx context.Context, f queries.DeliveryFilter) ([]delivery.Delivery, error) {
	if p.deliveries != nil {
		return p.deliveries(ctx, p.Store, f)
	}
	return p.Store.Deliveries(ctx, f)
}

func (p planted) EndSweep(ctx context.Context, w sweep.Sweep, done bool, now time.Time) error {
	if p.endSweep != nil {
		return p.endSweep(ctx, p.Store, w, done, now)
	}
	return p.Store.EndSweep(ctx, w, done, now)
}

func (p planted) FanOutAgain(ctx context.Context, e queries.Event, retried queries.Retried) error {
	if p.fanOutAgain != nil {
		return p.fanOutAgain(ctx, p.Store, e, retried)
	}
	return p.Store.FanOutAgain(ctx, e, retried)
}

func (p planted) GoLive(ctx context.Context, g metrics.Generation) (bool, error) {
	if p.goLive != nil {
		return p.goLive(ctx, p.Store, g)
	}
	return p.Store.GoLive(ctx, g)
}

func (p planted) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	if p.holdEvent != nil {
		return p.holdEvent(ctx, p.Store, owner, id)
	}
	return p.Store.HoldEvent(ctx, owner, id)
}

func (p planted) InTx(ctx context.Context, fn func(context.Context) error) error {
	if p.inTx != nil {
		return p.inTx(ctx, p.Store, fn)
	}
	return p.Store.InTx(ctx, fn)
}

func (p planted) Known(ctx context.Context, keys []intake.EventKey) (intake.Known, error) {
	if p.known != nil {
		return p.known(ctx, p.Store, keys)
	}
	return p.Store.Known(ctx, keys)
}

func (p planted) LeaseReady(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	if p.leaseReady != nil {
		return p.leaseReady(ctx, p.Store, r)
	}
	return p.Store.LeaseReady(ctx, r)
}

func (p planted) Look(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	if p.look != nil {
		return p.look(ctx, p.Store, r)
	}
	return p.Store.Look(ctx, r)
}

func (p planted) NamedBy(ctx context.Context, position int64) ([]intake.EventKey, error) {
	if p.namedBy != nil {
		return p.namedBy(ctx, p.Store, position)
	}
	return p.Store.NamedBy(ctx, position)
}

func (p planted) NextNotices(ctx context.Context, after subscriptions.Notice, limit int) ([]subscriptions.Notice, error) {
	if p.nextNotices != nil {
		return p.nextNotices(ctx, p.Store, after, limit)
	}
	return p.Store.NextNotices(ctx, after, limit)
}

func (p planted) NextTurn(ctx context.Context, after tenant.ID) (tenant.ID, error) {
	if p.nextTurn != nil {
		return p.nextTurn(ctx, p.Store, after)
	}
	return p.Store.NextTurn(ctx, after)
}

func (p planted) OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	if p.openSecret != nil {
		return p.openSecret(ctx, p.Store, owner, subscriptionID, secretID)
	}
	return p.Store.OpenSecret(ctx, owner, subscriptionID, secretID)
}

func (p planted) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	if p.orphans != nil {
		return p.orphans(ctx, p.Store, from, to, limit)
	}
	return p.Store.Orphans(ctx, from, to, limit)
}

func (p planted) Purge(ctx context.Context, before retention.Cutoffs, limit int) (int, error) {
	if p.purge != nil {
		return p.purge(ctx, p.Store, before, limit)
	}
	return p.Store.Purge(ctx, before, limit)
}

func (p planted) Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	if p.resolve != nil {
		return p.resolve(ctx, p.Store, lookups)
	}
	return p.Store.Resolve(ctx, lookups)
}

func (p planted) CountKeys(ctx context.Context, owner tenant.ID, now time.Time) (int, error) {
	if p.countKeys != nil {
		return p.countKeys(ctx, p.Store, owner, now)
	}
	return p.Store.CountKeys(ctx, owner, now)
}

func (p planted) RevokeKey(ctx context.Context, owner tenant.ID, id string, now time.Time) error {
	if p.revokeKey != nil {
		return p.revokeKey(ctx, p.Store, owner, id, now)
	}
	return p.Store.RevokeKey(ctx, owner, id, now)
}

func (p planted) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	if p.save != nil {
		return p.save(ctx, p.Store, saved)
	}
	return p.Store.Save(ctx, saved)
}

func (p planted) Schedule(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
	if p.schedule != nil {
		return p.schedule(ctx, p.Store, plan, ended)
	}
	return p.Store.Schedule(ctx, plan, ended)
}

func (p planted) SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	if p.subscriptionToChange != nil {
		return p.subscriptionToChange(ctx, p.Store, lane)
	}
	return p.Store.SubscriptionToChange(ctx, lane)
}

func (p planted) SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	if p.subscriptionsAt != nil {
		return p.subscriptionsAt(ctx, p.Store, owners, position)
	}
	return p.Store.SubscriptionsAt(ctx, owners, position)
}

func (p planted) Upsert(ctx context.Context, owner tenant.ID, b directory.Batch) error {
	if p.upsert != nil {
		return p.upsert(ctx, p.Store, owner, b)
	}
	return p.Store.Upsert(ctx, owner, b)
}

func (p planted) WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error) {
	if p.waitingFrom != nil {
		return p.waitingFrom(ctx, p.Store)
	}
	return p.Store.WaitingFrom(ctx)
}

func (p planted) WalkEvents(ctx context.Context, walk jobs.EventWalk) ([]queries.Event, error) {
	if p.walkEvents != nil {
		return p.walkEvents(ctx, p.Store, walk)
	}
	return p.Store.WalkEvents(ctx, walk)
}
