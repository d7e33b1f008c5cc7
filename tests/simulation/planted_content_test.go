package simulation_test

import (
	"context"
	"slices"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation"
)

// bugsOfContent are about who gets what to see.
func bugsOfContent() []simulation.Bug {
	gate := func(open bool) func(s *store) {
		return func(s *store) {
			s.hasFeature = func(context.Context, tenant.ID, tenant.Feature) (bool, error) { return open, nil }
		}
	}
	return []simulation.Bug{
		bug("the gate is always shut", gate(false)),
		bug("the gate is always open", gate(true)),
		bug("external IDs are always of one source", func(s *store) {
			ofOne := func(lookups []fanout.Lookup) []fanout.Lookup {
				lookups = slices.Clone(lookups)
				for i := range lookups {
					lookups[i].SourceSystem = "sap"
				}
				return lookups
			}
			s.resolve = func(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
				return s.Store.Resolve(ctx, ofOne(lookups))
			}
			s.resolveFor = func(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
				return s.Store.ResolveFor(ctx, ofOne(lookups), lanes)
			}
		}),
		bug("everybody gets the summary", created(func(of *payload.Options) { of.SummaryPreview = true })),
		bug("everybody gets the billing details", created(func(of *payload.Options) { of.BillingDetails = true })),
	}
}

// created changes the options that fan-out knows of new subscriptions.
func created(change func(of *payload.Options)) func(s *store) {
	return func(s *store) {
		s.governing = func(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) ([]fanout.SubscriptionChange, map[tenant.ID]bool, error) {
			list, deferring, err := s.Store.Governing(ctx, after, upTo, limit, owners)
			for i := range list {
				if c, is := list[i].Change.(subscription.Created); is {
					change(&c.Settings.Options)
					list[i].Change = c
				}
			}
			return list, deferring, err
		}
	}
}
