package storetest

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
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

// plantedBugs names each bug, the check that has to find it, and the store that has it.
var plantedBugs = map[string]struct {
	check string
	store planted
}{
	"save ignores the lease":               {"save/a lease that is another's is stale", planted{save: saveIgnoresLease}},
	"save ignores the lease, at random":    {"property/the stored state is the fold of the stream after any commands", planted{save: saveIgnoresLease}},
	"save knows deliveries by their ID":    {"save/of two of one delivery the stale one hides nothing", planted{save: saveKnowsIDs}},
	"save stops at what is stale":          {"save/one that is stale does not stop the others", planted{save: saveStopsAtStale}},
	"look ignores when it is due":          {"look/only what is due becomes ready", planted{look: lookIgnoresDue}},
	"look forgets what is due next":        {"look/next due is the earliest of all lanes", planted{look: lookForgetsNextDue}},
	"look begins anew with each part":      {"look/walks the lanes in order, as many as are asked for", planted{look: lookBeginsAnew}},
	"lease forgets who has more":           {"lease/no more than asked for", planted{leaseReady: leaseForgetsMore}},
	"lease ignores what is out":            {"lease/a lane's own limit counts what is out", planted{leaseReady: leaseIgnoresOut}},
	"lease ignores sweeps":                 {"lease/lanes that are swept wait", planted{leaseReady: leaseIgnoresSweeps}},
	"lease ignores weights":                {"lease/tells the weight of each lane's tenant", planted{leaseReady: leaseIgnoresWeights}},
	"ended before the commit":              {"schedule/ended is called once, after the commit", planted{schedule: endedBeforeCommit}},
	"ended tells of a commit that was not": {"schedule/ended is called once, after a rollback", planted{schedule: endedBeforeCommit}},
	"fingerprints of all tenants":          {"intake/fingerprints tell known events from new ones", planted{known: fingerprintsAllTenants}},
	"resolve in any source system":         {"directory/the same IDs in two tenants and two source systems", planted{resolve: resolveAnySystem}},
	"end of a sweep always deletes":        {"sweep/one that was replaced meanwhile stays", planted{endSweep: endSweepDeletes}},
	"nested transactions commit alone":     {"intake/a transaction in a transaction joins it", planted{inTx: nestedCommitsItself}},
	"orphans without silence":              {"takeover/orphans are what dead holders held", planted{orphans: orphansWithoutSilence}},
	"a beat of the future is one of life":  {"takeover/orphans are what dead holders held", planted{orphans: orphansWithoutEnd}},
	"no orphan without a subscription":     {"unreadable/a subscription whose row is not there keeps nothing from being taken over", planted{orphans: orphansOfWhatIsThere}},
	"circuits that dead processes told":    {"circuits/of several processes the one that spares most, of those that live", planted{circuits: circuitsOfTheDead}},
	"deliveries of all tenants":            {"isolation/another tenant finds nothing of a delivery", planted{deliveries: deliveriesForAll}},
	"a page repeats the last one's end":    {"deliveries/pages are stable while rows are added and moved", planted{deliveries: pageRepeatsItsEnd}},
	"answers without the token":            {"idempotency/an answer is given once, by who holds the token", planted{answer: answersWithoutToken}},
	"anybody revokes":                      {"keys/revoked once, by its tenant or by the platform", planted{revokeKey: revokesForAnybody}},
	"ended keys count":                     {"keys/those that live are counted", planted{countKeys: countsEndedKeys}},
	"another lane's secret":                {"isolation/another tenant finds nothing of a subscription", planted{openSecret: secretOfTheLane}},
	"open deliveries of everybody":         {"backlog/open deliveries are counted by tenant and in all, up to a number", planted{countOpen: countsEverybodysOpen}},
	"processes live for ever":              {"backlog/processes count that have said that they live", planted{countProcesses: countsTheDead}},
	"a day never ends":                     {"quota/a day's events add up, and an earlier day is forgotten", planted{countDay: neverForgetsADay}},
	"a retry keeps what was counted":       {"retry/it is named in the log again, and what was counted of it is taken back", planted{fanOutAgain: keepsTheTally}},
	"a retry of anybody's event":           {"retry/only what is set aside, and as often as that", planted{holdEvent: holdsAnybodysEvent}},
	"every retry wins":                     {"retry/of many at once one wins", planted{holdEvent: retriesForEver}},
	"a turn forgets the rest":              {"turns/one takes some of the events, and the rest wait on", planted{schedule: turnForgetsTheRest}},
	"a turn is taken twice":                {"turns/what was taken is not taken again", planted{schedule: turnTakesTwice}},
	"the first tenant has every turn":      {"turns/they go round", planted{nextTurn: turnOfTheFirst}},
	"one tenant alone waits":               {"turns/of what time those are that wait", planted{waitingFrom: onlyTheLastWaits}},
	"what waits is taken for fanned out":   {"turns/what waits is not fanned out, nor is what comes behind it", planted{schedule: waitsForNothing}},
	"what waits is purged":                 {"turns/what waits is not purged", planted{purge: purgesWhatWaits}},
	"what waits and is damaged is lost":    {"unreadable/what waits for a turn is found by what is kept with the events when their names are damaged", planted{deferredOf: leavesOutWhatIsDamaged}},
	"the log's records of no stream stay":  {"retention/a record of what was set aside waits for no later event", planted{purge: purgesNoEvents}},
	"of one time one notice is listed":     {"notices/behind one are those that come later, also at the same time", planted{nextNotices: noticesByTimeAlone}},
	"a record's events go by their IDs":    {"unreadable/events know the record that names them, and their order in it", planted{namedBy: namesByID}},
	"subscriptions are as they are now":    {"subscriptions/travel in time", planted{subscriptionsAt: subscriptionsNow}},
	"what nobody can read is not missed":   {"unreadable/a change of a subscription that is damaged as a whole keeps no other from being read", planted{subscriptionsAt: missesNothing}},
	"what is to change lags behind":        {"subscriptions/of several who change what is there, each changes what the last one left", planted{subscriptionToChange: stateLagsBehind}},
	"the state lags behind the stream":     {"subscriptions/of several at once, one changes the stream", planted{currentSubscription: stateLagsBehind}},
	"upsert never replaces":                {"directory/a second write replaces the first", planted{upsert: upsertNeverReplaces}},
	"a walk runs ahead of fan-out":         {"missing/a walk over events goes as far as fan-out and the turns have come", planted{walkEvents: walksAhead}},
	"a walk knows no time but the log's":   {"missing/a walk over events of a time finds all of them", planted{walkEvents: endsWithItsTime}},
	"all generations are one":              {"rebuild/what was counted wrong is right, and until then nobody sees a difference", planted{addAttempts: countsIntoOne}},
	"a rebuild goes live at once":          {"rebuild/one that is behind the live one is not live", planted{goLive: goesLiveAtOnce}},
}

