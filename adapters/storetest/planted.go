package storetest

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
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

// Each type is the real store with one bug.
type (
	saveIgnoresLease       struct{ Store }
	saveStopsAtStale       struct{ Store }
	lookIgnoresDue         struct{ Store }
	lookForgetsNextDue     struct{ Store }
	lookBeginsAnew         struct{ Store }
	leaseForgetsMore       struct{ Store }
	leaseIgnoresOut        struct{ Store }
	leaseIgnoresSweeps     struct{ Store }
	leaseIgnoresWeights    struct{ Store }
	endedBeforeCommit      struct{ Store }
	fingerprintsAllTenants struct{ Store }
	resolveAnySystem       struct{ Store }
	endSweepDeletes        struct{ Store }
	nestedCommitsItself    struct{ Store }
	orphansWithoutSilence  struct{ Store }
	orphansOfWhatIsThere   struct{ Store }
	circuitsOfTheDead      struct{ Store }
	deliveriesForAll       struct{ Store }
	pageRepeatsItsEnd      struct{ Store }
	answersWithoutToken    struct{ Store }
	revokesForAnybody      struct{ Store }
	secretOfTheLane        struct{ Store }
	upsertNeverReplaces    struct{ Store }
	countsIntoOne          struct{ Store }
	goesLiveAtOnce         struct{ Store }
	countsEverybodysOpen   struct{ Store }
	neverForgetsADay       struct{ Store }
	keepsTheTally          struct{ Store }
	holdsAnybodysEvent     struct{ Store }
	retriesForEver         struct{ Store }
	countsTheDead          struct{ Store }
	turnForgetsTheRest     struct{ Store }
	turnTakesTwice         struct{ Store }
	turnOfTheFirst         struct{ Store }
	onlyTheLastWaits       struct{ Store }
	waitsForNothing        struct{ Store }
	purgesWhatWaits        struct{ Store }
	leavesOutWhatIsDamaged struct{ Store }
	purgesNoEvents         struct{ Store }
	namesByID              struct{ Store }
	noticesByTimeAlone     struct{ Store }
	stateLagsBehind        struct{ Store }
)

