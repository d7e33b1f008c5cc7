package dispatch_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// row is an open or closed delivery with its stream.
type row struct {
	delivery.Delivery
	lease    string
	leasedAt time.Time
	came     time.Time // when its holder learned of the lease
	changes  []delivery.Change
	fallen   bool // due when it was saved, or found due by a look
}

// world is a queue in memory, whose transactions are undone when they fail, and the dispatcher on it.
type world struct {
	testing.TB
	*dispatch.Dispatcher
	next   []dispatch.Leased // began in an attempt's place
	now    time.Time
	made   int
	lane   map[dispatch.Lane]subscription.Subscription
	weight map[tenant.ID]int // other than the default

	rows         map[string]row
	health       map[dispatch.Lane]dispatch.Health
	told         []intake.Accepted
	inTx         bool
	queueChanged bool
	transactions int
	begins       func() // while the next transaction waits to begin
	leases       int
	fail         map[string]error // of a call, or of the commit
	duringLease  func()
	duringLook   func()
	elsewhere    bool // another process is leasing from all lanes

	circuits map[dispatch.Lane]circuit.Report

	disabled map[dispatch.Lane]string
	stale    []string
	ended    map[delivery.Status]int
}

const incarnation = "inc_1"

func newWorld(t testing.TB, maxInFlight int) *world {
	return newWorldOf(t, dispatch.Config{MaxInFlight: maxInFlight})
}

// newWorldOf makes what the configuration lacks.
func newWorldOf(t testing.TB, c dispatch.Config) *world {
	w := &world{
		TB: t, now: start, lane: map[dispatch.Lane]subscription.Subscription{}, weight: map[tenant.ID]int{}, rows: map[string]row{}, health: map[dispatch.Lane]dispatch.Health{},
		fail: map[string]error{}, circuits: map[dispatch.Lane]circuit.Report{}, disabled: map[dispatch.Lane]string{}, ended: map[delivery.Status]int{},
	}
	c.Store, c.Disabler, c.Observer, c.Now = w, w, w, func() time.Time { return w.now }
	c.Jitter, c.Incarnation = func() float64 { return 0 }, incarnation
	w.Dispatcher = dispatch.New(c)
	return w
}

// Finish ends an attempt; what begins in its place is taken like all the rest.
func (w *world) Finish(l dispatch.Leased, o delivery.Outcome) {
	if next, more := w.Dispatcher.Finish(l, o); more {
		w.next = append(w.next, next)
	}
}

// subscribe makes a lane that allows so many attempts at once.
func (w *world) subscribe(id string, maxInFlight int) dispatch.Lane {
	return w.subscribeFor("acme", id, maxInFlight)
}

func (w *world) subscribeFor(owner tenant.ID, id string, maxInFlight int) dispatch.Lane {
	lane := dispatch.Lane{Tenant: owner, SubscriptionID: id}
	w.lane[lane] = subscription.Subscription{ID: id, Tenant: owner, Status: subscription.StatusActive, Version: 1, Settings: subscription.Settings{
		URL: "https://example.com/" + id, MaxInFlight: maxInFlight, Timeout: time.Second, RetrySchedule: []time.Duration{time.Minute, time.Hour}}}
	return lane
}

// schedule makes a delivery of the lane, held when lease is not empty.
func (w *world) schedule(lane dispatch.Lane, lease string) dispatch.Leased {
	w.Helper()
	w.made++
	changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: fmt.Sprintf("dlv_%04d", w.made), Tenant: lane.Tenant, EventID: fmt.Sprintf("evt_%04d", w.made),
		EventType: event.VisitReportApproved, SubscriptionID: lane.SubscriptionID, SubscriptionVersion: 1, BodyNumber: 1})
	d, err := delivery.Fold(changes)
	if err != nil {
		w.Fatal(err)
	}
	w.rows[d.ID] = row{d, lease, w.now, w.now, changes, true}
	return w.leased(d, lease)
}

