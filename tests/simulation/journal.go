package simulation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func number(n int) string { return strconv.Itoa(n) }

// journal is what the world outside the service knows.
type journal struct {
	incarnations int
	acknowledged map[intake.EventKey]bool
	told         []intake.EventKey // of acknowledged, in their order
	sends        []*send
	bySpan       map[string]*send
	byDelivery   map[string][]*send
	leased       map[lease]holder
	resent       map[lease]resent
	rendered     map[string]rendered // by delivery
	jobs         map[string]job.Job  // as they were seen last
	recorded     map[string]lease    // attempts, by their trace ID, that the log knows, with the versions they were made at
	purged       purged
	accepted     map[intake.EventKey]time.Time      // last; it may have been rolled back
	featureSet   map[tenant.ID]time.Time            // last; it may have been rolled back
	billing      map[string]feature                 // by delivery, while its body was rendered
	noticed      map[subscriptions.Notice]time.Time // when they were ended; it may have been rolled back
	takenOver    map[string]bool                    // reservations of requests that came to answer too late, by their tokens
}

// lease is a delivery that is held at a version.
type lease struct {
	delivery string
	version  int64
}

type holder struct {
	process      *process
	at           time.Time
	subscription int64     // its version then
	givenBack    time.Time // zero while it is held
}

// leases notes who holds what; it may be rolled back.
func (w *world) leases(ctx context.Context, p *process, d delivery.Delivery) {
	lane := dispatch.Lane{Tenant: d.Tenant, SubscriptionID: d.SubscriptionID}
	states, err := w.store.LaneStates(ctx, []dispatch.Lane{lane})
	must(err)
	w.journal.leased[lease{d.ID, d.Version}] = holder{process: p, at: w.now, subscription: states[lane].Version}
}

func (w *world) givesBack(d delivery.Delivery) {
	at := lease{d.ID, d.Version}
	held, known := w.journal.leased[at]
	switch {
	case known && held.at.Equal(w.now): // nobody held it at any time
		delete(w.journal.leased, at)
	case known:
		held.givenBack = w.now
		w.journal.leased[at] = held
	}
}

func newJournal() journal {
	return journal{acknowledged: map[intake.EventKey]bool{}, bySpan: map[string]*send{}, byDelivery: map[string][]*send{}, leased: map[lease]holder{},
		resent: map[lease]resent{}, rendered: map[string]rendered{}, jobs: map[string]job.Job{}, noticed: map[subscriptions.Notice]time.Time{}, takenOver: map[string]bool{},
		accepted: map[intake.EventKey]time.Time{}, recorded: map[string]lease{}, purged: newPurged(), featureSet: map[tenant.ID]time.Time{}, billing: map[string]feature{}}
}

// send is a request that left a process.
type send struct {
	span, delivery, event string
	url                   string
	lane                  dispatch.Lane
	version               int64 // of the delivery when it was leased
	due                   time.Time
	process               *process
	began, ended          time.Time // the true time; ended is zero for one whose process died
	body                  [32]byte
	outcome               delivery.Outcome
	operational           bool // the event
	schedule              []time.Duration
}

// sends notes a request, and checks what can be seen of it.
func (w *world) sends(p *process, a *activity, r dispatch.Request) *send {
	l := a.leased
	s := &send{span: a.span, url: r.URL, delivery: r.Headers["X-Ordinavo-Delivery-Id"], event: r.Headers["X-Ordinavo-Event-Id"], lane: l.Lane(),
		version: l.Delivery.Version, due: l.Delivery.DueAt, process: p, began: w.now, body: sha256.Sum256(r.Body), operational: l.Delivery.EventType.IsOperational(),
		schedule: w.subscriptionAt(l.Lane(), l.Subscription.Version).RetrySchedule}
	w.journal.sends = append(w.journal.sends, s)
	w.journal.bySpan[s.span] = s
	earlier := w.journal.byDelivery[s.delivery]
	w.journal.byDelivery[s.delivery] = append(earlier, s)

	// I2: nothing is sent that the log does not know.
	stored, err := w.store.DeliveryChanges(context.Background(), r.Tenant, s.delivery)
	if err == nil && len(stored) == 0 && w.hasPurged(s.delivery) {
		return s // by one that stood still while others did this and it grew old
	}
	if err != nil || len(stored) == 0 {
		w.violate("I2", "%s was sent, and the log does not know it", s.delivery)
		return s
	}
	first := stored[0].(delivery.Scheduled)
	if first.EventID != s.event || first.SubscriptionID != s.lane.SubscriptionID {
		w.violate("I2", "%s was sent as %s to %s, the log says %s to %s", s.delivery, s.event, s.lane.SubscriptionID, first.EventID, first.SubscriptionID)
	}
	// I4: the same bytes, those that were rendered once.
	body, err := w.store.Body(context.Background(), l.Delivery)
	if err != nil || !bytes.Equal(body, r.Body) {
		w.violate("I4", "%s was sent with other bytes than those that are stored", s.delivery)
	}
	for _, before := range earlier {
		if before.body != s.body || before.event != s.event {
			w.violate("I4", "%s was sent with other bytes or IDs than before", s.delivery)
		}
	}
	// I5: not before it was due, by the clock of who sends.
	if !w.clocks && s.due.After(p.now()) {
		w.violate("I5", "%s was sent %s before it was due", s.delivery, s.due.Sub(p.now()))
	}
	w.checkSoon(s, l, r)
	w.checkRendered(s)
	w.checkOwner(s, r)
	w.checkContent(s, r, first)
	w.checkFresh(s, l, r)
	w.checkSigned(s, l, r)
	w.checkAsked(s, earlier)
	w.checkRoom(s, l.Subscription.MaxInFlight)
	w.checkOrder(s)
	w.checkHeld(s)
	return s
}

