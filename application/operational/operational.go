// Package operational accepts the events by which the service tells a tenant's admins about their own subscriptions. They are
// accepted in the transaction that decides what they tell of, under an ID derived from it, and from then on are events like all
// others.
package operational

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Store keeps accepted events; every call joins the transaction that the context carries.
type Store interface {
	Known(ctx context.Context, keys []intake.EventKey) (intake.Known, error)
	AppendEvents(ctx context.Context, events []intake.Accepted) error
}

// Accept stores the events that are not stored yet.
func Accept(ctx context.Context, store Store, events []intake.Accepted) error {
	if len(events) == 0 {
		return nil
	}
	keys := make([]intake.EventKey, len(events))
	for i, e := range events {
		keys[i] = e.Key()
	}
	known, err := store.Known(ctx, keys)
	if err != nil {
		return fmt.Errorf("look for operational events that were told already: %w", err)
	}
	fresh := slices.DeleteFunc(slices.Clone(events), func(e intake.Accepted) bool { _, told := known.Fingerprints[e.Key()]; return told })
	if len(fresh) == 0 {
		return nil
	}
	if err := store.AppendEvents(ctx, fresh); err != nil {
		return fmt.Errorf("accept %d operational events: %w", len(fresh), err)
	}
	return nil
}

// Disabled tells that the service took the subscription out of service with its last change.
func Disabled(s subscription.Subscription) (intake.Accepted, error) {
	e := about(event.SubscriptionDisabled, s, s.UpdatedAt, strconv.FormatInt(s.Version, 10))
	e.Subscription.Reason = &s.Reason
	return intake.NewAccepted(e, "", s.UpdatedAt)
}

// Failing tells that so many attempts in a row have failed.
func Failing(s subscription.Subscription, failures int, since, now time.Time) (intake.Accepted, error) {
	e := about(event.SubscriptionFailing, s, now, strconv.FormatInt(since.UnixMicro(), 10))
	e.Subscription.FailuresInARow, e.Subscription.FailingSince = new(int64(failures)), &since
	return intake.NewAccepted(e, "", now)
}

// DeadLettered tells that the delivery, given as it is now, was given up after an attempt whose outcome was last.
func DeadLettered(s subscription.Subscription, d delivery.Delivery, reason string, last delivery.Outcome, traceParent string) (intake.Accepted, error) {
	e := about(event.DeliveryDeadLettered, s, d.UpdatedAt, d.ID, strconv.FormatInt(d.Version, 10))
	e.Delivery = &event.Delivery{
		ID: d.ID, EventID: d.EventID, EventType: d.EventType, Status: string(d.Status), Reason: reason, AttemptCount: int64(d.Attempts),
		CreatedAt: d.CreatedAt, LastOutcome: string(last.Kind.Public()),
	}
	if last.Status > 0 {
		e.Delivery.LastResponseStatus = new(int64(last.Status))
	}
	return intake.NewAccepted(e, traceParent, d.UpdatedAt)
}

// RotationEnding tells that the overlap of the subscription's rotation is about to end.
func RotationEnding(s subscription.Subscription, now time.Time) (intake.Accepted, error) {
	e := about(event.SecretRotationEnding, s, now, s.Secrets.Current)
	e.SecretRotation = &event.SecretRotation{OverlapEnd: s.Secrets.OverlapEnd}
	return intake.NewAccepted(e, "", now)
}

// about begins an event whose ID follows from its type, the subscription, the time and what sets it apart.
func about(t event.Type, s subscription.Subscription, at time.Time, apart ...string) event.Event {
	return event.Event{
		ID:   event.DerivedID(at, append([]string{string(t), string(s.Tenant), s.ID}, apart...)...),
		Type: t, OccurredAt: at, TenantID: s.Tenant, Subscription: &event.Subscription{ID: s.ID, Name: s.Name},
	}
}
