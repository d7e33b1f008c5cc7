package features_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/ordinavo/webhooks/adapters/features"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var (
	_ fanout.Gate        = (*features.Gate)(nil)
	_ subscriptions.Gate = (*features.Gate)(nil)
)

// lookup is what a store knows: booked features by tenant; err, when set, is all it answers.
type lookup struct {
	booked map[tenant.ID]bool
	err    error
	asked  func(ctx context.Context, id tenant.ID, feature tenant.Feature)
}

func (l lookup) TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	if l.asked != nil {
		l.asked(ctx, id, feature)
	}
	return l.booked[id], l.err
}

func newGate(t *testing.T, l lookup) *features.Gate {
	t.Helper()
	gate, err := features.NewGate(t.Context(), features.NewProvider(l))
	if err != nil {
		t.Fatal(err)
	}
	return gate
}

func TestEnabledIsWhatTheLookupSaysOfTheTenant(t *testing.T) {
	gate := newGate(t, lookup{booked: map[tenant.ID]bool{"with": true, "without": false}, asked: func(_ context.Context, _ tenant.ID, feature tenant.Feature) {
		if feature != tenant.BillingWebhooks {
			t.Errorf("asked for %s", feature)
		}
	}})
	for id, want := range map[tenant.ID]bool{"with": true, "without": false, "unknown": false} {
		if got, err := gate.Enabled(t.Context(), id, tenant.BillingWebhooks); err != nil || got != want {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
}

func TestNotKnowingIsNotNo(t *testing.T) {
	away := errors.New("the database is away")
	for _, booked := range []bool{true, false} {
		got, err := newGate(t, lookup{booked: map[tenant.ID]bool{"a": booked}, err: away}).Enabled(t.Context(), "a", tenant.BillingWebhooks)
		if !errors.Is(err, away) || got {
			t.Errorf("got %v, %v", got, err)
		}
		if err != nil && !strings.Contains(err.Error(), away.Error()) {
			t.Errorf("%q does not say why", err)
		}
	}
	_, err := newGate(t, lookup{err: context.Canceled}).Enabled(t.Context(), "a", tenant.BillingWebhooks)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeAskedIsRefused(t *testing.T) {
	gate := newGate(t, lookup{booked: map[tenant.ID]bool{"a": true}, asked: func(_ context.Context, id tenant.ID, feature tenant.Feature) {
		t.Errorf("asked for %s of %q", feature, id)
	}})
	if got, err := gate.Enabled(t.Context(), "a", "billing_webhook"); err == nil {
		t.Errorf("a misspelt feature is %v", got)
	}
	if got, err := gate.Enabled(t.Context(), "", tenant.BillingWebhooks); err == nil {
		t.Errorf("nobody has the feature: %v", got)
	}
}

func TestTheLookupGetsTheCallersContext(t *testing.T) {
	type txKey struct{}
	var seen any
	gate := newGate(t, lookup{asked: func(ctx context.Context, _ tenant.ID, _ tenant.Feature) { seen = ctx.Value(txKey{}) }})
	if _, err := gate.Enabled(context.WithValue(t.Context(), txKey{}, "transaction"), "a", tenant.BillingWebhooks); err != nil || seen != "transaction" {
		t.Errorf("the lookup saw %v, %v", seen, err)
	}
}

func TestATransactionContextOfOpenFeatureDoesNotChangeTheTenant(t *testing.T) {
	gate := newGate(t, lookup{booked: map[tenant.ID]bool{"rich": true}})
	ctx := openfeature.WithTransactionContext(t.Context(), openfeature.NewEvaluationContext("rich", map[string]any{openfeature.TargetingKey: "rich"}))
	if got, err := gate.Enabled(ctx, "poor", tenant.BillingWebhooks); err != nil || got {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestGatesDoNotDisturbEachOther(t *testing.T) {
	first := newGate(t, lookup{booked: map[tenant.ID]bool{"a": true}})
	second := newGate(t, lookup{booked: map[tenant.ID]bool{"b": true}})
	newGate(t, lookup{err: errors.New("broken")})
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 100 {
				a, errA := first.Enabled(t.Context(), "a", tenant.BillingWebhooks)
				b, errB := second.Enabled(t.Context(), "b", tenant.BillingWebhooks)
				mixed, errMixed := second.Enabled(t.Context(), "a", tenant.BillingWebhooks)
				if err := errors.Join(errA, errB, errMixed); err != nil || !a || !b || mixed {
					t.Errorf("a %v, b %v, mixed %v, %v", a, b, mixed, err)
					return
				}
			}
		})
	}
	asking.Wait()
	if name := openfeature.ProviderMetadata().Name; name == features.NewProvider(nil).Metadata().Name {
		t.Error("the process-wide provider was replaced")
	}
}

func TestFeaturesAreOnOrOff(t *testing.T) {
	provider, ctx := features.NewProvider(lookup{}), t.Context()
	for kind, err := range map[string]error{
		"text":   provider.StringEvaluation(ctx, "billing_webhooks", "x", nil).Error(),
		"float":  provider.FloatEvaluation(ctx, "billing_webhooks", 1, nil).Error(),
		"int":    provider.IntEvaluation(ctx, "billing_webhooks", 1, nil).Error(),
		"object": provider.ObjectEvaluation(ctx, "billing_webhooks", 1, nil).Error(),
	} {
		if err == nil || !strings.Contains(err.Error(), "TYPE_MISMATCH") {
			t.Errorf("%s gives %v", kind, err)
		}
	}
}
