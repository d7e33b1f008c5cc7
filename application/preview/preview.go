// Package preview shows what would be sent before it is, and finds what was wrong with what was. It stores and sends nothing.
package preview

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Store is what a preview reads.
type Store interface {
	// ListSubscriptions lists newest first, without deleted ones; after is empty for the first page.
	ListSubscriptions(ctx context.Context, owner tenant.ID, after string, limit int) ([]subscription.Subscription, error)
	// Resolve looks up directory records and external IDs, one answer for each lookup, in their order.
	Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error)
}

// Previewer renders and signs as fan-out and dispatch do, by the same functions.
type Previewer struct {
	Service   *subscriptions.Service
	Store     Store
	Attempter *dispatch.Attempter

	underway subscriptions.Underway
}

// Preview is what one subscription would get of an event.
type Preview struct {
	SubscriptionID      string
	SubscriptionVersion int64
	Matches             bool
	Outcome             string          // as of a disposition: queries.OutcomeDelivery and the others
	Status              delivery.Status // of a delivery: pending or parked; else empty
	Reason              string
	Request             *Request // nil when nothing would be sent
	Origins             []Origin
	Warnings            []string
}

// Request is what would be sent.
type Request struct {
	URL     string
	Headers map[string]string
	Body    []byte
}

// Event shows what each of the subscriptions would get of the event, in their order, and keeps none of it. The event is valid
// and has its ID.
func (p *Previewer) Event(ctx context.Context, e event.Event, subs []subscription.Subscription, traceParent string, show func(Preview) error) error {
	drafts, err := p.drafts(ctx, e, subs)
	if err != nil {
		return err
	}
	var sending []*draft
	for _, d := range drafts {
		if d.sends() {
			sending = append(sending, d)
		}
	}
	if err := p.resolve(ctx, sending); err != nil {
		return err
	}
	for i, d := range drafts {
		if d.sends() {
			err = p.render(ctx, d, traceParent)
		}
		if err == nil {
			err = show(d.shown)
		}
		if err != nil {
			return fmt.Errorf("show what %s would get: %w", d.sub.ID, err)
		}
		drafts[i] = nil
	}
	return nil
}

// All is the tenant's subscriptions.
func (p *Previewer) All(ctx context.Context, owner tenant.ID) ([]subscription.Subscription, error) {
	return p.Store.ListSubscriptions(ctx, owner, "", subscriptions.MaxPerTenant)
}

// Subscription shows what the subscription gets of the event whether its filter wants it or not, with options changed by edit
// if that changes them. It is refused when the tenant lacks the feature that the event needs.
func (p *Previewer) Subscription(ctx context.Context, lane dispatch.Lane, e event.Event, edit func(*payload.Options), traceParent string) (Preview, error) {
	sub, err := p.Service.Get(ctx, lane)
	if err != nil {
		return Preview{}, err
	}
	edit(&sub.Options)
	drafts, err := p.drafts(ctx, e, []subscription.Subscription{sub})
	if err != nil {
		return Preview{}, err
	}
	d := drafts[0]
	if d.gated() {
		return Preview{}, subscriptions.NoBilling()
	}
	if err := p.resolve(ctx, drafts); err != nil {
		return Preview{}, err
	}
	if err := p.render(ctx, d, traceParent); err != nil {
		return Preview{}, fmt.Errorf("sign a preview for %s: %w", d.sub.ID, err)
	}
	return d.shown, nil
}

// Sample is a valid event of the type for a preview that names none.
func (p *Previewer) Sample(kind event.Type, owner tenant.ID) event.Event {
	e := event.Sample(kind, owner)
	e.ID, e.OccurredAt = p.Service.NewID("evt_"), p.Service.Now().Truncate(time.Second)
	return e
}

// Stored is the event as it would be read back after being accepted.
func (p *Previewer) Stored(e event.Event) (event.Event, error) {
	if e.ID == "" {
		e.ID = p.Service.NewID("evt_")
	}
	encoded, err := event.Encode(e)
	if err != nil {
		return e, err
	}
	return event.Decode(encoded)
}