// hand hands over what was scheduled just now, and takes it to be attempted.
func (w *world) hand(l dispatch.Leased) {
	w.Helper()
	if _, ok := w.Reserve(l.Lane(), w.lane[l.Lane()].MaxInFlight); !ok {
		w.Fatal("it is not taken")
	}
	w.Take([]dispatch.Leased{l}, true)
	w.take()
}

func (w *world) leased(d delivery.Delivery, lease string) dispatch.Leased {
	sub := w.lane[dispatch.LaneOf(d)]
	return dispatch.Leased{Delivery: d, Subscription: &sub, Lease: lease, TraceParent: "00-trace"}
}

func (w *world) step() time.Time {
	w.Helper()
	next, err := w.Step(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return next
}

// take receives what is to be attempted now.
func (w *world) take() (list []dispatch.Leased) {
	list, w.next = w.next, nil
	for len(w.Started()) > 0 {
		list = append(list, <-w.Started())
	}
	return list
}

func succeeded() delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200, StartedAt: start}
}

func answered(status int) delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: status, StartedAt: start}
}

func (w *world) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if w.inTx {
		return errors.New("a transaction in a transaction")
	}
	if begins := w.begins; begins != nil {
		w.begins = nil
		begins()
	}
	rows, health, disabled, told, circuits := maps.Clone(w.rows), maps.Clone(w.health), maps.Clone(w.disabled), slices.Clone(w.told), maps.Clone(w.circuits)
	w.inTx, w.transactions = true, w.transactions+1
	err := fn(ctx)
	w.inTx = false
	if err = errors.Join(err, w.fail["commit"]); err != nil {
		w.rows, w.health, w.disabled, w.told, w.circuits = rows, health, disabled, told, circuits
	} else if w.queueChanged {
		w.Wake() // as a commit does that changes the queue
	}
	for id, q := range w.rows {
		if q.lease != "" && q.came.IsZero() {
			q.came = w.now
			w.rows[id] = q
		}
	}
	w.queueChanged = false
	return err
}

// must is an error outside a transaction, or a planted one.
func (w *world) must(call string) error {
	if !w.inTx {
		return fmt.Errorf("%s outside the transaction", call)
	}
	return w.fail[call]
}

func (w *world) Look(_ context.Context, r dispatch.LookRequest) (answer dispatch.LookAnswer, err error) {
	if err := w.must("Look"); err != nil {
		return answer, err
	}
	if w.duringLook != nil {
		w.duringLook()
	}
	ready := map[dispatch.Lane]bool{}
	for _, q := range w.inOrder() {
		switch lane := dispatch.LaneOf(q.Delivery); {
		case q.lease != "" || !q.Status.IsClaimable():
		case q.DueAt.After(r.Now):
			if answer.NextDue.IsZero() {
				answer.NextDue = q.DueAt
			}
		case !q.fallen:
			q.fallen = true
			w.rows[q.ID] = q
			answer.Fallen = append(answer.Fallen, lane)
			ready[lane] = true
		default:
			ready[lane] = true
		}
	}
	for _, lane := range slices.SortedFunc(maps.Keys(ready), func(a, b dispatch.Lane) int { return cmp.Compare(a.SubscriptionID, b.SubscriptionID) }) {
		if lane.SubscriptionID > r.After && len(answer.Ready) < r.Lanes {
			answer.Ready = append(answer.Ready, lane)
		}
	}
	return answer, nil
}

func (w *world) LeaseReady(_ context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	answer := dispatch.LeaseAnswer{Lanes: map[dispatch.Lane]dispatch.LaneRest{}}
	if err := w.must("LeaseReady"); err != nil {
		return answer, err
	}
	w.leases++
	if w.duringLease != nil {
		w.duringLease()
	}
	of := map[dispatch.Lane][]row{}
	for _, q := range w.inOrder() {
		of[dispatch.LaneOf(q.Delivery)] = append(of[dispatch.LaneOf(q.Delivery)], q)
	}
	for _, asked := range r.Lanes {
		rest := dispatch.LaneRest{MaxInFlight: w.lane[asked.Lane].MaxInFlight, Weight: cmp.Or(w.weight[asked.Tenant], tenant.DefaultWeight)}
		left := min(asked.Slots, rest.MaxInFlight-asked.Out)
		if w.elsewhere {
			left = 0
		}
		for _, q := range of[asked.Lane] {
			switch {
			case q.lease != "" || !q.Status.IsClaimable() || !q.fallen:
			case left <= 0:
				rest.More = true
			default:
				left--
				q.lease, q.leasedAt, q.came = r.Lease, r.Now, time.Time{}
				w.rows[q.ID] = q
				answer.Leased = append(answer.Leased, w.leased(q.Delivery, r.Lease))
			}
		}
		answer.Lanes[asked.Lane] = rest
	}
	return answer, nil
}

