package fanout_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const acme tenant.ID = "acme"

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is a log, and a FanOut with all that it is given.
type world struct {
	testing.TB
	fanOut *fanout.FanOut
	ids    int

	// The log: positions count up over both.
	position int64
	changes  []fanout.SubscriptionChange
	events   map[intake.EventKey]intake.Accepted
	at       map[string]int64 // the position of an event
	now      map[string]subscription.Subscription

	resolved   []fanout.Lookup
	reads      int
	loaded     int // events
	partsRead  int // of what waits
	folds      int
	sweeping   map[dispatch.Lane]bool
	maxLag     time.Duration
	atOnce     int // see fanout.Config
	deferred   []fanout.Deferred
	unrouted   time.Time
	later      time.Duration // the clock is, than start
	turnTakes  time.Duration
	elsewhere  map[tenant.ID]bool // another process has the turn of these
	olderRuns  bool               // a process that does not know of turns
	askedSince []time.Time
	plan       fanout.Plan   // of the last call of Schedule
	plans      []fanout.Plan // of all that were not undone
	beforeTx   func()        // what another process does before a turn
	commitErr  error         // makes the transaction fail after Schedule has returned
	fail       map[string]error
	refuses    map[string]bool // the store cannot hold the bodies of these events

	billing   map[tenant.ID]bool
	gateAsked int
	panicsAt  map[string]bool        // FanOut of these events panics
	panicIDs  int                    // newID panics when this many are made, 0 for never
	told      map[string]int         // deliveries, to the event's span
	toldTimes int                    // how many spans have ended well
	undone    int                    // and how many have not
	lost      map[dispatch.Lane]bool // the state of these cannot be read
	// unreadable is the positions of changes that were told of, toldLost the subscriptions of which it was told that they are lost.
	unreadable []int64
	toldLost   []dispatch.Lane
	// damaged is the records that were told of.
	damaged []fanout.Record
	// aside is the events of which it was told that they were set aside.
	aside []string

	room           map[tenant.ID]int // of those for whom it is bounded
	free, inFlight int
	taken          []dispatch.Leased
	takenBefore    int // how many there were when the call of Handle began
	freed          []dispatch.Leased
	waiting        []dispatch.Lane
}

func newWorld(t testing.TB) *world {
	w := &world{
		TB: t, events: map[intake.EventKey]intake.Accepted{}, at: map[string]int64{}, now: map[string]subscription.Subscription{},
		fail: map[string]error{}, billing: map[tenant.ID]bool{}, room: map[tenant.ID]int{}, panicsAt: map[string]bool{}, told: map[string]int{}, free: 1000,
	}
	w.restart()
	return w
}

// restart is a new process on the same log.
func (w *world) restart() {
	w.fanOut = fanout.New(fanout.Config{Store: w, Gate: w, Handover: w, Observer: spans{w}, Now: func() time.Time { return start.Add(w.later) }, NewID: w.newID, AtOnce: w.atOnce, MaxLag: w.maxLag})
}

func (w *world) newID(prefix string) string {
	w.ids++
	if w.ids == w.panicIDs {
		panic("no more IDs")
	}
	return fmt.Sprintf("%s%06d", prefix, w.ids)
}

// change appends changes of a subscription to the log.
func (w *world) change(id string, changes ...subscription.Change) {
	w.Helper()
	s := w.now[id]
	for _, c := range changes {
		if err := s.Apply(c); err != nil {
			w.Fatal(err)
		}
		w.position++
		w.changes = append(w.changes, fanout.SubscriptionChange{Position: w.position, Tenant: s.Tenant, SubscriptionID: id, Version: s.Version, Change: c})
	}
	w.now[id] = s
}

func settings(types ...string) subscription.Settings {
	return subscription.Settings{Name: "n", URL: "https://example.com", EventTypes: types, SourceSystem: "sap", Options: payload.DefaultOptions(),
		RetrySchedule: []time.Duration{time.Second}, Timeout: time.Second, MaxInFlight: 16}
}

func (w *world) subscribe(owner tenant.ID, id string, s subscription.Settings) {
	w.Helper()
	w.change(id, subscription.Create(id, owner, s, "sec_1", start)...)
}

// accept appends events to the log and returns what Handle is called with.
func (w *world) accept(events ...event.Event) (position int64, keys []intake.EventKey) {
	w.position++
	for _, e := range events {
		a := intake.Accepted{Event: e, TraceParent: "00-" + e.ID, At: start.Add(-time.Second)}
		w.events[a.Key()] = a
		w.at[e.ID] = w.position
		keys = append(keys, a.Key())
	}
	return w.position, keys
}