// draft is a preview in the making.
type draft struct {
	event   event.Event
	sub     subscription.Subscription
	view    payload.View
	context payload.Context
	shown   Preview
}

// drafts decides what becomes of the event for each subscription.
func (p *Previewer) drafts(ctx context.Context, e event.Event, subs []subscription.Subscription) ([]*draft, error) {
	billing, err := p.Service.Gate.Enabled(ctx, e.TenantID, tenant.BillingWebhooks)
	if err != nil {
		return nil, err
	}
	drafts := make([]*draft, len(subs))
	for i, s := range subs {
		drafts[i] = &draft{event: e, sub: s, view: payload.View{Options: s.Options, Billing: billing}}
		drafts[i].decide()
	}
	return drafts, nil
}

// gated decides as fan-out does, for events that match.
func (d *draft) gated() bool { return d.event.Type.Family() == event.FamilyBilling && !d.view.Billing }

// decide finds the outcome, and the reason in words.
func (d *draft) decide() {
	pattern, matches := d.sub.EventTypes.Matching(d.event.Type)
	wants := queries.WhyMatched(pattern, d.event.Type)
	d.shown = Preview{
		SubscriptionID: d.sub.ID, SubscriptionVersion: d.sub.Version, Matches: matches, Origins: []Origin{}, Warnings: []string{},
		Outcome: queries.OutcomeDelivery, Status: delivery.StatusPending, Reason: wants,
	}
	switch {
	case !matches:
		d.shown.Outcome, d.shown.Status = queries.OutcomeNotMatched, ""
		d.shown.Reason = queries.WhyNotMatched(d.sub.EventTypes, d.event.Type)
	case d.gated():
		d.shown.Outcome, d.shown.Status = queries.OutcomeFeatureGated, ""
		d.shown.Reason = fmt.Sprintf("%s, but the tenant does not have the feature %s", wants, tenant.BillingWebhooks)
	case d.sub.Status != subscription.StatusActive:
		d.shown.Status = delivery.StatusParked
		d.shown.Reason = fmt.Sprintf("%s, but the subscription is %s%s: the delivery would wait until it is resumed", wants, d.sub.Status, queries.InBrackets(d.sub.Reason))
	}
}

func (d *draft) sends() bool { return d.shown.Outcome == queries.OutcomeDelivery }

// resolve looks up what all drafts need, in one go.
func (p *Previewer) resolve(ctx context.Context, drafts []*draft) error {
	lookups := make([]fanout.Lookup, len(drafts))
	for i, d := range drafts {
		lookups[i] = fanout.Lookup{Tenant: d.event.TenantID, SourceSystem: d.sub.SourceSystem, References: payload.References(d.event, d.sub.Options)}
	}
	contexts, err := p.Store.Resolve(ctx, lookups)
	if err != nil {
		return fmt.Errorf("resolve references: %w", err)
	}
	for i, d := range drafts {
		d.context = contexts[i]
	}
	return nil
}

// render makes and signs what the draft's subscription would get.
func (p *Previewer) render(ctx context.Context, d *draft, traceParent string) error {
	now := p.Service.Now()
	body, warnings := payload.Render(d.event, d.view, d.context)
	leased := dispatch.Leased{
		Delivery: delivery.Delivery{
			ID: p.Service.NewID("dlv_"), Tenant: d.event.TenantID, EventID: d.event.ID, EventType: d.event.Type, SubscriptionID: d.sub.ID,
			SubscriptionVersion: d.sub.Version, CreatedAt: now,
		},
		Subscription: &d.sub, Body: body, AcceptedAt: now,
	}
	headers, err := p.Attempter.Headers(ctx, leased, now, traceParent)
	if err != nil {
		return err
	}
	d.shown.Request = &Request{URL: d.sub.URL, Headers: headers, Body: body}
	d.shown.Origins = d.origins()
	d.shown.Warnings = append(d.shown.Warnings, warnings...)
	if d.sub.Options.BillingDetails && !d.view.Billing {
		d.shown.Warnings = append(d.shown.Warnings, fmt.Sprintf("billingDetails has no effect: the tenant does not have the feature %s", tenant.BillingWebhooks))
	}
	return nil
}