// FindPlantedBugs proves that the contract suite, which finds nothing wrong with a database adapter, can fail on it: it plants bugs in it,
// and each must be found. open makes a new database.
func FindPlantedBugs(t *testing.T, open func(t *testing.T) Database) {
	keepNoFailFiles(t)
	for name, bug := range plantedBugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			bug.store.Store = db.Store
			db.Store = bug.store
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

// walksAhead lists what is accepted, whatever fan-out is done with.
func walksAhead(ctx context.Context, s Store, walk jobs.EventWalk) (list []queries.Event, err error) {
	accepted, err := s.AcceptedEvents(ctx, queries.EventFilter{Tenant: walk.Tenant, Limit: 1000})
	for _, e := range slices.Backward(accepted) {
		if e.Sequence > walk.After && e.Sequence <= walk.UpTo && len(list) < walk.Limit {
			list = append(list, e)
		}
	}
	return list, err
}

// endsWithItsTime takes the order of the log for that of time.
func endsWithItsTime(ctx context.Context, s Store, walk jobs.EventWalk) ([]queries.Event, error) {
	list, err := s.WalkEvents(ctx, walk)
	end := slices.IndexFunc(list, func(e queries.Event) bool { return !walk.Until.IsZero() && !e.AcceptedAt.Before(walk.Until) })
	if end >= 0 {
		list = list[:end]
	}
	return list, err
}

func stateLagsBehind(ctx context.Context, s Store, lane dispatch.Lane) (subscription.Subscription, error) {
	current, err := s.CurrentSubscription(ctx, lane)
	current.Version, current.Status = 1, subscription.StatusActive
	return current, err
}

func saveIgnoresLease(ctx context.Context, s Store, saved []dispatch.Saved) ([]int, error) {
	for i, d := range saved {
		for _, lease := range []string{"inc_1", "inc_2", d.Lease} {
			saved[i].Lease = lease
			if stale, err := s.Save(ctx, saved[i:i+1]); err != nil || len(stale) == 0 {
				break
			}
		}
	}
	return nil, nil
}

func saveStopsAtStale(ctx context.Context, s Store, saved []dispatch.Saved) ([]int, error) {
	for place, d := range saved {
		if stale, err := s.Save(ctx, []dispatch.Saved{d}); err != nil || len(stale) > 0 {
			return []int{place}, err
		}
	}
	return nil, nil
}

func saveKnowsIDs(ctx context.Context, s Store, saved []dispatch.Saved) (all []int, err error) {
	stale, err := s.Save(ctx, saved)
	for place, d := range saved {
		if slices.ContainsFunc(stale, func(of int) bool { return saved[of].Before.ID == d.Before.ID }) {
			all = append(all, place)
		}
	}
	return all, err
}

func countsIntoOne(ctx context.Context, s Store, _ metrics.Generation, counts map[metrics.Key]int64) error {
	return s.AddAttempts(ctx, 1, counts)
}

func goesLiveAtOnce(ctx context.Context, s Store, g metrics.Generation) (bool, error) {
	_, offset, err := s.MetricsOffset(ctx, metrics.Live)
	_, moveErr := s.MoveMetricsOffset(ctx, g, 0, offset)
	is, liveErr := s.GoLive(ctx, g)
	return is, errors.Join(err, moveErr, liveErr)
}

func lookIgnoresDue(ctx context.Context, s Store, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	r.Now = r.Now.Add(time.Hour)
	return s.Look(ctx, r)
}

func lookForgetsNextDue(ctx context.Context, s Store, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	answer, err := s.Look(ctx, r)
	if len(answer.Fallen) > 0 {
		answer.NextDue = time.Time{}
	}
	return answer, err
}

func lookBeginsAnew(ctx context.Context, s Store, r dispatch.LookRequest) (dispatch.LookAnswer, error) {
	r.After = ""
	return s.Look(ctx, r)
}

func leaseForgetsMore(ctx context.Context, s Store, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	answer, err := s.LeaseReady(ctx, r)
	for lane, rest := range answer.Lanes {
		rest.More = false
		answer.Lanes[lane] = rest
	}
	return answer, err
}

func leaseIgnoresOut(ctx context.Context, s Store, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	for i := range r.Lanes {
		r.Lanes[i].Out = 0
	}
	return s.LeaseReady(ctx, r)
}

func leaseIgnoresSweeps(ctx context.Context, s Store, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	if next, found, err := s.NextSweep(ctx); err == nil && found {
		if err := s.EndSweep(ctx, next, true, r.Now); err != nil {
			return dispatch.LeaseAnswer{}, err
		}
	}
	return s.LeaseReady(ctx, r)
}

func leaseIgnoresWeights(ctx context.Context, s Store, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	answer, err := s.LeaseReady(ctx, r)
	for lane, rest := range answer.Lanes {
		rest.Weight = tenant.DefaultWeight
		answer.Lanes[lane] = rest
	}
	return answer, err
}

func endedBeforeCommit(ctx context.Context, s Store, plan fanout.Plan, ended func(bool)) error {
	err := s.Schedule(ctx, plan, func(bool) {})
	ended(err == nil)
	return err
}

func fingerprintsAllTenants(ctx context.Context, s Store, keys []intake.EventKey) (intake.Known, error) {
	found, err := s.Known(ctx, keys)
	for _, key := range keys {
		for known, print := range found.Fingerprints {
			if known.ID == key.ID {
				found.Fingerprints[key] = print
			}
		}
	}
	return found, err
}

func resolveAnySystem(ctx context.Context, s Store, lookups []fanout.Lookup) ([]payload.Context, error) {
	for i := range lookups {
		lookups[i].SourceSystem = "sap"
	}
	return s.Resolve(ctx, lookups)
}

func endSweepDeletes(ctx context.Context, s Store, w sweep.Sweep, _ bool, now time.Time) error {
	next, _, err := s.NextSweep(ctx)
	if err != nil {
		return err
	}
	w.Action = next.Action
	return s.EndSweep(ctx, w, true, now)
}

// InTx gives fn a context without the transaction, so that each call commits by itself.
func nestedCommitsItself(ctx context.Context, s Store, fn func(context.Context) error) error {
	return fn(ctx)
}

func orphansWithoutSilence(ctx context.Context, s Store, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	return s.Orphans(ctx, from.Add(time.Hour), to, limit)
}

func orphansWithoutEnd(ctx context.Context, s Store, from, _ time.Time, limit int) ([]dispatch.Orphan, error) {
	return s.Orphans(ctx, from, time.Time{}, limit)
}

func orphansOfWhatIsThere(ctx context.Context, s Store, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	found, err := s.Orphans(ctx, from, to, limit)
	for _, o := range found {
		if len(o.Schedule) == 0 {
			return nil, errors.New("it belongs to no subscription")
		}
	}
	return found, err
}

func circuitsOfTheDead(ctx context.Context, s Store, owner tenant.ID, ids []string, _ time.Time) (map[string]circuit.Report, error) {
	return s.Circuits(ctx, owner, ids, time.UnixMicro(0))
}

func deliveriesForAll(ctx context.Context, s Store, f queries.DeliveryFilter) ([]delivery.Delivery, error) {
	f.Tenant = "acme"
	return s.Deliveries(ctx, f)
}

func pageRepeatsItsEnd(ctx context.Context, s Store, f queries.DeliveryFilter) ([]delivery.Delivery, error) {
	if f.Before != "" {
		f.Before += "~"
	}
	return s.Deliveries(ctx, f)
}

func subscriptionsNow(ctx context.Context, s Store, owners []tenant.ID, _ int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	return s.SubscriptionsAt(ctx, owners, 1<<60)
}

func missesNothing(ctx context.Context, s Store, owners []tenant.ID, position int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	list, _, err := s.SubscriptionsAt(ctx, owners, position)
	return list, nil, err
}

func answersWithoutToken(ctx context.Context, s Store, key idempotency.Key, _ string, sealed []byte) (bool, error) {
	return s.Answer(ctx, key, "a", sealed)
}

func countsEndedKeys(ctx context.Context, s Store, owner tenant.ID, _ time.Time) (int, error) {
	list, err := s.Keys(ctx, owner, access.Page{Limit: 100})
	return len(list), err
}

func revokesForAnybody(ctx context.Context, s Store, _ tenant.ID, id string, now time.Time) error {
	return s.RevokeKey(ctx, "", id, now)
}

func secretOfTheLane(ctx context.Context, s Store, _ tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	return s.OpenSecret(ctx, "acme", subscriptionID, secretID)
}

func upsertNeverReplaces(ctx context.Context, s Store, owner tenant.ID, b directory.Batch) error {
	if _, err := s.ExternalID(ctx, owner, "sap", payload.Ref{Kind: payload.KindTarget, ID: 12}); err == nil {
		b.ExternalIDs = nil
	}
	return s.Upsert(ctx, owner, b)
}

func countsEverybodysOpen(ctx context.Context, s Store, _ tenant.ID, upTo int) (int, error) {
	return s.CountOpen(ctx, "", upTo)
}

func countsTheDead(ctx context.Context, s Store, _ time.Time) (int, error) {
	return s.CountProcesses(ctx, time.UnixMicro(0))
}

func neverForgetsADay(ctx context.Context, s Store, _ time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	return s.CountDay(ctx, time.UnixMicro(0), sent)
}

func keepsTheTally(ctx context.Context, s Store, e queries.Event, retried queries.Retried) error {
	e.SetAside = &fanout.SetAside{}
	return s.FanOutAgain(ctx, e, retried)
}

func holdsAnybodysEvent(ctx context.Context, s Store, _ tenant.ID, id string) (queries.Event, error) {
	return s.HoldEvent(ctx, "acme", id)
}

func retriesForEver(ctx context.Context, s Store, owner tenant.ID, id string) (queries.Event, error) {
	e, err := s.HoldEvent(ctx, owner, id)
	if e.Retried != nil {
		e.SetAside = &fanout.SetAside{}
	}
	return e, err
}

func turnForgetsTheRest(ctx context.Context, s Store, plan fanout.Plan, ended func(bool)) error {
	if len(plan.Taken) > 0 {
		plan.Deferred = nil
	}
	return s.Schedule(ctx, plan, ended)
}

func turnTakesTwice(ctx context.Context, s Store, plan fanout.Plan, ended func(bool)) error {
	var there []fanout.Deferred
	for _, taken := range plan.Taken {
		waiting, err := s.DeferredOf(ctx, taken.Tenant, 100)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(waiting, func(d fanout.Deferred) bool { return d.Position == taken.Position }) {
			there = append(there, taken)
		}
	}
	plan.Taken = there
	return s.Schedule(ctx, plan, ended)
}

func turnOfTheFirst(ctx context.Context, s Store, _ tenant.ID) (tenant.ID, error) {
	return s.NextTurn(ctx, "")
}

func noticesByTimeAlone(ctx context.Context, s Store, after subscriptions.Notice, limit int) ([]subscriptions.Notice, error) {
	after.Tenant = "~"
	return s.NextNotices(ctx, after, limit)
}

func onlyTheLastWaits(ctx context.Context, s Store) (map[tenant.ID]time.Time, error) {
	waiting, err := s.WaitingFrom(ctx)
	if len(waiting) > 1 {
		delete(waiting, "acme")
	}
	return waiting, err
}

func waitsForNothing(ctx context.Context, s Store, plan fanout.Plan, ended func(bool)) error {
	for i := range plan.Deferred {
		plan.Deferred[i].Position += 1 << 30 // behind all that is accepted
	}
	for i := range plan.Taken {
		plan.Taken[i].Position += 1 << 30
	}
	return s.Schedule(ctx, plan, ended)
}

func namesByID(ctx context.Context, s Store, position int64) ([]intake.EventKey, error) {
	keys, err := s.NamedBy(ctx, position)
	slices.SortFunc(keys, func(a, b intake.EventKey) int { return strings.Compare(a.ID, b.ID) })
	return keys, err
}

func purgesNoEvents(ctx context.Context, s Store, before retention.Cutoffs, limit int) (int, error) {
	before.Events = time.Time{}
	return s.Purge(ctx, before, limit)
}

func leavesOutWhatIsDamaged(ctx context.Context, s Store, owner tenant.ID, limit int) ([]fanout.Deferred, error) {
	parts, err := s.DeferredOf(ctx, owner, limit)
	return slices.DeleteFunc(parts, func(d fanout.Deferred) bool { return d.Unreadable != nil }), err
}

func purgesWhatWaits(ctx context.Context, s Store, before retention.Cutoffs, limit int) (int, error) {
	waits, err := s.DeferredOf(ctx, "acme", 1)
	if err != nil {
		return 0, err
	}
	if err := s.Schedule(ctx, fanout.Plan{Taken: waits}, func(bool) {}); err != nil {
		return 0, err
	}
	n, err := s.Purge(ctx, before, limit)
	return n, errors.Join(err, s.Schedule(ctx, fanout.Plan{Deferred: waits}, func(bool) {}))
}
