package simulation

import (
	"bytes"
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// feature is what is known of a tenant's feature, from an event's acceptance until something was made of it.
type feature int

const (
	changing feature = iota // it was set in between, so either will do
	off
	on
)

// billingSince is the feature now, in the transaction of ctx, if nobody has set it since the event was accepted.
func (w *world) billingSince(ctx context.Context, key intake.EventKey) feature {
	accepted, known := w.journal.accepted[key]
	if set := w.journal.featureSet[key.Tenant]; !known || !set.Before(accepted) {
		return changing
	}
	return w.billing(ctx, key.Tenant)
}

func (w *world) billing(ctx context.Context, owner tenant.ID) feature {
	has, err := w.store.TenantHasFeature(ctx, owner, tenant.BillingWebhooks)
	must(err)
	if has {
		return on
	}
	return off
}

// gates holds what fan-out makes of events to the feature that their tenants had all the while, and notes what that allows the
// bodies to show.
func (w *world) gates(ctx context.Context, plan fanout.Plan, job bool) {
	for _, g := range plan.Gated {
		if w.billingSince(ctx, intake.EventKey{Tenant: g.Tenant, ID: g.EventID}) == on {
			w.violate("I1", "%s was kept from %s though %s has the feature", g.EventID, g.SubscriptionID, g.Tenant)
		}
	}
	for _, s := range plan.Scheduled {
		d := s.Delivery
		has := w.billingSince(ctx, intake.EventKey{Tenant: d.Tenant, ID: d.EventID})
		if job { // which renders with what is so now
			has = w.billing(ctx, d.Tenant)
		}
		if d.EventType.Family() == event.FamilyBilling && has == off {
			w.violate("I9", "%s is delivered to %s though %s does not have the feature", d.EventID, d.SubscriptionID, d.Tenant)
		}
		w.journal.billing[d.ID] = has
	}
}

// checkContent is I9 within a tenant: a body shows what its subscription has asked for and its tenant may see, with the external
// IDs of its own source system.
func (w *world) checkContent(s *send, r dispatch.Request, first delivery.Scheduled) {
	sub := w.subscriptionAt(s.lane, first.SubscriptionVersion)
	shows := func(text string) bool { return bytes.Contains(r.Body, []byte(text)) }
	if shows(`"summaryPreview":`) && !sub.Options.SummaryPreview {
		w.violate("I9", "%s shows a summary that %s has not asked for", s.delivery, sub.ID)
	}
	has, billing := w.journal.billing[s.delivery], first.EventType.Family() == event.FamilyBilling
	switch shown := shows(`"billingEvent":`); {
	case shown && (!sub.Options.BillingDetails || has == off):
		w.violate("I9", "%s shows billing details (asked for: %t) to %s", s.delivery, sub.Options.BillingDetails, sub.ID)
	case !shown && billing && sub.Options.BillingDetails && has == on:
		w.violate("I1", "%s shows no billing details, which %s has asked for", s.delivery, sub.ID)
	}
	for _, system := range sourceSystems {
		if own := system == sub.SourceSystem; own != shows(externalID(system, "")) && (!own || shows(marker(r.Tenant))) {
			w.violate("I9", "%s shows the external ID of %s: %t, and %s is of %s", s.delivery, system, !own, sub.ID, sub.SourceSystem)
		}
	}
}

// Of features.

func (s *session) TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	return read(ctx, s, "TenantHasFeature", func(ctx context.Context) (bool, error) { return s.Store.TenantHasFeature(ctx, id, feature) })
}

// SetFeature notes when; it may be rolled back.
func (s *session) SetFeature(ctx context.Context, id tenant.ID, feature tenant.Feature, enabled bool, now time.Time) error {
	return do(ctx, s, "SetFeature", func(ctx context.Context) error {
		s.p.world.journal.featureSet[id] = s.p.world.now
		return s.Store.SetFeature(ctx, id, feature, enabled, now)
	})
}
