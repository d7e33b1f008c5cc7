// Package intake accepts emitted events: once, durably, many in one commit.
package intake

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// EventKey names an event; IDs are unique within a tenant only.
type EventKey struct {
	Tenant tenant.ID `json:"t"`
	ID     string    `json:"e"`
}

// TenantsOf lists the tenants of events, each once.
func TenantsOf(keys []EventKey) (list []tenant.ID) {
	seen := map[tenant.ID]bool{}
	for _, key := range keys {
		if !seen[key.Tenant] {
			seen[key.Tenant] = true
			list = append(list, key.Tenant)
		}
	}
	return list
}

// Accepted is an event as the store keeps it.
type Accepted struct {
	event.Event
	Fingerprint [32]byte
	// TraceParent is the W3C trace context of the request that brought it; it outlives a restart.
	TraceParent string
	At          time.Time
	// Unreadable says, of an event that a store returned, that its content is damaged or of a newer version: only its ID,
	// tenant and type are known.
	Unreadable error

	encoded []byte // if at hand; see Encoded
}

// NewAccepted makes of an event what a store takes. The event must not be changed any more.
func NewAccepted(e event.Event, traceParent string, at time.Time) (Accepted, error) {
	encoded, print, err := event.Seal(e)
	if err != nil {
		return Accepted{}, fmt.Errorf("fingerprint an event: %w", err)
	}
	return Accepted{Event: e.Canonical(), Fingerprint: print, TraceParent: traceParent, At: at, encoded: encoded}, nil
}

// Encoded is the event's stored form: the one the fingerprint was taken of, if this process has just done so.
func (a Accepted) Encoded() ([]byte, error) {
	if a.encoded != nil {
		return a.encoded, nil
	}
	return event.Encode(a.Event)
}

// Key names the event.
func (a Accepted) Key() EventKey { return EventKey{a.TenantID, a.ID} }

// Known is what the store knows of events and of their tenants.
type Known struct {
	Fingerprints map[EventKey][32]byte
	Tenants      map[tenant.ID]bool
}

// Store is what intake needs from the event store. A context from InTx carries its transaction.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Known finds which of the events are known already, and which of their tenants exist.
	Known(ctx context.Context, keys []EventKey) (Known, error)
	// AppendEvents stores the events, and in the log the records that name them; fan-out handles a record at a time.
	AppendEvents(ctx context.Context, events []Accepted) error
}

// Observer is told what was accepted, and what was refused for want of room.
type Observer interface {
	EventsAccepted(ctx context.Context, accepted []event.Type, duplicates int)
	EventsRefused(ctx context.Context, why Reason, events int)
}

// Reason is why there is no room for events.
type Reason string

// The reasons.
const (
	ReasonWaiting      Reason = "waiting"        // more events wait to be accepted than the process can hold
	ReasonFanOutLag    Reason = "fanout_lag"     // see Limits
	ReasonOpen         Reason = "open"           // see Limits
	ReasonTenantOpen   Reason = "tenant_open"    // see Limits
	ReasonEventsPerDay Reason = "events_per_day" // see Limits
)

// Reasons lists all of them.
func Reasons() []Reason {
	return []Reason{ReasonWaiting, ReasonFanOutLag, ReasonOpen, ReasonTenantOpen, ReasonEventsPerDay}
}

// maxPerCommit bounds a commit's events, unless one request alone brings more.
const maxPerCommit = 2000

// Result says what became of one event.
type Result struct {
	EventID   string
	Duplicate bool
}

// Keep writes the answer to a request in the transaction (carried by its context) that accepts the events, so that there is
// never the one without the other. A problem.Conflict refuses this request alone, which has been given up meanwhile.
type Keep func(ctx context.Context, results []Result) error

// Intake gathers the requests that wait and commits them together.
type Intake struct {
	store    Store
	quotas   QuotaStore
	limits   Limits
	backlog  *Backlog
	observer Observer
	now      func() time.Time
	newID    func(prefix string) string
	queue    queue
	trouble  atomic.Pointer[trouble]
	wake     loop.Signal
	// Recent is what was accepted last.
	Recent *Recent
}