// FindPlantedBugs proves that the contract suite, which finds nothing wrong with a database adapter, can fail on it: it plants bugs in it,
// and each must be found. open makes a new database.
func FindPlantedBugs(t *testing.T, open func(t *testing.T) Database) {
	keepNoFailFiles(t)
	bugs := map[string]struct {
		check string
		plant func(Store) Store
	}{
		"save ignores the lease":               {"save/a lease that is another's is stale", func(s Store) Store { return saveIgnoresLease{s} }},
		"save ignores the lease, at random":    {"property/the stored state is the fold of the stream after any commands", func(s Store) Store { return saveIgnoresLease{s} }},
		"save stops at what is stale":          {"save/one that is stale does not stop the others", func(s Store) Store { return saveStopsAtStale{s} }},
		"look ignores when it is due":          {"look/only what is due becomes ready", func(s Store) Store { return lookIgnoresDue{s} }},
		"look forgets what is due next":        {"look/next due is the earliest of all lanes", func(s Store) Store { return lookForgetsNextDue{s} }},
		"look begins anew with each part":      {"look/walks the lanes in order, as many as are asked for", func(s Store) Store { return lookBeginsAnew{s} }},
		"lease forgets who has more":           {"lease/no more than asked for", func(s Store) Store { return leaseForgetsMore{s} }},
		"lease ignores what is out":            {"lease/a lane's own limit counts what is out", func(s Store) Store { return leaseIgnoresOut{s} }},
		"lease ignores sweeps":                 {"lease/lanes that are swept wait", func(s Store) Store { return leaseIgnoresSweeps{s} }},
		"lease ignores weights":                {"lease/tells the weight of each lane's tenant", func(s Store) Store { return leaseIgnoresWeights{s} }},
		"ended before the commit":              {"schedule/ended is called once, after the commit", func(s Store) Store { return endedBeforeCommit{s} }},
		"ended tells of a commit that was not": {"schedule/ended is called once, after a rollback", func(s Store) Store { return endedBeforeCommit{s} }},
		"fingerprints of all tenants":          {"intake/fingerprints tell known events from new ones", func(s Store) Store { return fingerprintsAllTenants{s} }},
		"resolve in any source system":         {"directory/the same IDs in two tenants and two source systems", func(s Store) Store { return resolveAnySystem{s} }},
		"end of a sweep always deletes":        {"sweep/one that was replaced meanwhile stays", func(s Store) Store { return endSweepDeletes{s} }},
		"nested transactions commit alone":     {"intake/a transaction in a transaction joins it", func(s Store) Store { return nestedCommitsItself{s} }},
		"orphans without silence":              {"takeover/orphans are what dead holders held", func(s Store) Store { return orphansWithoutSilence{s} }},
		"no orphan without a subscription":     {"unreadable/a subscription whose row is not there keeps nothing from being taken over", func(s Store) Store { return orphansOfWhatIsThere{s} }},
		"circuits that dead processes told":    {"circuits/of several processes the one that spares most, of those that live", func(s Store) Store { return circuitsOfTheDead{s} }},
		"deliveries of all tenants":            {"isolation/another tenant finds nothing of a delivery", func(s Store) Store { return deliveriesForAll{s} }},
		"a page repeats the last one's end":    {"deliveries/pages are stable while rows are added and moved", func(s Store) Store { return pageRepeatsItsEnd{s} }},
		"answers without the token":            {"idempotency/an answer is given once, by who holds the token", func(s Store) Store { return answersWithoutToken{s} }},
		"anybody revokes":                      {"keys/revoked once, by its tenant or by the platform", func(s Store) Store { return revokesForAnybody{s} }},
		"another lane's secret":                {"isolation/another tenant finds nothing of a subscription", func(s Store) Store { return secretOfTheLane{s} }},
		"open deliveries of everybody":         {"backlog/open deliveries are counted by tenant and in all, up to a number", func(s Store) Store { return countsEverybodysOpen{s} }},
		"processes live for ever":              {"backlog/processes count that have said that they live", func(s Store) Store { return countsTheDead{s} }},
		"a day never ends":                     {"quota/a day's events add up, and an earlier day is forgotten", func(s Store) Store { return neverForgetsADay{s} }},
		"a retry keeps what was counted":       {"retry/it is named in the log again, and what was counted of it is taken back", func(s Store) Store { return keepsTheTally{s} }},
		"a retry of anybody's event":           {"retry/only what is set aside, and as often as that", func(s Store) Store { return holdsAnybodysEvent{s} }},
		"every retry wins":                     {"retry/of many at once one wins", func(s Store) Store { return retriesForEver{s} }},
		"a turn forgets the rest":              {"turns/one takes some of the events, and the rest wait on", func(s Store) Store { return turnForgetsTheRest{s} }},
		"a turn is taken twice":                {"turns/what was taken is not taken again", func(s Store) Store { return turnTakesTwice{s} }},
		"the first tenant has every turn":      {"turns/they go round", func(s Store) Store { return turnOfTheFirst{s} }},
		"one tenant alone waits":               {"turns/of what time those are that wait", func(s Store) Store { return onlyTheLastWaits{s} }},
		"what waits is taken for fanned out":   {"turns/what waits is not fanned out, nor is what comes behind it", func(s Store) Store { return waitsForNothing{s} }},
		"what waits is purged":                 {"turns/what waits is not purged", func(s Store) Store { return purgesWhatWaits{s} }},
		"what waits and is damaged is lost":    {"unreadable/what waits for a turn is found by what is kept with the events when their names are damaged", func(s Store) Store { return leavesOutWhatIsDamaged{s} }},
		"the log's records of no stream stay":  {"retention/a record of what was set aside waits for no later event", func(s Store) Store { return purgesNoEvents{s} }},
		"of one time one notice is listed":     {"notices/behind one are those that come later, also at the same time", func(s Store) Store { return noticesByTimeAlone{s} }},
		"a record's events go by their IDs":    {"unreadable/events know the record that names them, and their order in it", func(s Store) Store { return namesByID{s} }},
		"the state lags behind the stream":     {"subscriptions/of several at once, one changes the stream", func(s Store) Store { return stateLagsBehind{s} }},
		"upsert never replaces":                {"directory/a second write replaces the first", func(s Store) Store { return upsertNeverReplaces{s} }},
		"all generations are one":              {"rebuild/what was counted wrong is right, and until then nobody sees a difference", func(s Store) Store { return countsIntoOne{s} }},
		"a rebuild goes live at once":          {"rebuild/one that is behind the live one is not live", func(s Store) Store { return goesLiveAtOnce{s} }},
	}
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			db.Store = bug.plant(db.Store)
			if found := Probe(t, bug.check, db); len(found) == 0 {
				t.Errorf("%q did not find the bug", bug.check)
			}
		})
	}
}

