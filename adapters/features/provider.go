package features

import (
	"context"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Lookup knows what each tenant has booked.
type Lookup interface {
	TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error)
}

// Provider answers OpenFeature from a Lookup: a flag is a feature's name, the targeting key a tenant's ID.
type Provider struct {
	lookup Lookup
}

// NewProvider makes a provider; one Gate may use it.
func NewProvider(lookup Lookup) *Provider { return &Provider{lookup: lookup} }

// Metadata names the provider.
func (p *Provider) Metadata() openfeature.Metadata {
	return openfeature.Metadata{Name: "ordinavo-tenant-features"}
}

// Hooks has none.
func (p *Provider) Hooks() []openfeature.Hook { return nil }

// BooleanEvaluation looks the feature up. A feature that the platform does not have is an error, so that a
// misspelt one is not taken for off.
func (p *Provider) BooleanEvaluation(ctx context.Context, flag string, fallback bool, evaluation openfeature.FlattenedContext) openfeature.BoolResolutionDetail {
	id, _ := evaluation[openfeature.TargetingKey].(string)
	if id == "" {
		return openfeature.BoolResolutionDetail{Value: fallback, ProviderResolutionDetail: refuse(
			openfeature.NewTargetingKeyMissingResolutionError("the targeting key is the tenant's ID"))}
	}
	if !tenant.KnownFeature(tenant.Feature(flag)) {
		return openfeature.BoolResolutionDetail{Value: fallback, ProviderResolutionDetail: refuse(
			openfeature.NewFlagNotFoundResolutionError("the platform has no such feature"))}
	}
	has, err := p.lookup.TenantHasFeature(ctx, tenant.ID(id), tenant.Feature(flag))
	if err != nil {
		leaveCause(ctx, err)
		return openfeature.BoolResolutionDetail{Value: fallback, ProviderResolutionDetail: refuse(
			openfeature.NewGeneralResolutionError("look the feature up", err))}
	}
	return openfeature.BoolResolutionDetail{Value: has, ProviderResolutionDetail: openfeature.ProviderResolutionDetail{
		Reason: openfeature.TargetingMatchReason,
	}}
}

func refuse(why openfeature.ResolutionError) openfeature.ProviderResolutionDetail {
	return openfeature.ProviderResolutionDetail{ResolutionError: why, Reason: openfeature.ErrorReason}
}

func notBoolean() openfeature.ProviderResolutionDetail {
	return refuse(openfeature.NewTypeMismatchResolutionError("features are on or off"))
}

// StringEvaluation refuses: features are on or off.
func (p *Provider) StringEvaluation(_ context.Context, _, fallback string, _ openfeature.FlattenedContext) openfeature.StringResolutionDetail {
	return openfeature.StringResolutionDetail{Value: fallback, ProviderResolutionDetail: notBoolean()}
}

// FloatEvaluation refuses: features are on or off.
func (p *Provider) FloatEvaluation(_ context.Context, _ string, fallback float64, _ openfeature.FlattenedContext) openfeature.FloatResolutionDetail {
	return openfeature.FloatResolutionDetail{Value: fallback, ProviderResolutionDetail: notBoolean()}
}

// IntEvaluation refuses: features are on or off.
func (p *Provider) IntEvaluation(_ context.Context, _ string, fallback int64, _ openfeature.FlattenedContext) openfeature.IntResolutionDetail {
	return openfeature.IntResolutionDetail{Value: fallback, ProviderResolutionDetail: notBoolean()}
}

// ObjectEvaluation refuses: features are on or off.
func (p *Provider) ObjectEvaluation(_ context.Context, _ string, fallback any, _ openfeature.FlattenedContext) openfeature.InterfaceResolutionDetail {
	return openfeature.InterfaceResolutionDetail{Value: fallback, ProviderResolutionDetail: notBoolean()}
}