func sample(id string, t event.Type) event.Event {
	e := event.Sample(t, acme)
	e.ID = id
	return e
}

// handle fans out events of their own record, and must succeed.
func (w *world) handle(events ...event.Event) fanout.Plan {
	w.Helper()
	position, keys := w.accept(events...)
	if err := w.fanOut.Handle(w.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil {
		w.Fatal(err)
	}
	return w.plan
}

// receivers says who gets the event, in order.
func receivers(p fanout.Plan, eventID string) (ids []string) {
	for _, s := range p.Scheduled {
		if s.Delivery.EventID == eventID {
			ids = append(ids, s.Delivery.SubscriptionID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (w *world) Events(_ context.Context, keys []intake.EventKey) (list []intake.Accepted, err error) {
	w.takenBefore = len(w.taken)
	for _, key := range keys {
		if e, there := w.events[key]; there {
			list = append(list, e)
			w.loaded++
		}
	}
	return list, w.fail["Events"]
}

func (w *world) NamedBy(_ context.Context, position int64) (keys []intake.EventKey, err error) {
	for key := range w.events {
		if w.at[key.ID] == position {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b intake.EventKey) int { return strings.Compare(a.ID, b.ID) })
	return keys, w.fail["NamedBy"]
}

func (w *world) Governing(_ context.Context, after, upTo int64, limit int, owners []tenant.ID) (list []fanout.SubscriptionChange, deferring map[tenant.ID]bool, err error) {
	w.reads++
	for _, c := range w.changes {
		if c.Position > after && c.Position <= upTo && len(list) < limit {
			list = append(list, c)
		}
	}
	deferring = map[tenant.ID]bool{}
	for _, d := range w.deferred {
		deferring[d.Tenant] = slices.Contains(owners, d.Tenant)
	}
	return list, deferring, w.fail["Governing"]
}

func (w *world) ResolveFor(_ context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
	if w.panicsAt["ResolveFor"] {
		panic("no directory")
	}
	w.resolved = lookups
	contexts := make([]payload.Context, len(lookups))
	for i, l := range lookups {
		contexts[i].ExternalIDs = map[payload.Ref]string{{Kind: payload.KindCustomer, ID: 12}: strings.ToUpper(l.SourceSystem) + "-12"}
	}
	states := map[dispatch.Lane]fanout.LaneState{}
	for _, lane := range lanes {
		states[lane] = fanout.LaneState{Status: w.now[lane.SubscriptionID].Status, Version: w.now[lane.SubscriptionID].Version, Sweeping: w.sweeping[lane]}
	}
	return contexts, states, w.fail["ResolveFor"]
}

func (w *world) LoadSubscription(_ context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return w.now[lane.SubscriptionID], w.fail["LoadSubscription"]
}

func (w *world) Schedule(_ context.Context, plan fanout.Plan, ended func(bool)) error {
	if err := w.fail["Schedule"]; err != nil {
		return err
	}
	for _, body := range plan.Bodies {
		if w.refuses[body.EventID] {
			return fmt.Errorf("%w: a body of %s", fanout.ErrRefused, body.EventID)
		}
	}
	if w.commitErr == nil {
		for _, d := range plan.Taken {
			i := slices.IndexFunc(w.deferred, func(waits fanout.Deferred) bool { return reflect.DeepEqual(waits, d) })
			if i < 0 {
				return fmt.Errorf("%+v was taken already", d)
			}
			w.deferred = slices.Delete(w.deferred, i, i+1)
		}
		w.deferred = append(w.deferred, plan.Deferred...)
		slices.SortStableFunc(w.deferred, func(a, b fanout.Deferred) int {
			return cmp.Or(strings.Compare(string(a.Tenant), string(b.Tenant)), cmp.Compare(a.Position, b.Position))
		})
	}
	w.plan = plan
	w.plans = append(w.plans, plan)
	if len(w.taken) > w.takenBefore {
		return errors.New("handed over before the commit")
	}
	ended(w.commitErr == nil)
	w.takenBefore = len(w.taken)
	return nil
}

func (w *world) InTx(ctx context.Context, fn func(context.Context) error) error {
	if w.beforeTx != nil {
		w.beforeTx()
	}
	deferred, plans := slices.Clone(w.deferred), len(w.plans)
	err := fn(ctx)
	if err != nil {
		w.deferred, w.plans = deferred, w.plans[:plans]
	}
	return err
}

func (w *world) NextTurn(_ context.Context, after tenant.ID) (tenant.ID, error) {
	for _, d := range w.deferred {
		if d.Tenant > after {
			return d.Tenant, w.fail["NextTurn"]
		}
	}
	if len(w.deferred) > 0 {
		return w.deferred[0].Tenant, w.fail["NextTurn"]
	}
	return "", w.fail["NextTurn"]
}

func (w *world) DeferredOf(_ context.Context, owner tenant.ID, limit int) (parts []fanout.Deferred, err error) {
	w.later += w.turnTakes
	for _, d := range w.deferred {
		if d.Tenant == owner && len(parts) < limit && !w.elsewhere[owner] {
			parts = append(parts, d)
		}
	}
	w.partsRead += len(parts)
	return parts, w.fail["DeferredOf"]
}

func (w *world) OldestUnrouted(context.Context) (time.Time, error) {
	return w.unrouted, w.fail["OldestUnrouted"]
}

func (w *world) MayDefer(_ context.Context, since time.Time) (bool, error) {
	w.askedSince = append(w.askedSince, since)
	return !w.olderRuns, w.fail["MayDefer"]
}

func (w *world) SubscriptionsAt(_ context.Context, owners []tenant.ID, position int64) (list []subscription.Subscription, lost []dispatch.Lane, err error) {
	if w.panicsAt["SubscriptionsAt"] {
		panic("no subscriptions")
	}
	w.folds++
	at, damaged := map[string]subscription.Subscription{}, map[string]bool{}
	for _, c := range w.changes {
		if slices.Contains(owners, c.Tenant) && c.Position <= position && !damaged[c.SubscriptionID] {
			s := at[c.SubscriptionID]
			if damaged[c.SubscriptionID] = c.Unreadable != nil; damaged[c.SubscriptionID] {
				s = w.now[c.SubscriptionID]
			} else if err := s.Apply(c.Change); err != nil {
				return nil, nil, err
			}
			at[c.SubscriptionID] = s
		}
	}
	for _, s := range at {
		if lane := (dispatch.Lane{Tenant: s.Tenant, SubscriptionID: s.ID}); damaged[s.ID] && w.lost[lane] {
			lost = append(lost, lane)
		} else if s.Status != subscription.StatusDeleted {
			list = append(list, s)
		}
	}
	return list, lost, w.fail["SubscriptionsAt"]
}

func (w *world) Enabled(_ context.Context, id tenant.ID, _ tenant.Feature) (bool, error) {
	w.gateAsked++
	if w.panicsAt["the gate"] {
		panic("the gate fell")
	}
	return w.billing[id], w.fail["Enabled"]
}

func (w *world) Reserve(dispatch.Lane, int) (string, bool) {
	if w.inFlight >= w.free {
		return "inc_1", false
	}
	w.inFlight++
	return "inc_1", true
}

func (w *world) Room(owner tenant.ID) int {
	if room, bounded := w.room[owner]; bounded {
		return room
	}
	return math.MaxInt
}

func (w *world) Waiting(lanes []dispatch.Lane) { w.waiting = append(w.waiting, lanes...) }

func (w *world) Take(leased []dispatch.Leased, committed bool) {
	if committed {
		w.taken = append(w.taken, leased...)
	} else {
		w.freed = append(w.freed, leased...)
	}
	w.inFlight -= len(leased)
}

// spans is the Observer of a world.
type spans struct{ *world }

func (s spans) SubscriptionUnreadable(_ context.Context, c fanout.SubscriptionChange) {
	s.unreadable = append(s.unreadable, c.Position)
}

func (s spans) SubscriptionLost(_ context.Context, lane dispatch.Lane) {
	s.toldLost = append(s.toldLost, lane)
}

func (s spans) EventSetAside(_ context.Context, p fanout.SetAside) {
	s.aside = append(s.aside, p.EventID)
}

func (s spans) RecordUnreadable(_ context.Context, r fanout.Record) { s.damaged = append(s.damaged, r) }

func (s spans) FanOut(_ context.Context, e intake.Accepted) (string, func(int, error)) {
	if s.panicsAt[e.ID] {
		panic("it fell")
	}
	return e.TraceParent + "-child", func(deliveries int, err error) {
		if err != nil {
			s.undone++
			return
		}
		s.told[e.ID] = deliveries
		s.toldTimes++
	}
}
