package simulation_test

import (
	"context"
	"slices"
	"time"

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
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// store is a process's store in which some calls are replaced.
type store struct {
	simulation.Store
	inTx         func(ctx context.Context, fn func(ctx context.Context) error) error
	next         func(ctx context.Context, group string, limit int) (memory.Batch, error)
	advance      func(ctx context.Context, b memory.Batch) error
	known        func(ctx context.Context, keys []intake.EventKey) (intake.Known, error)
	appendEvents func(ctx context.Context, events []intake.Accepted) error
	governing    func(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) ([]fanout.SubscriptionChange, map[tenant.ID]bool, error)
	resolveFor   func(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error)
	resolve      func(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error)
	hasFeature   func(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error)
	schedule     func(ctx context.Context, plan fanout.Plan, ended func(bool)) error
	look         func(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error)
	leaseReady   func(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error)
	save         func(ctx context.Context, saved []dispatch.Saved) ([]int, error)
	giveBack     func(ctx context.Context, lease string, leased []dispatch.Leased) error
	heartbeat    func(ctx context.Context, incarnation string, now time.Time) error
	orphans      func(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error)
	openSecret   func(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error)
	swept        func(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) ([]delivery.Delivery, int, error)
	endSweep     func(ctx context.Context, w sweep.Sweep, done bool, now time.Time) error
	nextSweep    func(ctx context.Context) (sweep.Sweep, bool, error)
	appendSub    func(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error
	toChange     func(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	purge        func(ctx context.Context, before retention.Cutoffs, limit int) (int, error)
	holdEvent    func(ctx context.Context, owner tenant.ID, id string) (queries.Event, error)
	fanOutAgain  func(ctx context.Context, e queries.Event, retried queries.Retried) error
	nextJob      func(ctx context.Context, now time.Time) (job.Job, bool, time.Time, error)
	saveJob      func(ctx context.Context, j job.Job, turn time.Time) error
	walk         func(ctx context.Context, walk jobs.Walk) ([]delivery.Delivery, error)
	newest       func(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error)
	eventBodies  func(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error)
	goLive       func(ctx context.Context, g metrics.Generation) (bool, error)
	addAttempts  func(ctx context.Context, to metrics.Generation, counts map[metrics.Key]int64) error
	moveMetrics  func(ctx context.Context, of metrics.Generation, from, to int64) (bool, error)
	endNotice    func(ctx context.Context, n subscriptions.Notice) (bool, error)
	answer       func(ctx context.Context, key idempotency.Key, token string, sealed []byte) (bool, error)
	countDay     func(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error)
	countOpen    func(ctx context.Context, owner tenant.ID, upTo int) (int, error)
	walkEvents   func(ctx context.Context, walk jobs.EventWalk) ([]queries.Event, error)
	isFannedOut  func(ctx context.Context, e queries.Event) (bool, error)
	eventsAfter  func(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error)
	heard        func(ctx context.Context, after int64, limit int) ([]live.Record, error)
	missed       func(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error)
}

// replaced makes a store with the real calls, for a bug to replace some.
func replaced(s simulation.Store) *store {
	return &store{Store: s, inTx: s.InTx, next: s.Next, advance: s.Advance, known: s.Known, appendEvents: s.AppendEvents,
		governing: s.Governing, resolveFor: s.ResolveFor, resolve: s.Resolve, hasFeature: s.TenantHasFeature, schedule: s.Schedule, look: s.Look, leaseReady: s.LeaseReady, save: s.Save, giveBack: s.GiveBack,
		heartbeat: s.Heartbeat, orphans: s.Orphans, openSecret: s.OpenSecret, swept: s.Swept, endSweep: s.EndSweep, purge: s.Purge, nextSweep: s.NextSweep, appendSub: s.AppendSubscription, toChange: s.SubscriptionToChange,
		holdEvent: s.HoldEvent, fanOutAgain: s.FanOutAgain, nextJob: s.NextJob, saveJob: s.SaveJob, walk: s.WalkDeliveries,
		eventBodies: s.EventBodies, newest: s.NewestDeliveries, goLive: s.GoLive, addAttempts: s.AddAttempts, moveMetrics: s.MoveMetricsOffset, endNotice: s.EndNotice,
		answer: s.Answer, countDay: s.CountDay, countOpen: s.CountOpen, eventsAfter: s.EventsAfter, walkEvents: s.WalkEvents, isFannedOut: s.FannedOut, heard: s.DeliveryRecords, missed: s.TenantDeliveryRecords}
}

func (s *store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.inTx(ctx, fn)
}
func (s *store) Next(ctx context.Context, group string, limit int) (memory.Batch, error) {
	return s.next(ctx, group, limit)
}
func (s *store) Advance(ctx context.Context, b memory.Batch) error { return s.advance(ctx, b) }
func (s *store) Known(ctx context.Context, keys []intake.EventKey) (intake.Known, error) {
	return s.known(ctx, keys)
}
func (s *store) AppendEvents(ctx context.Context, events []intake.Accepted) error {
	return s.appendEvents(ctx, events)
}
func (s *store) Governing(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) ([]fanout.SubscriptionChange, map[tenant.ID]bool, error) {
	return s.governing(ctx, after, upTo, limit, owners)
}
func (s *store) ResolveFor(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
	return s.resolveFor(ctx, lookups, lanes)
}
func (s *store) Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	return s.resolve(ctx, lookups)
}
func (s *store) TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	return s.hasFeature(ctx, id, feature)
}
func (s *store) Schedule(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
	return s.schedule(ctx, plan, ended)
}
func (s *store) Look(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	return s.look(ctx, r)
}
func (s *store) LeaseReady(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	return s.leaseReady(ctx, r)
}
func (s *store) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	return s.save(ctx, saved)
}
func (s *store) GiveBack(ctx context.Context, lease string, leased []dispatch.Leased) error {
	return s.giveBack(ctx, lease, leased)
}
func (s *store) Heartbeat(ctx context.Context, incarnation string, now time.Time) error {
	return s.heartbeat(ctx, incarnation, now)
}
func (s *store) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	return s.orphans(ctx, from, to, limit)
}
func (s *store) OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	return s.openSecret(ctx, owner, subscriptionID, secretID)
}
func (s *store) Swept(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) ([]delivery.Delivery, int, error) {
	return s.swept(ctx, lane, statuses, limit)
}
func (s *store) EndSweep(ctx context.Context, w sweep.Sweep, done bool, now time.Time) error {
	return s.endSweep(ctx, w, done, now)
}
func (s *store) NextSweep(ctx context.Context) (sweep.Sweep, bool, error) { return s.nextSweep(ctx) }
func (s *store) AppendSubscription(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
	return s.appendSub(ctx, before, after, changes, by)
}
func (s *store) SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return s.toChange(ctx, lane)
}
func (s *store) Purge(ctx context.Context, before retention.Cutoffs, limit int) (int, error) {
	return s.purge(ctx, before, limit)
}

