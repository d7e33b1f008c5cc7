package jobs_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var (
	start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	lane  = dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}
)

// world is a store with one lane and room for one job, and a worker that looks at two deliveries at once.
type world struct {
	inTurn bool // a job is to be had when its turn has come, not before
	*testing.T
	service *jobs.Service
	worker  *jobs.Worker
	filter  job.Filter

	job     job.Job
	turn    time.Time
	damaged bool // the store cannot read the job
	made    int  // IDs
	behind  bool // the clock that makes IDs
	steps   int
	begun   int // transactions

	deliveries []delivery.Delivery
	newest     map[string]string // by event, where it is not the one that was walked over
	events     map[string]intake.Accepted
	accepted   []queries.Event // oldest first
	fannedOut  int64           // the sequence up to which fan-out is done
	walks      []jobs.EventWalk
	wants      subscription.Filter // of the subscription
	bodies     map[string][]fanout.Body
	status     subscription.Status
	billing    bool
	stale      []int
	read       []string // what was loaded to render, in order
	fail       error    // what saving and scheduling answer
	failSave   error    // what saving a job answers
	away       string   // the call of the store that fails
	lookups    []fanout.Lookup
	later      time.Duration     // since the start
	open       map[tenant.ID]int // deliveries, as they are counted
	counted    []tenant.ID
	counts     func() // while open ones are counted

	saved     []dispatch.Saved
	scheduled []fanout.Scheduled
	whenEnded []func(committed bool)
}

func newWorld(t *testing.T) *world {
	w := &world{
		T: t, status: subscription.StatusActive, billing: true, events: map[string]intake.Accepted{}, bodies: map[string][]fanout.Body{},
		wants:  subscription.Filter{"*"},
		filter: job.Filter{SubscriptionID: lane.SubscriptionID, Statuses: []delivery.Status{delivery.StatusDeadLetter}},
	}
	w.service = &jobs.Service{Store: w, Picker: jobs.Picker{Deliveries: w, Events: w, Gate: w, AtOnce: 2}, Now: func() time.Time { return start.Add(w.later) }, NewID: w.newID}
	w.worker = jobs.NewWorker(w.service, w)
	return w
}

func (w *world) newID(prefix string) string {
	if w.behind {
		return fmt.Sprintf("%s%026d", prefix, 0)
	}
	w.made++
	return fmt.Sprintf("%s%026d", prefix, w.made)
}

// dead adds an event whose delivery was given up.
func (w *world) dead(t event.Type) delivery.Delivery {
	e := event.Sample(t, lane.Tenant)
	e.ID = w.newID("evt_")
	w.events[e.ID] = intake.Accepted{Event: e, At: start}
	d := delivery.Delivery{
		ID: w.newID("dlv_"), Tenant: lane.Tenant, EventID: e.ID, EventType: t, SubscriptionID: lane.SubscriptionID,
		Status: delivery.StatusDeadLetter, Version: 3, BodyNumber: 1, CreatedAt: start,
	}
	w.deliveries = append(w.deliveries, d)
	return d
}

func (w *world) request(kind job.Kind, mode job.Mode) jobs.Request {
	return jobs.Request{Tenant: lane.Tenant, Kind: kind, Mode: mode, Filter: w.filter}
}

func (w *world) begin(kind job.Kind, mode job.Mode) job.Job {
	w.Helper()
	j, err := w.service.Begin(w.Context(), w.request(kind, mode))
	if err != nil {
		w.Fatal(err)
	}
	return j
}

// work steps until no job is open.
func (w *world) work() {
	w.Helper()
	for w.steps = 0; w.job.Open(); w.steps++ {
		if _, err := w.worker.Step(w.Context()); err != nil || w.steps > 10 {
			w.Fatalf("step %d: %v", w.steps, err)
		}
	}
}

func (w *world) CreateJob(_ context.Context, j job.Job, _ int) error {
	w.job = j
	return nil
}

func (w *world) Job(_ context.Context, owner tenant.ID, id string) (job.Job, error) {
	if w.job.Tenant != owner || w.job.ID != id {
		return job.Job{}, problem.New(problem.NotFound, "There is no such job.")
	}
	return w.job, nil
}

func (w *world) Jobs(context.Context, tenant.ID, string, int) ([]job.Job, error) {
	return []job.Job{w.job}, nil
}

func (w *world) NextJob(_ context.Context, now time.Time) (job.Job, bool, time.Time, error) {
	j := w.job
	if w.damaged {
		j.GiveUp("what is stored of it cannot be read", now)
	}
	if w.inTurn && w.turn.After(now) {
		return job.Job{}, false, w.turn, nil
	}
	return j, w.job.Open(), w.turn, nil
}

