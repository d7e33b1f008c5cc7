// Package dispatch sends what is due: lease, attempt, record. First try, retry, manual
// retry and replay are one path; they differ by data alone.
package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/operational"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Lane is a subscription's queue of deliveries.
type Lane struct {
	Tenant         tenant.ID
	SubscriptionID string
}

// Compare orders lanes by tenant, then by subscription.
func (l Lane) Compare(other Lane) int {
	return cmp.Or(cmp.Compare(l.Tenant, other.Tenant), cmp.Compare(l.SubscriptionID, other.SubscriptionID))
}

// LaneOf is the lane of a delivery.
func LaneOf(d delivery.Delivery) Lane { return Lane{d.Tenant, d.SubscriptionID} }

// LaneOfSubscription is the lane of a subscription.
func LaneOfSubscription(s *subscription.Subscription) Lane { return Lane{s.Tenant, s.ID} }

// Leased is a delivery that this process alone may attempt, with what it takes to do so.
type Leased struct {
	Delivery delivery.Delivery
	// Subscription is as it was when this was leased; it is shared, and never changed.
	Subscription *subscription.Subscription
	Body         []byte
	// TraceParent is the context of the request that brought the event.
	TraceParent string
	// AcceptedAt is when the event was accepted; of a replay that made the delivery, at the latest then: see fanout.Scheduled.CountedAt.
	AcceptedAt time.Time
	Lease      string
	// Test marks a sample that an admin asked for.
	Test bool
	// Unanswered marks one whose receiver did not answer the last attempt: such attempts begin one after the other, not
	// together.
	Unanswered bool
	// Spared marks one whose receiver gets less than its subscription allows, and which may so have waited for its turn.
	Spared bool
	// leasedAt is when it was leased, since when this process holds it, and waited how long before it got its slot.
	leasedAt, since time.Time
	waited          time.Duration
	handed          bool // over by fan-out, and not begun
	// changes is how often its subscription had changed when it got its slot, and receiver how often its receiver was forgotten.
	changes, receiver int
	// Unreadable is why it cannot be sent: something stored is damaged; nil when it can. Its attempts then fail, and the
	// retries give an operator time to mend it.
	Unreadable error
}

// ErrUnreadable says that something stored is missing, is damaged, or was written by a newer version.
var ErrUnreadable = errors.New("what is stored cannot be read")

// ErrDeleted says that a secret is no longer one of its subscription's: that was deleted, and its deliveries end by a sweep, or it has been
// rotated since it was read.
var ErrDeleted = errors.New("the secret was deleted")

// CheckStatus fails with ErrUnreadable for a delivery with an unknown status. It is leased like others, so that it is in
// nobody's way, and stays with its holder: no outcome may follow.
func CheckStatus(d delivery.Delivery) error {
	if _, err := delivery.ParseStatus(string(d.Status)); err != nil {
		return fmt.Errorf("%w: delivery %s: %w", ErrUnreadable, d.ID, err)
	}
	return nil
}

// Lane is the lane of the delivery.
func (l Leased) Lane() Lane { return LaneOf(l.Delivery) }

// LookRequest asks what is ready: due, and held by nobody.
type LookRequest struct {
	Now time.Time
	// After is the subscription ID to look behind; empty to begin with the first lane.
	After string
	// Lanes is how many lanes to look at; 0 to look only for what has fallen due.
	Lanes int
}

// LookAnswer is what was found.
type LookAnswer struct {
	// Fallen is the lanes in which deliveries have fallen due; it may name a lane more than once.
	Fallen []Lane
	// Ready is the lanes behind LookRequest.After with something ready, in order; fewer than asked for at the end.
	Ready []Lane
	// NextDue is when the next delivery falls due; zero for none. It is in the past when there was too much for one look.
	NextDue time.Time
}

// Asked is a lane to lease from.
type Asked struct {
	Lane
	Slots int // how many at most
	Out   int // how many of what the subscription allows at once are in use; below zero when that many more may be leased
}

// LeaseRequest asks for deliveries that are ready.
type LeaseRequest struct {
	Lease string // this process's incarnation
	Now   time.Time
	Lanes []Asked
}

// LeaseAnswer is what was leased.
type LeaseAnswer struct {
	Leased []Leased
	// Lanes has an entry for each lane asked; a lane that is being swept or is not active is left out.
	Lanes map[Lane]LaneRest
}

// LaneRest is the state of a lane beside what was leased.
type LaneRest struct {
	MaxInFlight int  // of its subscription
	Weight      int  // of its tenant
	More        bool // something else is ready in it
}

// Saved is a delivery moved by changes.
type Saved struct {
	// Before is the state that the changes were decided on; its version and the lease fence the write.
	Before  delivery.Delivery
	After   delivery.Delivery
	Changes []delivery.Change
	Lease   string // empty when nobody held it
	// TraceParent goes with the records.
	TraceParent string
}

