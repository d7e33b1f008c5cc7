// Package catchup gives by pull what a receiver was to get by push: for one that was away for longer than retries go on,
// or that cannot be called at all.
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

// Reader reads events in the order in which they were accepted, which is the one that has no gaps: IDs are drawn by
// several processes with clocks of their own.
type Reader interface {
	// EventsAfter lists the tenant's events beyond a sequence, oldest first, as far as fan-out has come: their deliveries
	// are all there.
	EventsAfter(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error)
	// NewestOf is each event's newest delivery in the lane, by the event's ID; events without one are left out.
	NewestOf(ctx context.Context, lane dispatch.Lane, eventIDs []string) (map[string]delivery.Delivery, error)
	EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error)
}

// Subscriptions finds a subscription; it fails with problem.NotFound when the tenant has none of that ID.
type Subscriptions interface {
	Get(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
}

// Signer builds the headers of a request that is made at a time.
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
	// Kept is how long everything is kept for sure; a cursor that is older may have lost what came behind it. 0 is for ever.
	Kept time.Duration
}

// ErrTooOld says that what came behind the cursor may be deleted.
var ErrTooOld = errors.New("what came behind the cursor may be deleted by now")

// ErrRestored says that the log does not have the event that the cursor is behind: it was put back to an older backup,
// and what is accepted since may come before the cursor.
var ErrRestored = errors.New("the cursor is not of this log")

// Cursor says how far a receiver has read. The zero Cursor is before everything that is kept. What is set aside is no place for
// one if another is there: a retry takes it to the log's end.
type Cursor struct {
	Sequence int64     // of the last event that was looked at
	Accepted time.Time // when that one was: no other log has one there of the same microsecond
	// Anchor is the sequence of the event that Accepted is about instead, when the last ones that were looked at are set aside:
	// a retry takes these away from there. Without an Accepted there is none, since all from the beginning on are set aside.
	Anchor int64
	At     time.Time // what came behind it was accepted after this
}

// Query asks for the next events of a subscription.
type Query struct {
	Lane  dispatch.Lane
	KeyID string // whose waiting it is
	After Cursor
	Limit int
	Wait  time.Duration // for the first that comes, when there is none
}

// Item is one event as the receiver was to get it, signed anew.
type Item struct {
	delivery.Delivery
	Headers map[string]string
	Body    []byte
}

// Page is what comes behind a cursor, oldest first.
type Page struct {
	Items []Item
	Next  Cursor
	More  bool // there may be others right behind
}

// A page looks through a tenant's events in parts, for those that its subscription got. What goes on for long is cut off
// by the bound on parts, and goes on with the next page.
const (
	partExtra = 200 // events, beside as many as are wanted
	maxParts  = 20
)

// Read gives the next page. It may be empty; the next cursor is further on nevertheless.
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

// known looks whether the event that the cursor is behind is in the log, or may be deleted.
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

// comes waits until a delivery is made, and holds nothing meanwhile.
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
		page.Next = looked.anchoredBy(q.After) // all of so many are set aside
	}
	page.Items, err = s.signed(ctx, sub, found)
	return page, err
}

// behind is the cursor that has read e, too. An event that was set aside and retried comes later than it was accepted.
func (c Cursor) behind(e queries.Event) Cursor {
	if e.AcceptedAt.After(c.At) {
		c.At = e.AcceptedAt
	}
	return Cursor{Sequence: e.Sequence, Accepted: e.AcceptedAt, At: c.At}
}

// anchoredBy is the cursor, known by the event that the one before it was known by.
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

// signed gives the deliveries with their stored bodies and fresh signatures.
func (s *Service) signed(ctx context.Context, sub subscription.Subscription, found []delivery.Delivery) ([]Item, error) {
	if len(found) == 0 {
		return nil, nil
	}
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = d.EventID
	}
	bodies, err := s.Reader.EventBodies(ctx, sub.Tenant, ids)
	if err != nil {
		return nil, fmt.Errorf("read the bodies of %d events: %w", len(ids), err)
	}
	items := make([]Item, 0, len(found))
	for _, d := range found {
		n := slices.IndexFunc(bodies[d.EventID], func(b fanout.Body) bool { return b.Number == d.BodyNumber })
		if n < 0 {
			continue // retention took it between two reads
		}
		body, unreadable := bodies[d.EventID][n].Bytes, bodies[d.EventID][n].Unreadable
		if unreadable != nil { // without gaps: it is not left out
			return nil, fmt.Errorf("read the body of delivery %s: %w", d.ID, unreadable)
		}
		headers, err := s.Signer.Headers(ctx, dispatch.Leased{Delivery: d, Subscription: &sub, Body: body}, s.Now(), "")
		if err != nil {
			return nil, fmt.Errorf("sign delivery %s: %w", d.ID, err)
		}
		items = append(items, Item{d, headers, body})
	}
	return items, nil
}
