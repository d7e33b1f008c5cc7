// Package catchup lets a receiver pull what it was to get by push: one that was away for longer than retries last, or cannot be
// called at all.
package catchup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Reader reads events in the order in which they were accepted, the only one without gaps: IDs are drawn by several processes,
// each with its own clock.
type Reader interface {
	// EventsAfter lists the tenant's events beyond a sequence, oldest first, as far as fan-out has come: all of their
	// deliveries exist.
	EventsAfter(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error)
	// NewestOf is each event's newest delivery in the lane, by the event's ID; events without one are left out.
	NewestOf(ctx context.Context, lane dispatch.Lane, eventIDs []string) (map[string]delivery.Delivery, error)
	EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error)
}

// Subscriptions finds a subscription; it fails with problem.NotFound when the tenant has none of that ID.
type Subscriptions interface {
	Get(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
}

// Signer builds the headers of a request made at the given time.
type Signer interface {
	Headers(ctx context.Context, l dispatch.Leased, now time.Time, traceParent string) (map[string]string, error)
}

// Service answers what a subscription's receiver was to get.
type Service struct {
	Reader        Reader
	Subscriptions Subscriptions
	Signer        Signer
	Hub           *live.Hub // wakes those who wait
	Now           func() time.Time
	// Kept is how long everything is certain to be kept; what follows an older cursor may be incomplete. 0 is for ever.
	Kept time.Duration
}

// ErrTooOld says that what follows the cursor may have been deleted.
var ErrTooOld = errors.New("what came behind the cursor may be deleted by now")

// ErrRestored says that the log lacks the event that the cursor stands behind: it was restored from an older backup, and events
// accepted since may come before the cursor.
var ErrRestored = errors.New("the cursor is not of this log")

// Cursor says how far a receiver has read. The zero Cursor is before everything that is kept. An event that is set aside is not
// a place to stand behind if there is another: a retry moves it to the end of the log.
type Cursor struct {
	Sequence int64     // of the last event that was looked at
	Accepted time.Time // when that event was: no other log has one of the same microsecond there
	// Anchor is the sequence of the event that Accepted is about when the last ones looked at are set aside, since a retry
	// moves these away. Without an Accepted there is none: everything from the beginning on is set aside.
	Anchor int64
	At     time.Time // what follows was accepted after this, or is older than anything is certain to be kept; see goesOn
}

// Query asks for the next events of a subscription.
type Query struct {
	Lane  dispatch.Lane
	KeyID string // whose waiting counts
	After Cursor
	Limit int
	Wait  time.Duration // for the first event to come, when there is none
}

// Item is one event as the receiver was to get it, freshly signed.
type Item struct {
	delivery.Delivery
	Headers map[string]string
	Body    []byte
}

// Page is what follows a cursor, oldest first.
type Page struct {
	Items []Item
	Next  Cursor
	More  bool // there may be others right behind
}

// A page looks through a tenant's events in parts for those that its subscription got. maxParts cuts off a long search, and the
// next page goes on with it.
const (
	partExtra = 200 // events, beyond as many as are wanted
	maxParts  = 20
)

// Read returns the next page. It may be empty, and its cursor is further on nevertheless.
func (s *Service) Read(ctx context.Context, q Query) (Page, error) {
	if s.Kept > 0 && !q.After.At.IsZero() && s.Now().Sub(q.After.At) > s.Kept {
		return Page{}, ErrTooOld
	}
	if err := s.known(ctx, q); err != nil {
		return Page{}, err
	}
	page, err := s.page(ctx, q)
	if err != nil || len(page.Items) > 0 || page.More || q.Wait <= 0 {
		return page, err
	}
	listener, err := s.Hub.Listen(ctx, q.Lane.Tenant, q.KeyID, live.Filter{SubscriptionID: q.Lane.SubscriptionID})
	if err != nil {
		return Page{}, err
	}
	defer listener.Leave()
	waiting, cancel := context.WithTimeout(ctx, q.Wait)
	defer cancel()
	for {
		q.After = page.Next
		if page, err = s.page(ctx, q); err != nil || len(page.Items) > 0 || page.More || !comes(waiting, listener) {
			return page, err
		}
	}
}

// known checks that the event that the cursor stands behind is in the log, or may have been deleted.
func (s *Service) known(ctx context.Context, q Query) error {
	anchored, at := !q.After.Accepted.IsZero(), cmp.Or(q.After.Anchor, q.After.Sequence)
	if at == 0 || anchored && s.Kept > 0 && s.Now().Sub(q.After.Accepted) > s.Kept {
		return nil
	}
	events, err := s.Reader.EventsAfter(ctx, q.Lane.Tenant, at-1, 1)
	if err != nil {
		return fmt.Errorf("look for the cursor's event: %w", err)
	}
	if len(events) == 0 || anchored && (events[0].Sequence != at || !events[0].AcceptedAt.Equal(q.After.Accepted)) {
		return ErrRestored
	}
	return nil
}

// comes waits until a delivery is made, holding nothing meanwhile.
func comes(ctx context.Context, listener *live.Listener) bool {
	for {
		select {
		case c := <-listener.Changes():
			if !c.IsBeat() && c.CreatedAt.Equal(c.UpdatedAt) {
				return true
			}
		case <-listener.Ended():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (s *Service) page(ctx context.Context, q Query) (Page, error) {
	sub, err := s.Subscriptions.Get(ctx, q.Lane)
	if err != nil {
		return Page{}, err
	}
	page := Page{Next: q.After, More: true}
	looked := q.After
	var found []delivery.Delivery
	for range maxParts {
		began := s.Now()
		events, err := s.Reader.EventsAfter(ctx, q.Lane.Tenant, looked.Sequence, q.Limit+partExtra)
		if err != nil {
			return Page{}, fmt.Errorf("read the next events: %w", err)
		}
		of, err := s.Reader.NewestOf(ctx, q.Lane, idsOf(events))
		if err != nil {
			return Page{}, fmt.Errorf("find the deliveries of %d events: %w", len(events), err)
		}
		n := 0
		for ; n < len(events) && len(found) < q.Limit; n++ {
			e := events[n]
			looked = looked.behind(e)
			if e.SetAside == nil {
				page.Next = looked
			}
			if d, got := of[e.ID]; got {
				found = append(found, d)
			}
		}
		if n == len(events) && len(events) < q.Limit+partExtra {
			page.More, page.Next.At = false, began
		}
		if !page.More || len(found) == q.Limit {
			break
		}
	}
	if page.More && page.Next == q.After {
		page.Next = looked.anchoredBy(q.After) // all that were looked at are set aside
	}
	items, damaged, err := s.signed(ctx, sub, found)
	if damaged != nil && len(items) > 0 { // what comes before it is not held up
		q.Limit = len(items)
		return s.page(ctx, q)
	}
	if err = cmp.Or(err, damaged); err != nil { // leaving it out would make a gap
		return Page{}, err
	}
	page.Items, page.Next.At = items, s.reached(page.Next)
	return page, nil
}

// goesOn is for how long a cursor holds that stands among events that are older than Kept and still there, such as parked ones: as old as they
// are, whoever begins would be sent back to the beginning by each second page.
const goesOn = time.Hour

// reached is the cursor's At, or when that has to be for the cursor to hold for goesOn. One behind an event that is certain to be kept holds
// no longer than that is: what follows it may be deleted right after, unread.
func (s *Service) reached(next Cursor) time.Time {
	certain := s.Now().Add(-s.Kept)
	if holds := certain.Add(min(goesOn, s.Kept)); s.Kept > 0 && next.Accepted.Before(certain) && next.At.Before(holds) {
		return holds
	}
	return next.At
}

// behind is the cursor after e. An event that was set aside and retried comes later in the log than it was accepted.
func (c Cursor) behind(e queries.Event) Cursor {
	if e.AcceptedAt.After(c.At) {
		c.At = e.AcceptedAt
	}
	return Cursor{Sequence: e.Sequence, Accepted: e.AcceptedAt, At: c.At}
}

// anchoredBy is the cursor, identified by the same event as the one before it.
func (c Cursor) anchoredBy(before Cursor) Cursor {
	c.Accepted, c.Anchor = before.Accepted, 0
	if !before.Accepted.IsZero() {
		c.Anchor = cmp.Or(before.Anchor, before.Sequence)
	}
	return c
}

func idsOf(events []queries.Event) []string {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// signed returns the deliveries with their stored bodies and fresh signatures, up to the first whose body is damaged.
func (s *Service) signed(ctx context.Context, sub subscription.Subscription, found []delivery.Delivery) (items []Item, damaged, err error) {
	if len(found) == 0 {
		return nil, nil, nil
	}
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = d.EventID
	}
	bodies, err := s.Reader.EventBodies(ctx, sub.Tenant, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("read the bodies of %d events: %w", len(ids), err)
	}
	for _, d := range found {
		n := slices.IndexFunc(bodies[d.EventID], func(b fanout.Body) bool { return b.Number == d.BodyNumber })
		if n < 0 {
			continue // retention deleted it between the two reads
		}
		body, unreadable := bodies[d.EventID][n].Bytes, bodies[d.EventID][n].Unreadable
		if unreadable != nil {
			return items, fmt.Errorf("read the body of delivery %s: %w", d.ID, unreadable), nil
		}
		headers, err := s.Signer.Headers(ctx, dispatch.Leased{Delivery: d, Subscription: &sub, Body: body}, s.Now(), "")
		if err != nil {
			return nil, nil, fmt.Errorf("sign delivery %s: %w", d.ID, err)
		}
		items = append(items, Item{d, headers, body})
	}
	return items, nil, nil
}