// keepNoFailFiles keeps rapid from writing files about failures that are wanted.
func keepNoFailFiles(t *testing.T) {
	t.Helper()
	const name = "rapid.nofailfile"
	before := flag.Lookup(name).Value.String()
	if err := flag.Set(name, "true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, before) })
}

func (s stateLagsBehind) CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	current, err := s.Store.CurrentSubscription(ctx, lane)
	current.Version, current.Status = 1, subscription.StatusActive
	return current, err
}

func (s saveIgnoresLease) Save(ctx context.Context, saved []dispatch.Saved) ([]string, error) {
	for i, d := range saved {
		for _, lease := range []string{"inc_1", "inc_2", d.Lease} {
			saved[i].Lease = lease
			if stale, err := s.Store.Save(ctx, saved[i:i+1]); err != nil || len(stale) == 0 {
				break
			}
		}
	}
	return nil, nil
}

func (s saveStopsAtStale) Save(ctx context.Context, saved []dispatch.Saved) ([]string, error) {
	for _, d := range saved {
		if stale, err := s.Store.Save(ctx, []dispatch.Saved{d}); err != nil || len(stale) > 0 {
			return stale, err
		}
	}
	return nil, nil
}

func (s countsIntoOne) AddAttempts(ctx context.Context, _ metrics.Generation, counts map[metrics.Key]int64) error {
	return s.Store.AddAttempts(ctx, 1, counts)
}

func (s goesLiveAtOnce) GoLive(ctx context.Context, g metrics.Generation) (bool, error) {
	_, offset, err := s.MetricsOffset(ctx, metrics.Live)
	_, moveErr := s.MoveMetricsOffset(ctx, g, 0, offset)
	is, liveErr := s.Store.GoLive(ctx, g)
	return is, errors.Join(err, moveErr, liveErr)
}

func (s lookIgnoresDue) Look(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	r.Now = r.Now.Add(time.Hour)
	return s.Store.Look(ctx, r)
}

func (s lookForgetsNextDue) Look(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	answer, err := s.Store.Look(ctx, r)
	if len(answer.Fallen) > 0 {
		answer.NextDue = time.Time{}
	}
	return answer, err
}

func (s lookBeginsAnew) Look(ctx context.Context, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	r.After = ""
	return s.Store.Look(ctx, r)
}

func (s leaseForgetsMore) LeaseReady(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	answer, err := s.Store.LeaseReady(ctx, r)
	for lane, rest := range answer.Lanes {
		rest.More = false
		answer.Lanes[lane] = rest
	}
	return answer, err
}

func (s leaseIgnoresOut) LeaseReady(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	for i := range r.Lanes {
		r.Lanes[i].Out = 0
	}
	return s.Store.LeaseReady(ctx, r)
}

func (s leaseIgnoresSweeps) LeaseReady(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	if next, found, err := s.NextSweep(ctx); err == nil && found {
		if err := s.EndSweep(ctx, next, true, r.Now); err != nil {
			return dispatch.LeaseAnswer{}, err
		}
	}
	return s.Store.LeaseReady(ctx, r)
}

