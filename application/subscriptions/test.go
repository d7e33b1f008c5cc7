package subscriptions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// TestStore is what a test reads and notes.
type TestStore interface {
	Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error)
	// NoteTest puts the test into the log before it is sent.
	NoteTest(ctx context.Context, e Exchange, by Actor) error
	// NoteTestEnd adds what came of it.
	NoteTestEnd(ctx context.Context, e Exchange) error
}

// Exchange is a test with what came of it, as the log keeps it.
type Exchange struct {
	DeliveryID          string     `json:"deliveryId"`
	Tenant              tenant.ID  `json:"-"`
	EventID             string     `json:"eventId"`
	EventType           event.Type `json:"eventType"`
	SubscriptionID      string     `json:"subscriptionId"`
	SubscriptionVersion int64      `json:"subscriptionVersion"`
	URL                 string     `json:"url"`
	Body                []byte     `json:"body"`
	Warnings            []string   `json:"warnings,omitempty"`
	At                  time.Time  `json:"at"`
	// Outcome is nil until the receiver has answered, and stays nil when the process died meanwhile. Its RequestHeaders are
	// what was sent.
	Outcome *delivery.Outcome `json:"-"`
}

// MaxTests is how many tests of a tenant a process may have out at once: each holds an API request until its receiver has
// answered, and no other bound applies to it.
const MaxTests = 16

// Tester sends samples.
type Tester struct {
	Service   *Service
	Store     TestStore
	Attempter *dispatch.Attempter

	out Underway
}

// Test sends a signed sample of the type to the subscription's URL, once, marked by the header X-Ordinavo-Test. It is not a
// delivery: nothing is retried, and nothing waits for it; only a caller who knows its ID is shown it as one.
func (t *Tester) Test(ctx context.Context, lane dispatch.Lane, kind event.Type, by Actor) (Exchange, error) {
	end, err := t.out.Begin(lane.Tenant, func(ofTenant, _ int) *problem.Error {
		if ofTenant < MaxTests {
			return nil
		}
		return problem.New(problem.RateLimited, "%d tests of the tenant wait for their receivers' answers already.", MaxTests)
	})
	if err != nil {
		return Exchange{}, err
	}
	defer end()
	leased, err := t.sample(ctx, lane, kind)
	if err != nil {
		return Exchange{}, fmt.Errorf("prepare a test: %w", err)
	}
	exchange := Exchange{
		DeliveryID: leased.Delivery.ID, Tenant: leased.Delivery.Tenant, EventID: leased.Delivery.EventID, EventType: leased.Delivery.EventType,
		SubscriptionID: leased.Subscription.ID, SubscriptionVersion: leased.Subscription.Version,
		URL: leased.Subscription.URL, Body: leased.Body, Warnings: leased.Delivery.Warnings, At: leased.Delivery.CreatedAt,
	}
	if err := t.Store.NoteTest(ctx, exchange, by); err != nil {
		return Exchange{}, fmt.Errorf("note a test: %w", err)
	}
	outcome := t.attempt(ctx, leased)
	exchange.Outcome = &outcome
	note, cancel := context.WithTimeout(share.Own(context.WithoutCancel(ctx)), noteTimeout)
	defer cancel()
	if err := t.Store.NoteTestEnd(note, exchange); err != nil {
		return Exchange{}, fmt.Errorf("note what came of a test: %w", err)
	}
	return exchange, nil
}

// noteTimeout is how long noting an outcome may take; the caller's own deadline may have passed by then.
const noteTimeout = 5 * time.Second

// attempt goes on beyond the caller's deadline, bounded by the subscription's own timeout: a receiver that hangs is just what a
// test is to show. When the caller leaves before the deadline it ends.
func (t *Tester) attempt(ctx context.Context, leased dispatch.Leased) delivery.Outcome {
	outlasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})()
	outcome, err := t.Attempter.Attempt(outlasting, leased)
	if err != nil && outcome.Kind == "" { // it is noted already, so it needs an end
		return dispatch.Unsigned(t.Service.Now())
	}
	return outcome
}

func (t *Tester) sample(ctx context.Context, lane dispatch.Lane, kind event.Type) (dispatch.Leased, error) {
	sub, err := t.Service.Get(ctx, lane)
	if err != nil {
		return dispatch.Leased{}, err
	}
	billing, err := t.Service.Gate.Enabled(ctx, lane.Tenant, tenant.BillingWebhooks)
	if err != nil {
		return dispatch.Leased{}, err
	}
	if kind.Family() == event.FamilyBilling && !billing {
		return dispatch.Leased{}, NoBilling()
	}
	now := t.Service.Now().Truncate(time.Second)
	e := event.Sample(kind, lane.Tenant)
	e.ID, e.OccurredAt = t.Service.NewID("evt_"), now
	contexts, err := t.Store.Resolve(ctx, []fanout.Lookup{{Tenant: lane.Tenant, SourceSystem: sub.SourceSystem, References: payload.References(e, sub.Options)}})
	if err != nil {
		return dispatch.Leased{}, fmt.Errorf("resolve references: %w", err)
	}
	body, warnings := payload.Render(e, payload.View{Options: sub.Options, Billing: billing}, contexts[0])
	return dispatch.Leased{
		Delivery: delivery.Delivery{
			ID: t.Service.NewID("dlv_"), Tenant: lane.Tenant, EventID: e.ID, EventType: kind, SubscriptionID: sub.ID,
			SubscriptionVersion: sub.Version, Warnings: warnings, DueAt: now, CreatedAt: now,
		},
		Subscription: &sub, Body: body, AcceptedAt: now, Test: true,
	}, nil
}