// Orphan is a delivery whose holder's heartbeat stopped.
type Orphan struct {
	Delivery delivery.Delivery
	Schedule []time.Duration
	Lease    string
	LeasedAt time.Time
}

// Store keeps the open deliveries.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	Queue
	Circuits
	// Save writes changes and the state they lead to. It skips those whose lease or version has changed since, and returns
	// their places in saved, ascending: of one delivery, one may be stale and a later one not.
	Save(ctx context.Context, saved []Saved) (stale []int, err error)
	// NoteHealth tracks since when each lane has done nothing but fail, and returns the health of those that still do. It leaves out
	// lanes whose subscription has another URL by now than the one that was called. Until the transaction ends nobody changes those that
	// this gives a reason to disable.
	NoteHealth(ctx context.Context, lanes map[Lane]Ended, now time.Time) (map[Lane]Health, error)
	operational.Store
}

// Ended sums up the attempts of a lane that ended in one step.
type Ended struct {
	URL       string // that was called
	Succeeded bool   // at least one did, which makes up for those that failed
	// Failures counts those that failed, except of operational events: nobody is told of the trouble with these.
	Failures int
	Gone     bool // the receiver said so, for which the subscription is disabled
}

// Health is the state of a lane whose last attempt failed.
type Health struct {
	FailingSince time.Time
	// Failures counts those in a row, at least up to subscription.FailuresUntilFailing.
	Failures int
	// Reached says that they have just reached subscription.FailuresUntilFailing.
	Reached bool
}

// Queue holds what waits to be attempted. The cost of a call does not depend on how much waits.
type Queue interface {
	// Look makes ready what has fallen due, and says in which lanes something is ready.
	Look(ctx context.Context, request LookRequest) (LookAnswer, error)
	// LeaseReady leases each lane's oldest ready deliveries, and none of a lane that is being swept. One that cannot be read is
	// leased and marked so, since one damaged row must not keep the others from being sent.
	LeaseReady(ctx context.Context, request LeaseRequest) (LeaseAnswer, error)
	// GiveBack ends the leases of deliveries that were not attempted, but for those that have changed since they were leased: the
	// process may have leased them again, and hold them.
	GiveBack(ctx context.Context, lease string, leased []Leased) error
}

// CircuitReport is a process's view of a lane's receiver.
type CircuitReport struct {
	Lane
	circuit.Report
}

// Circuits is where processes publish their view of receivers for whoever asks; each acts on its own view alone.
type Circuits interface {
	// NoteCircuits replaces the incarnation's reports on these lanes, each of which may be named once.
	NoteCircuits(ctx context.Context, incarnation string, reports []CircuitReport) error
}

// Incarnations tracks which processes live: a lease belongs to one incarnation of a process.
type Incarnations interface {
	// Heartbeat says that the incarnation lives.
	Heartbeat(ctx context.Context, incarnation string, now time.Time) error
	// CountProcesses counts the incarnations that have said since then that they live.
	CountProcesses(ctx context.Context, since time.Time) (int, error)
	// Orphans lists deliveries held by incarnations without a heartbeat between the two times, both included; a zero to is no bound. One whose
	// subscription is missing or cannot be read has no schedule, and keeps no other from being listed.
	Orphans(ctx context.Context, from, to time.Time, limit int) ([]Orphan, error)
}

// Secrets opens the signing secrets of a subscription.
type Secrets interface {
	// OpenSecret fails with ErrDeleted when the secret is missing and the subscription has it no more; see subscription.HasSecret.
	OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error)
}

// Disabler takes a subscription out of service.
type Disabler interface {
	// Disable returns the subscription as it is afterwards; nil when there was nothing to disable, or it has another URL by now
	// than the one that was called. It fails with ErrUnreadable, having changed nothing, when the subscription cannot be read.
	Disable(ctx context.Context, lane Lane, url, reason string) (*subscription.Subscription, error)
}

// Observer follows each attempt.
type Observer interface {
	// AttemptStarted begins the attempt's span; end it with the outcome.
	AttemptStarted(ctx context.Context, l Leased, number int) (spanContext context.Context, span AttemptSpan)
	// StaleLease tells that an outcome was refused because another process had taken the delivery over.
	StaleLease(ctx context.Context, deliveryID string)
	// DeliveriesEnded tells how many deliveries reached a terminal status.
	DeliveriesEnded(ctx context.Context, status delivery.Status, n int)
}

// AttemptSpan is the trace of one attempt. Either of the two ends it: NotMade, if nothing was sent and it counts as none.
type AttemptSpan struct {
	TraceID      string
	TraceParent  string // for the receiver
	End, NotMade func(delivery.Outcome)
}