func (s leaseIgnoresWeights) LeaseReady(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	answer, err := s.Store.LeaseReady(ctx, r)
	for lane, rest := range answer.Lanes {
		rest.Weight = tenant.DefaultWeight
		answer.Lanes[lane] = rest
	}
	return answer, err
}

func (s endedBeforeCommit) Schedule(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
	err := s.Store.Schedule(ctx, plan, func(bool) {})
	ended(err == nil)
	return err
}

func (s fingerprintsAllTenants) Known(ctx context.Context, keys []intake.EventKey) (intake.Known, error) {
	found, err := s.Store.Known(ctx, keys)
	for _, key := range keys {
		for known, print := range found.Fingerprints {
			if known.ID == key.ID {
				found.Fingerprints[key] = print
			}
		}
	}
	return found, err
}

func (s resolveAnySystem) Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	for i := range lookups {
		lookups[i].SourceSystem = "sap"
	}
	return s.Store.Resolve(ctx, lookups)
}

func (s endSweepDeletes) EndSweep(ctx context.Context, w sweep.Sweep, _ bool, now time.Time) error {
	next, _, err := s.NextSweep(ctx)
	if err != nil {
		return err
	}
	w.Action = next.Action
	return s.Store.EndSweep(ctx, w, true, now)
}

// InTx gives fn a context without the transaction, so that each call commits by itself.
func (s nestedCommitsItself) InTx(ctx context.Context, fn func(context.Context) error) error {
	return fn(ctx)
}

func (s orphansWithoutSilence) Orphans(ctx context.Context, before time.Time, limit int) ([]dispatch.Orphan, error) {
	return s.Store.Orphans(ctx, before.Add(time.Hour), limit)
}

func (s orphansOfWhatIsThere) Orphans(ctx context.Context, before time.Time, limit int) ([]dispatch.Orphan, error) {
	found, err := s.Store.Orphans(ctx, before, limit)
	for _, o := range found {
		if len(o.Schedule) == 0 {
			return nil, errors.New("it belongs to no subscription")
		}
	}
	return found, err
}

func (s circuitsOfTheDead) Circuits(ctx context.Context, owner tenant.ID, ids []string, _ time.Time) (map[string]circuit.Report, error) {
	return s.Store.Circuits(ctx, owner, ids, time.UnixMicro(0))
}

func (s deliveriesForAll) Deliveries(ctx context.Context, f queries.DeliveryFilter) ([]delivery.Delivery, error) {
	f.Tenant = "acme"
	return s.Store.Deliveries(ctx, f)
}

func (s pageRepeatsItsEnd) Deliveries(ctx context.Context, f queries.DeliveryFilter) ([]delivery.Delivery, error) {
	if f.Before != "" {
		f.Before += "~"
	}
	return s.Store.Deliveries(ctx, f)
}

func (s answersWithoutToken) Answer(ctx context.Context, key idempotency.Key, _ string, sealed []byte) (bool, error) {
	return s.Store.Answer(ctx, key, "a", sealed)
}

func (s revokesForAnybody) RevokeKey(ctx context.Context, _ tenant.ID, id string, now time.Time) error {
	return s.Store.RevokeKey(ctx, "", id, now)
}

func (s secretOfTheLane) OpenSecret(ctx context.Context, _ tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	return s.Store.OpenSecret(ctx, "acme", subscriptionID, secretID)
}

func (s upsertNeverReplaces) Upsert(ctx context.Context, owner tenant.ID, b directory.Batch) error {
	if _, err := s.ExternalID(ctx, owner, "sap", payload.Ref{Kind: payload.KindTarget, ID: 12}); err == nil {
		b.ExternalIDs = nil
	}
	return s.Store.Upsert(ctx, owner, b)
}

func (s countsEverybodysOpen) CountOpen(ctx context.Context, _ tenant.ID, upTo int) (int, error) {
	return s.Store.CountOpen(ctx, "", upTo)
}