func (w *world) inOrder() []row {
	return slices.SortedFunc(maps.Values(w.rows), func(a, b row) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	})
}

func (w *world) Save(_ context.Context, saved []dispatch.Saved) (stale []int, err error) {
	for place, s := range saved {
		q := w.rows[s.Before.ID]
		if q.Version != s.Before.Version || q.lease != s.Lease {
			stale = append(stale, place)
			continue
		}
		w.queueChanged = w.queueChanged || s.After.Status.IsClaimable()
		w.rows[s.Before.ID] = row{Delivery: s.After, changes: append(slices.Clone(q.changes), s.Changes...)}
	}
	return stale, w.fail["Save"]
}

func (w *world) NoteHealth(_ context.Context, lanes map[dispatch.Lane]dispatch.Ended, now time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	health := map[dispatch.Lane]dispatch.Health{}
	for lane, ended := range lanes {
		if w.lane[lane].URL != ended.URL {
			continue
		}
		if ended.Succeeded {
			delete(w.health, lane)
			continue
		}
		h, already := w.health[lane]
		if !already {
			h.FailingSince = now
		}
		before := h.Failures
		h.Failures += ended.Failures
		w.health[lane] = h
		h.Reached = before < subscription.FailuresUntilFailing && h.Failures >= subscription.FailuresUntilFailing
		health[lane] = h
	}
	return health, w.must("NoteHealth")
}

func (w *world) Known(_ context.Context, keys []intake.EventKey) (intake.Known, error) {
	known := intake.Known{Fingerprints: map[intake.EventKey][32]byte{}}
	for _, e := range w.told {
		if slices.Contains(keys, e.Key()) {
			known.Fingerprints[e.Key()] = e.Fingerprint
		}
	}
	return known, w.must("Known")
}

func (w *world) AppendEvents(_ context.Context, events []intake.Accepted) error {
	w.told = append(w.told, events...)
	return w.must("AppendEvents")
}

func (w *world) NoteCircuits(_ context.Context, _ string, reports []dispatch.CircuitReport) error {
	for _, r := range reports {
		if w.circuits[r.Lane] = r.Report; r.Report == (circuit.Report{}) {
			delete(w.circuits, r.Lane)
		}
	}
	return w.must("NoteCircuits")
}

func (w *world) GiveBack(_ context.Context, lease string, leased []dispatch.Leased) error {
	if err := w.fail["GiveBack"]; err != nil {
		return err
	}
	for _, l := range leased {
		if q := w.rows[l.Delivery.ID]; q.lease == lease {
			q.lease = ""
			w.rows[q.ID] = q
		}
	}
	return nil
}

func (w *world) Disable(_ context.Context, lane dispatch.Lane, url, reason string) (*subscription.Subscription, error) {
	if w.disabled[lane] != "" || w.lane[lane].URL != url {
		return nil, w.must("Disable")
	}
	w.disabled[lane] = reason
	s := w.lane[lane]
	s.Status, s.Reason, s.Version, s.UpdatedAt = subscription.StatusDisabled, reason, s.Version+1, w.now
	return &s, w.must("Disable")
}

func (w *world) AttemptStarted(ctx context.Context, _ dispatch.Leased, _ int) (context.Context, dispatch.AttemptSpan) {
	return ctx, dispatch.AttemptSpan{End: func(delivery.Outcome) {}}
}
func (w *world) StaleLease(_ context.Context, id string) { w.stale = append(w.stale, id) }
func (w *world) DeliveriesEnded(_ context.Context, status delivery.Status, n int) {
	w.ended[status] += n
}
