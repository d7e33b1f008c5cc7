// Package dispatch sends what is due: lease, attempt, record. First try, retry, manual
// retry and replay are one path; they differ by data alone.
package dispatch

import (
	"context"
	"time"

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

// Leased is a delivery that this process alone may attempt, with what it takes to do so.
type Leased struct {
	Delivery     delivery.Delivery
	Subscription subscription.Subscription
	Body         []byte
	// TraceParent is the context of the request that brought the event.
	TraceParent string
	// AcceptedAt is when the event was accepted.
	AcceptedAt time.Time
	Lease      string
	// Test marks a sample that an admin asked for.
	Test bool
}

// Lane is the lane of the delivery.
func (l Leased) Lane() Lane { return Lane{l.Delivery.Tenant, l.Delivery.SubscriptionID} }

// LeaseRequest asks for deliveries that are due.
type LeaseRequest struct {
	Lease string // this process's incarnation
	Now   time.Time
	Limit int
	// InFlight is what each lane has out already; it counts towards the lane's own limit.
	InFlight map[Lane]int
	// Limits is for lanes whose receiver gets fewer attempts at once than its subscription allows.
	Limits map[Lane]int
	// After is the lane to begin behind, so that no lane is always last.
	After Lane
}

// Room is how many more of the lane may be out, of the maxInFlight that its subscription allows.
func (r LeaseRequest) Room(lane Lane, maxInFlight int) int {
	if limit, known := r.Limits[lane]; known {
		maxInFlight = min(maxInFlight, limit)
	}
	return max(0, maxInFlight-r.InFlight[lane])
}

// LeaseAnswer is what was leased, and when to ask again.
type LeaseAnswer struct {
	Leased []Leased
	// NextDue is when the next delivery falls due that nobody holds; zero for none.
	NextDue time.Time
	// Behind is the lanes in which more is due than was leased; nil for none.
	Behind map[Lane]bool
}

// LeftBehind notes that more is due in the lane than was leased.
func (a *LeaseAnswer) LeftBehind(lane Lane) {
	if a.Behind == nil {
		a.Behind = map[Lane]bool{}
	}
	a.Behind[lane] = true
}

// Saved is a delivery that moved by some changes while this process held it.
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

// Store is the queue of open deliveries.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// LeaseDue leases by lanes: of each lane its oldest due, none of a lane that is being swept.
	LeaseDue(ctx context.Context, request LeaseRequest) (LeaseAnswer, error)
	// Save writes changes and the state they lead to. It skips, and returns the IDs of, those
	// whose lease or version is no longer the one they were decided on.
	Save(ctx context.Context, saved []Saved) (stale []string, err error)
	// NoteHealth remembers since when each lane has done nothing but fail, and tells it; zero after a success.
	NoteHealth(ctx context.Context, lanes map[Lane]bool, now time.Time) (failingSince map[Lane]time.Time, err error)
	// GiveBack ends leases of deliveries that were not attempted.
	GiveBack(ctx context.Context, lease string, leased []Leased) error
}

// Incarnations is who lives: leases belong to one incarnation of a process.
type Incarnations interface {
	// Heartbeat says that the incarnation lives.
	Heartbeat(ctx context.Context, incarnation string, now time.Time) error
	// Orphans lists deliveries held by incarnations without a heartbeat since the time.
	Orphans(ctx context.Context, heartbeatBefore time.Time, limit int) ([]Orphan, error)
}

// Secrets opens the signing secrets of a subscription.
type Secrets interface {
	OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error)
}

// Disabler takes a subscription out of service.
type Disabler interface {
	Disable(ctx context.Context, lane Lane, reason string) error
}

// Observer follows each attempt.
type Observer interface {
	// AttemptStarted begins the attempt's span; end it with what came of it.
	AttemptStarted(ctx context.Context, l Leased, number int) (spanContext context.Context, span AttemptSpan)
	// StaleLease tells that an outcome was refused, since somebody else had taken the delivery over.
	StaleLease(ctx context.Context, deliveryID string)
	// DeliveriesEnded tells how many deliveries reached a terminal status.
	DeliveriesEnded(ctx context.Context, status delivery.Status, n int)
}

// AttemptSpan is the trace of one attempt.
type AttemptSpan struct {
	TraceID     string
	TraceParent string // for the receiver
	End         func(delivery.Outcome)
}