func (s *store) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	return s.holdEvent(ctx, owner, id)
}
func (s *store) FanOutAgain(ctx context.Context, e queries.Event, retried queries.Retried) error {
	return s.fanOutAgain(ctx, e, retried)
}
func (s *store) NextJob(ctx context.Context, now time.Time) (job.Job, bool, time.Time, error) {
	return s.nextJob(ctx, now)
}
func (s *store) SaveJob(ctx context.Context, j job.Job, turn time.Time) error {
	return s.saveJob(ctx, j, turn)
}
func (s *store) WalkDeliveries(ctx context.Context, walk jobs.Walk) ([]delivery.Delivery, error) {
	return s.walk(ctx, walk)
}

func (s *store) NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
	return s.newest(ctx, lane, eventIDs, upTo, until)
}
func (s *store) EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	return s.eventBodies(ctx, owner, eventIDs)
}
func (s *store) GoLive(ctx context.Context, g metrics.Generation) (bool, error) {
	return s.goLive(ctx, g)
}
func (s *store) AddAttempts(ctx context.Context, to metrics.Generation, counts map[metrics.Key]int64) error {
	return s.addAttempts(ctx, to, counts)
}
func (s *store) MoveMetricsOffset(ctx context.Context, of metrics.Generation, from, to int64) (bool, error) {
	return s.moveMetrics(ctx, of, from, to)
}
func (s *store) EndNotice(ctx context.Context, n subscriptions.Notice) (bool, error) {
	return s.endNotice(ctx, n)
}

func (s *store) Answer(ctx context.Context, key idempotency.Key, token string, sealed []byte) (bool, error) {
	return s.answer(ctx, key, token, sealed)
}
func (s *store) CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	return s.countDay(ctx, day, sent)
}
func (s *store) CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error) {
	return s.countOpen(ctx, owner, upTo)
}
func (s *store) WalkEvents(ctx context.Context, walk jobs.EventWalk) ([]queries.Event, error) {
	return s.walkEvents(ctx, walk)
}
func (s *store) FannedOut(ctx context.Context, e queries.Event) (bool, error) {
	return s.isFannedOut(ctx, e)
}
func (s *store) EventsAfter(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error) {
	return s.eventsAfter(ctx, owner, sequence, limit)
}
func (s *store) DeliveryRecords(ctx context.Context, after int64, limit int) ([]live.Record, error) {
	return s.heard(ctx, after, limit)
}
func (s *store) TenantDeliveryRecords(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
	return s.missed(ctx, owner, after, upTo)
}

// bug is planted by replacing calls of each process's store.
func bug(name string, plant func(s *store)) simulation.Bug {
	return simulation.Bug{Name: name, Plant: func() func(simulation.Store) simulation.Store {
		return func(s simulation.Store) simulation.Store {
			r := replaced(s)
			plant(r)
			return r
		}
	}}
}

// without is the statuses but for one.
func without(statuses []delivery.Status, out delivery.Status) []delivery.Status {
	return slices.DeleteFunc(slices.Clone(statuses), func(s delivery.Status) bool { return s == out })
}