func (s countsTheDead) CountProcesses(ctx context.Context, _ time.Time) (int, error) {
	return s.Store.CountProcesses(ctx, time.UnixMicro(0))
}

func (s neverForgetsADay) CountDay(ctx context.Context, _ time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	return s.Store.CountDay(ctx, time.UnixMicro(0), sent)
}

func (s keepsTheTally) FanOutAgain(ctx context.Context, e queries.Event, retried queries.Retried) error {
	e.SetAside = &fanout.SetAside{}
	return s.Store.FanOutAgain(ctx, e, retried)
}

func (s holdsAnybodysEvent) HoldEvent(ctx context.Context, _ tenant.ID, id string) (queries.Event, error) {
	return s.Store.HoldEvent(ctx, "acme", id)
}

func (s retriesForEver) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	e, err := s.Store.HoldEvent(ctx, owner, id)
	if e.Retried != nil {
		e.SetAside = &fanout.SetAside{}
	}
	return e, err
}

func (s turnForgetsTheRest) Schedule(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
	if len(plan.Taken) > 0 {
		plan.Deferred = nil
	}
	return s.Store.Schedule(ctx, plan, ended)
}

func (s turnTakesTwice) Schedule(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
	var there []fanout.Deferred
	for _, taken := range plan.Taken {
		waiting, err := s.Store.DeferredOf(ctx, taken.Tenant, 100)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(waiting, func(d fanout.Deferred) bool { return d.Position == taken.Position }) {
			there = append(there, taken)
		}
	}
	plan.Taken = there
	return s.Store.Schedule(ctx, plan, ended)
}

func (s turnOfTheFirst) NextTurn(ctx context.Context, _ tenant.ID) (tenant.ID, error) {
	return s.Store.NextTurn(ctx, "")
}

func (s noticesByTimeAlone) NextNotices(ctx context.Context, after subscriptions.Notice, limit int) ([]subscriptions.Notice, error) {
	after.Tenant = "~"
	return s.Store.NextNotices(ctx, after, limit)
}

func (s onlyTheLastWaits) WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error) {
	waiting, err := s.Store.WaitingFrom(ctx)
	if len(waiting) > 1 {
		delete(waiting, "acme")
	}
	return waiting, err
}

func (s waitsForNothing) Schedule(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
	for i := range plan.Deferred {
		plan.Deferred[i].Position += 1 << 30 // behind all that is accepted
	}
	for i := range plan.Taken {
		plan.Taken[i].Position += 1 << 30
	}
	return s.Store.Schedule(ctx, plan, ended)
}

func (s namesByID) NamedBy(ctx context.Context, position int64) ([]intake.EventKey, error) {
	keys, err := s.Store.NamedBy(ctx, position)
	slices.SortFunc(keys, func(a, b intake.EventKey) int { return strings.Compare(a.ID, b.ID) })
	return keys, err
}

func (s purgesNoEvents) Purge(ctx context.Context, before retention.Cutoffs, limit int) (int, error) {
	before.Events = time.Time{}
	return s.Store.Purge(ctx, before, limit)
}

func (s leavesOutWhatIsDamaged) DeferredOf(ctx context.Context, owner tenant.ID, limit int) ([]fanout.Deferred, error) {
	parts, err := s.Store.DeferredOf(ctx, owner, limit)
	return slices.DeleteFunc(parts, func(d fanout.Deferred) bool { return d.Unreadable != nil }), err
}

func (s purgesWhatWaits) Purge(ctx context.Context, before retention.Cutoffs, limit int) (int, error) {
	waits, err := s.DeferredOf(ctx, "acme", 1)
	if err != nil {
		return 0, err
	}
	if err := s.Schedule(ctx, fanout.Plan{Taken: waits}, func(bool) {}); err != nil {
		return 0, err
	}
	n, err := s.Store.Purge(ctx, before, limit)
	return n, errors.Join(err, s.Schedule(ctx, fanout.Plan{Deferred: waits}, func(bool) {}))
}
