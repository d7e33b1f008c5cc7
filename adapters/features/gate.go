// Package features answers whether a tenant has booked a feature, through OpenFeature: the store is the
// provider now, and a flag service can take its place without the application noticing.
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

// NewGate makes a gate of its own on the provider: it shares nothing with other gates of the process.
func NewGate(ctx context.Context, provider openfeature.FeatureProvider) (*Gate, error) {
	api := isolated.NewAPI()
	if err := api.SetProviderAndWait(ctx, provider); err != nil {
		return nil, errors.Join(fmt.Errorf("start the feature provider: %w", err), api.Shutdown(ctx))
	}
	return &Gate{api.NewClient()}, nil
}

// Enabled reports whether the tenant has the feature. The provider gets what ctx carries, so a transaction
// is the one that is read in. Not knowing is an error, with the lookup's own in its chain, and never "no".
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

// causeKey finds in a context where the provider leaves its error: the SDK hands on a text alone, and a
// cancelled context or a busy database must stay recognisable.
type causeKey struct{}

func leaveCause(ctx context.Context, err error) {
	if cause, ok := ctx.Value(causeKey{}).(*error); ok {
		*cause = err
	}
}
