// Package queries answers what became of events and deliveries.
package queries

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// DeliveryFilter picks deliveries of one tenant; a zero field picks all.
type DeliveryFilter struct {
	Tenant         tenant.ID
	Status         delivery.Status
	SubscriptionID string
	EventID        string
	EventType      event.Type
	Since, Until   time.Time // of the delivery's creation; until is exclusive
	Before         string    // the ID that the last page ended with
	Limit          int
}

// DeliveryDetail is a delivery with all that was sent and answered.
type DeliveryDetail struct {
	delivery.Delivery
	// URL and Headers are those of the last attempt that sent anything; before it, where the next one will go, and no headers.
	URL      string
	Headers  map[string]string
	Body     []byte
	Attempts []delivery.Attempt
	// Test says that it is a sample sent on request, not a delivery of an event.
	Test bool
}

// DeliveryReader reads deliveries. A delivery that a dispatcher holds has the status delivering.
type DeliveryReader interface {
	// Deliveries lists newest first.
	Deliveries(ctx context.Context, filter DeliveryFilter) ([]delivery.Delivery, error)
	// Delivery answers problem.NotFound when the tenant has no such delivery.
	Delivery(ctx context.Context, owner tenant.ID, id string) (delivery.Delivery, error)
	// DeliveryChanges is its stream, or dispatch.ErrUnreadable.
	DeliveryChanges(ctx context.Context, owner tenant.ID, id string) ([]delivery.Change, error)
	// LastAttempts are the changes by which the deliveries' last attempts ended, by delivery, each up to the version given. Those without an
	// attempt, and those of which it cannot be read, are not in it.
	LastAttempts(ctx context.Context, owner tenant.ID, upTo map[string]int64) (map[string]delivery.Change, error)
	// Body is the bytes that every attempt of the delivery sends, or dispatch.ErrUnreadable.
	Body(ctx context.Context, d delivery.Delivery) ([]byte, error)
	// CurrentSubscription is as in subscriptions.Store.
	CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	subscriptions.HistoryStore
}

// TestReader finds the tests that admins have sent.
type TestReader interface {
	// FindTest answers problem.NotFound when the tenant has no such test.
	FindTest(ctx context.Context, owner tenant.ID, deliveryID string) (subscriptions.Exchange, error)
}

// Deliveries answers questions about deliveries.
type Deliveries struct {
	Reader DeliveryReader
	Tests  TestReader
	Counts CountReader
}

// ListedDelivery is a delivery with its last attempt; nil when none has ended, or, with a warning, when it is damaged.
type ListedDelivery struct {
	delivery.Delivery
	Last *delivery.Attempt
}

// List is newest first.
func (q *Deliveries) List(ctx context.Context, filter DeliveryFilter) ([]ListedDelivery, error) {
	found, err := q.Reader.Deliveries(ctx, filter)
	if err != nil {
		return nil, err
	}
	list, attempted := make([]ListedDelivery, len(found)), map[string]int64{}
	for i, d := range found {
		if list[i].Delivery = d; d.Attempts > 0 {
			attempted[d.ID] = d.Version
		}
	}
	if len(attempted) == 0 {
		return list, nil
	}
	ends, err := q.Reader.LastAttempts(ctx, filter.Tenant, attempted)
	if err != nil {
		return nil, fmt.Errorf("read the last attempts of %d deliveries: %w", len(attempted), err)
	}
	for i := range list {
		if last, is := delivery.AttemptOf(ends[list[i].ID]); is {
			list[i].Last = &last
		} else if list[i].Attempts > 0 {
			list[i].Warnings = append(slices.Clone(list[i].Warnings), "How the last attempt ended cannot be read, or is not kept any more.")
		}
	}
	return list, nil
}

// Detail is one delivery with its attempts, straight from its stream; or a test, which is shown as one.
func (q *Deliveries) Detail(ctx context.Context, owner tenant.ID, id string) (DeliveryDetail, error) {
	d, err := q.Reader.Delivery(ctx, owner, id)
	if problem.Is(err, problem.NotFound) {
		return q.test(ctx, owner, id)
	}
	if err != nil {
		return DeliveryDetail{}, err
	}
	detail := DeliveryDetail{Delivery: d}
	changes, err := q.Reader.DeliveryChanges(ctx, owner, id)
	if err = detail.warn(err); err != nil {
		return DeliveryDetail{}, fmt.Errorf("read the stream of %s: %w", id, err)
	}
	detail.Attempts = attemptsOf(changes)
	detail.Body, err = q.Reader.Body(ctx, d)
	if err = detail.warn(err); err != nil {
		return DeliveryDetail{}, fmt.Errorf("read the body of %s: %w", id, err)
	}
	if err = detail.warn(q.addRequest(ctx, &detail)); err != nil {
		return DeliveryDetail{}, fmt.Errorf("read where %s was sent: %w", id, err)
	}
	return detail, nil
}

// warn makes a warning of damage: it costs only what is damaged. Other errors stay.
func (detail *DeliveryDetail) warn(err error) error {
	if !errors.Is(err, dispatch.ErrUnreadable) {
		return err
	}
	detail.Warnings = append(slices.Clone(detail.Warnings), err.Error())
	return nil
}

