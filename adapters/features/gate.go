// Package features answers through OpenFeature whether a tenant has booked a feature. The store is the
// provider for now; a flag service can replace it without the application noticing.
package features

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/isolated"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Gate asks OpenFeature. It is safe for concurrent use.
type Gate struct{ client *openfeature.Client }

// NewGate makes a gate on the provider. It shares nothing with other gates of the process.
func NewGate(ctx context.Context, provider openfeature.FeatureProvider) (*Gate, error) {
	api := isolated.NewAPI()
	if err := api.SetProviderAndWait(ctx, provider); err != nil {
		return nil, errors.Join(fmt.Errorf("start the feature provider: %w", err), api.Shutdown(ctx))
	}
	return &Gate{api.NewClient()}, nil
}

// Enabled reports whether the tenant has the feature. The provider gets ctx, so it reads in the transaction that ctx
// carries. A failed lookup is an error that wraps the lookup's own, never "no".
func (g *Gate) Enabled(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	var cause error
	has, err := g.client.BooleanValue(context.WithValue(ctx, causeKey{}, &cause), string(feature), false, openfeature.NewEvaluationContext(string(id), nil))
	if cause != nil {
		err = cause
	}
	if err != nil {
		return false, fmt.Errorf("evaluate feature %s: %w", feature, err)
	}
	return has, nil
}

// causeKey is the context key under which the provider leaves its error. The SDK passes on only a text, but a
// cancelled context or a busy database must stay recognisable.
type causeKey struct{}

func leaveCause(ctx context.Context, err error) {
	if cause, ok := ctx.Value(causeKey{}).(*error); ok {
		*cause = err
	}
}