// heldFor is how long what is leased may wait for its attempt, with what the steps in between take.
const heldFor = dispatch.HeartbeatTimeout/10 + time.Second

// checkHeld holds a process to sending what it leased lately: what it held for longer may be somebody else's by now, and
// its subscription another.
func (w *world) checkHeld(s *send) {
	held, known := w.journal.leased[lease{s.delivery, s.version}]
	if known && held.process == s.process && w.now.Sub(held.at) > heldFor && !w.faults.between(s.process, held.at, w.now) {
		w.violate("I3", "%s was sent %s after it was leased", s.delivery, w.now.Sub(held.at))
	}
}

// checkRoom is I7 for a receiver: no process has more out to it than its subscription allows, or allowed when this was leased.
func (w *world) checkRoom(s *send, leased int) {
	current, err := w.store.CurrentSubscription(context.Background(), s.lane)
	must(err)
	maxInFlight := max(leased, current.MaxInFlight)
	out := 0
	for _, other := range w.journal.sends {
		if other.process == s.process && other.lane == s.lane && other.ended.IsZero() {
			out++
		}
	}
	if out > maxInFlight {
		w.violate("I7", "%s has %d attempts out to %s, of at most %d", s.process.name, out, s.lane.SubscriptionID, maxInFlight)
	}
}

// checkOrder holds what was released to the order in which it was parked: none is leased while an older one, released
// as long, waits. After trouble some come back to the queue that were leased first.
func (w *world) checkOrder(s *send) {
	released, ok := w.releasedAt(s.lane.Tenant, s.delivery, s.version)
	if !ok || w.clocks {
		return
	}
	own := w.now
	if held, leased := w.journal.leased[lease{s.delivery, s.version}]; leased {
		own = held.at
	}
	for _, row := range w.store.Rows() {
		older := row.DueAt.Before(s.due) || row.DueAt.Equal(s.due) && row.ID < s.delivery
		if row.SubscriptionID != s.lane.SubscriptionID || !older || row.Closed || row.Lease != "" {
			continue
		}
		before, ok := w.releasedAt(row.Tenant, row.ID, row.Version)
		held, leased := w.journal.leased[lease{row.ID, row.Version}]
		back := !held.givenBack.IsZero() && held.givenBack.Before(own) // later, another process has leased this one meanwhile
		if waits := !leased || back && !w.faults.since(w.now.Add(-disturbed)); ok && waits && !before.After(released) {
			w.violate("order", "%s was sent before %s, which is older and was released no later", s.delivery, row.ID)
		}
	}
}

// releasedAt is when the delivery was released, if that is what brought it to the version.
func (w *world) releasedAt(owner tenant.ID, id string, version int64) (time.Time, bool) {
	changes, err := w.store.DeliveryChanges(context.Background(), owner, id)
	if err != nil || int64(len(changes)) < version || version == 0 {
		return time.Time{}, false
	}
	c, ok := changes[version-1].(delivery.Released)
	return c.At, ok
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checkOwner is I9 for a request: it belongs to one tenant in all its parts, and is signed with the
// subscription's own secret.
func (w *world) checkOwner(s *send, r dispatch.Request) {
	owner := r.Tenant
	if owner != s.lane.Tenant || !bytes.Contains(r.Body, []byte(`"tenantId":"`+string(owner)+`"`)) {
		w.violate("I9", "%s of %s was sent for %s", s.delivery, s.lane.Tenant, owner)
	}
	for _, other := range tenants[:w.tenants] {
		if other != owner && bytes.Contains(r.Body, []byte(marker(other))) {
			w.violate("I9", "%s of %s holds data of %s", s.delivery, owner, other)
		}
	}
	signed := r.Headers[signature.HeaderBody]
	for _, known := range w.store.SecretsOf(s.lane) {
		if signature.Sign(r.Body, w.now, s.event, known).Body == signed {
			return
		}
	}
	w.violate("I9", "%s is signed with no secret of %s", s.delivery, s.lane.SubscriptionID)
}

// checkAsked is I5 for what a receiver asked for: whoever was told to wait is not sent to earlier, unless
// somebody asked for a retry, or the answer was never known.
func (w *world) checkAsked(s *send, earlier []*send) {
	if len(earlier) == 0 || w.clocks {
		return
	}
	last := earlier[len(earlier)-1]
	changes, _ := w.store.DeliveryChanges(context.Background(), s.lane.Tenant, s.delivery)
	failed, recorded := changes[len(changes)-1].(delivery.AttemptFailed)
	stale := s.version != int64(len(changes)) // who stood still goes on with what it had leased
	if stale || !recorded || failed.Attempt.TraceID != last.span || last.outcome.RetryAfter == 0 {
		return
	}
	if wait := w.now.Sub(last.ended); wait < last.outcome.RetryAfter {
		w.violate("I5", "%s was sent %s after an answer that asked for %s", s.delivery, wait, last.outcome.RetryAfter)
	}
}