// addRequest tells where the last attempt that sent anything went. Attempts do not keep their URL: it is taken for the subscription's of the
// time at which the attempt began.
func (q *Deliveries) addRequest(ctx context.Context, detail *DeliveryDetail) error {
	var sent time.Time
	for _, last := range slices.Backward(detail.Attempts) {
		if len(last.RequestHeaders) > 0 {
			detail.Headers, sent = last.RequestHeaders, last.StartedAt
			break
		}
	}
	lane := dispatch.LaneOf(detail.Delivery)
	sub, err := q.Reader.CurrentSubscription(ctx, lane)
	if detail.URL = sub.URL; err != nil || sent.IsZero() || !sub.UpdatedAt.After(sent) {
		return err
	}
	then, err := (&subscriptions.History{Store: q.Reader}).At(ctx, lane, sent)
	if problem.Is(err, problem.NotFound) { // the attempt began as it was deleted
		return nil
	}
	detail.URL = then.URL
	return err
}

// test shows a test as a delivery that is attempted once.
func (q *Deliveries) test(ctx context.Context, owner tenant.ID, id string) (DeliveryDetail, error) {
	e, err := q.Tests.FindTest(ctx, owner, id)
	if problem.Is(err, problem.NotFound) {
		err = problem.New(problem.NotFound, "There is no such delivery.")
	}
	if err != nil {
		return DeliveryDetail{}, err
	}
	d := delivery.Delivery{
		ID: e.DeliveryID, Tenant: owner, EventID: e.EventID, EventType: e.EventType, SubscriptionID: e.SubscriptionID, SubscriptionVersion: e.SubscriptionVersion,
		Warnings: e.Warnings, Status: delivery.StatusDelivering, Version: 1, CreatedAt: e.At, UpdatedAt: e.At,
	}
	detail := DeliveryDetail{Delivery: d, URL: e.URL, Body: e.Body, Attempts: []delivery.Attempt{}, Test: true}
	if e.Outcome == nil {
		return detail, nil
	}
	detail.Attempts, detail.Headers = append(detail.Attempts, delivery.Attempt{Number: 1, Outcome: *e.Outcome}), e.Outcome.RequestHeaders
	detail.Delivery.Attempts, detail.UpdatedAt = 1, e.Outcome.EndedAt()
	detail.Status = delivery.StatusDeadLetter
	if e.Outcome.Succeeded() {
		detail.Status = delivery.StatusSucceeded
	}
	return detail, nil
}

func attemptsOf(changes []delivery.Change) []delivery.Attempt {
	attempts := []delivery.Attempt{}
	for _, c := range changes {
		if attempt, is := delivery.AttemptOf(c); is {
			attempts = append(attempts, attempt)
		}
	}
	return attempts
}

// DeliveryStore moves deliveries on request.
type DeliveryStore interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	Delivery(ctx context.Context, owner tenant.ID, id string) (delivery.Delivery, error)
	Save(ctx context.Context, saved []dispatch.Saved) (stale []int, err error)
	// LaneStates says which lanes are sent to, and leaves out what was never there. In a transaction it stays so until its end.
	LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error)
}

// Gate asks whether a tenant has booked a feature.
type Gate interface {
	Enabled(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error)
}

// Retries requests attempts by hand.
type Retries struct {
	Store DeliveryStore
	Gate  Gate
	Now   func() time.Time
}

// Retry makes one delivery due now: its stored bytes are sent again under the same IDs.
func (r *Retries) Retry(ctx context.Context, owner tenant.ID, id string) (after delivery.Delivery, err error) {
	err = r.Store.InTx(ctx, func(ctx context.Context) error {
		d, err := r.Store.Delivery(ctx, owner, id)
		if err != nil {
			return err
		}
		lane := dispatch.LaneOf(d)
		states, err := r.Store.LaneStates(ctx, []dispatch.Lane{lane})
		if err != nil {
			return err
		}
		state, found := states[lane]
		if !found {
			return subscription.ErrNotFound
		}
		if state.Status != subscription.StatusActive {
			return problem.New(problem.Conflict, "The subscription of delivery %s is %s; only an active one is sent to.", id, state.Status)
		}
		if err := r.mayBeSent(ctx, d); err != nil {
			return err
		}
		changes, err := d.RequestRetry(r.Now())
		if err != nil {
			return err
		}
		retried, err := dispatch.Move(d, changes)
		if err != nil {
			return err
		}
		after = retried.After
		stale, err := r.Store.Save(ctx, []dispatch.Saved{retried})
		if err == nil && len(stale) > 0 {
			err = problem.New(problem.Conflict, "Delivery %s is being attempted right now.", id)
		}
		return err
	})
	return after, err
}

// mayBeSent refuses deliveries of billing events once the tenant's feature is gone.
func (r *Retries) mayBeSent(ctx context.Context, d delivery.Delivery) error {
	if d.EventType.Family() != event.FamilyBilling {
		return nil
	}
	has, err := r.Gate.Enabled(ctx, d.Tenant, tenant.BillingWebhooks)
	if err != nil {
		return err
	}
	if !has {
		return subscriptions.NoBilling()
	}
	return nil
}