// Config is what an Intake needs.
type Config struct {
	Store    Store
	Quotas   QuotaStore // nil without a quota of events
	Limits   Limits
	Backlog  *Backlog // nil when nobody looks
	Observer Observer
	Now      func() time.Time
	NewID    func(prefix string) string
}

// New makes an Intake; its step must be called for Accept to return.
func New(c Config) *Intake {
	if c.Backlog == nil {
		c.Backlog = NewBacklog(nil, Limits{}, c.Now)
	}
	return &Intake{store: c.Store, quotas: c.Quotas, limits: c.Limits, backlog: c.Backlog, queue: queue{of: map[tenant.ID]*line{}}, observer: c.Observer, now: c.Now, newID: c.NewID,
		wake: loop.NewSignal(), Recent: newRecent()}
}

// Accept returns once the events are durable. All or none of them are accepted: an unknown tenant, or an ID that is taken by
// other content, refuses the whole request and names the field as events[i].field. The events must be valid. keep is nil for
// nothing to keep. Whoever gives up by the context has its events accepted neither then nor later, since it may send them again under other
// IDs; once they are in a transaction, its end is waited for.
func (in *Intake) Accept(ctx context.Context, events []event.Event, traceParent string, keep Keep) ([]Result, error) {
	s, err := in.Submit(ctx, events, traceParent, keep)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		if in.withdraw(s) {
			return nil, fmt.Errorf("wait for the events to be durable: %w", context.Cause(ctx))
		}
		<-s.Done() // it is in a transaction
	}
	return s.Answer()
}

// Submit is Accept without the wait: nothing is accepted before the submission is done.
func (in *Intake) Submit(ctx context.Context, events []event.Event, traceParent string, keep Keep) (*Submission, error) {
	holds, why, err := in.backlog.admit(events)
	var s *Submission
	if err == nil {
		if s, why, err = in.enqueue(events, traceParent, keep, holds); err != nil {
			in.backlog.release(holds)
		}
	}
	if why != "" {
		in.observer.EventsRefused(ctx, why, len(events))
	}
	return s, err
}

func (in *Intake) enqueue(events []event.Event, traceParent string, keep Keep, holds []hold) (*Submission, Reason, error) {
	owner := ownerOf(events)
	if !in.queue.hasRoom(owner, len(events)) {
		return nil, ReasonWaiting, overrun()
	}
	prepared, err := in.prepare(events, traceParent)
	if err != nil {
		return nil, "", err
	}
	s := &Submission{owner: owner, events: prepared, count: len(events), keep: keep, holds: holds, done: make(chan struct{})}
	if !in.queue.add(s) {
		return nil, ReasonWaiting, overrun()
	}
	in.wake.Send()
	return s, "", nil
}

// withdraw is false when a transaction has claimed the submission. The queue keeps its place until the next step.
func (in *Intake) withdraw(s *Submission) bool {
	if !s.stage.CompareAndSwap(stageQueued, stageWithdrawn) {
		return false
	}
	in.backlog.release(s.holds)
	in.queue.done(s)
	s.events, s.keep, s.holds = nil, nil, nil
	return true
}

func overrun() error {
	return later(problem.Unavailable, time.Second, "More events wait to be accepted than this process can hold; try again in a second.")
}

// Done is closed once the answer is there.
func (s *Submission) Done() <-chan struct{} { return s.done }

// Answer says what became of a submission that is done.
func (s *Submission) Answer() ([]Result, error) { return s.results, s.err }

func (in *Intake) prepare(events []event.Event, traceParent string) ([]Accepted, error) {
	now := in.now()
	accepted := make([]Accepted, len(events))
	for i, e := range events {
		if e.ID == "" {
			e.ID = in.newID("evt_")
		}
		var err error
		if accepted[i], err = NewAccepted(e, traceParent, now); err != nil {
			return nil, err
		}
	}
	return accepted, nil
}