func (w *world) SaveJob(_ context.Context, j job.Job, turn time.Time) error {
	if w.failSave != nil {
		return w.failSave
	}
	w.job, w.turn = j, turn
	return nil
}

func (w *world) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	w.begun++
	w.whenEnded = nil
	err := fn(ctx)
	for _, ended := range w.whenEnded {
		ended(err == nil)
	}
	return err
}

var errAway = errors.New("the database is away")

// reach fails when the call is the one that is away.
func (w *world) reach(call string) error {
	if call == w.away {
		return errAway
	}
	return nil
}

func (w *world) WalkDeliveries(_ context.Context, walk jobs.Walk) (found []delivery.Delivery, err error) {
	if err := w.reach("WalkDeliveries"); err != nil {
		return nil, err
	}
	for _, d := range w.deliveries {
		if d.Tenant == walk.Tenant && d.ID > walk.After && d.ID <= walk.UpTo && len(found) < walk.Limit {
			found = append(found, d)
		}
	}
	return found, nil
}

func (w *world) Deliveries(_ context.Context, f queries.DeliveryFilter) (newest []delivery.Delivery, err error) {
	for _, d := range w.deliveries {
		if d.Tenant == f.Tenant && d.SubscriptionID == f.SubscriptionID && (newest == nil || d.ID > newest[0].ID) {
			newest = []delivery.Delivery{d}
		}
	}
	return newest, w.fail
}

func (w *world) NewestDeliveries(_ context.Context, of dispatch.Lane, eventIDs []string, upTo string, _ time.Time) (map[string]string, error) {
	if w.newest != nil {
		return w.newest, w.reach("NewestDeliveries")
	}
	newest := map[string]string{}
	for _, d := range w.deliveries {
		if dispatch.LaneOf(d) == of && slices.Contains(eventIDs, d.EventID) {
			newest[d.EventID] = d.ID
		}
	}
	for _, s := range w.scheduled {
		if upTo == "dlv_~" && slices.Contains(eventIDs, s.Delivery.EventID) { // of any time
			newest[s.Delivery.EventID] = s.Delivery.ID
		}
	}
	return newest, w.reach("NewestDeliveries")
}

func (w *world) LaneStates(_ context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error) {
	states := map[dispatch.Lane]fanout.LaneState{}
	for _, l := range lanes {
		if l.SubscriptionID == lane.SubscriptionID {
			states[l] = fanout.LaneState{Status: w.status}
		}
	}
	return states, w.reach("LaneStates")
}

func (w *world) Save(_ context.Context, saved []dispatch.Saved) ([]int, error) {
	if w.fail == nil {
		w.saved = append(w.saved, saved...)
	}
	return w.stale, w.fail
}

func (w *world) CountOpen(_ context.Context, owner tenant.ID, upTo int) (int, error) {
	w.counted = append(w.counted, owner)
	if w.counts != nil {
		w.counts()
	}
	return min(w.open[owner], upTo), w.reach("CountOpen")
}

func (w *world) Enabled(_ context.Context, owner tenant.ID, _ tenant.Feature) (bool, error) {
	return w.billing && owner == lane.Tenant, w.reach("Enabled")
}

func (w *world) LoadSubscription(context.Context, dispatch.Lane) (subscription.Subscription, error) {
	s := subscription.Subscription{ID: lane.SubscriptionID, Tenant: lane.Tenant, Status: w.status, Version: 3}
	s.SourceSystem, s.Options, s.EventTypes, s.CreatedAt = "sap", payload.DefaultOptions(), w.wants, start.Add(-time.Hour)
	return s, w.reach("LoadSubscription")
}

func (w *world) Events(_ context.Context, keys []intake.EventKey) (found []intake.Accepted, err error) {
	w.read = append(w.read, "events")
	for _, key := range keys {
		if e, kept := w.events[key.ID]; kept && key.Tenant == lane.Tenant {
			found = append(found, e)
		}
	}
	return found, w.reach("Events")
}

func (w *world) EventBodies(_ context.Context, _ tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	w.read = append(w.read, "bodies")
	loaded := map[string][]fanout.Body{}
	for _, id := range eventIDs {
		loaded[id] = w.bodies[id]
	}
	return loaded, w.reach("EventBodies")
}

func (w *world) Resolve(_ context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	w.lookups = lookups
	return make([]payload.Context, len(lookups)), w.reach("Resolve")
}

func (w *world) Schedule(_ context.Context, plan fanout.Plan, ended func(bool)) error {
	if err := cmp.Or(w.fail, w.reach("Schedule")); err != nil {
		return err
	}
	w.whenEnded = append(w.whenEnded, ended)
	for _, body := range plan.Bodies {
		w.bodies[body.EventID] = append(w.bodies[body.EventID], body)
	}
	w.scheduled = append(w.scheduled, plan.Scheduled...)
	return nil
}
