package access_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func TestTenants(t *testing.T) {
	w := newWorld(t)
	tenants := &access.Tenants{Store: w.Store, Now: func() time.Time { return w.now }}
	made, err := tenants.Create(t.Context(), "tenant-123", "Ruhr Service GmbH")
	if err != nil || made.ID != "tenant-123" || !made.CreatedAt.Equal(start) {
		t.Errorf("%+v, %v", made, err)
	}
	if _, err := tenants.Create(t.Context(), "tenant-123", "again"); !problem.Is(err, problem.Conflict) {
		t.Errorf("twice: %v", err)
	}
	for _, c := range []struct {
		id     tenant.ID
		name   string
		fields []string
	}{
		{"a b", "n", []string{"tenantId"}}, {"", "", []string{"name", "tenantId"}}, {"ok", strings.Repeat("ü", 201), []string{"name"}}, {"ok", "a\x00", []string{"name"}},
	} {
		_, err := tenants.Create(t.Context(), c.id, c.name)
		var p *problem.Error
		if !errors.As(err, &p) || p.Code != problem.ValidationFailed || !slices.Equal(slices.Sorted(maps.Keys(p.Fields)), c.fields) {
			t.Errorf("%q, %q: %v", c.id, c.name, err)
		}
	}
	if _, err := tenants.Create(t.Context(), "ok", strings.Repeat("ü", 200)); err != nil {
		t.Error(err)
	}
}

func TestFeatures(t *testing.T) {
	w := newWorld(t)
	tenants := &access.Tenants{Store: w.Store, Now: func() time.Time { return w.now }}
	for _, enabled := range []bool{true, false} {
		if err := tenants.SetFeature(t.Context(), "acme", tenant.BillingWebhooks, enabled); err != nil {
			t.Fatal(err)
		}
		if has, err := w.TenantHasFeature(t.Context(), "acme", tenant.BillingWebhooks); err != nil || has != enabled {
			t.Errorf("has %t, %v", has, err)
		}
	}
	if err := tenants.SetFeature(t.Context(), "acme", "flying", true); !problem.Is(err, problem.ValidationFailed) {
		t.Errorf("an unknown feature: %v", err)
	}
	if err := tenants.SetFeature(t.Context(), "nobody", tenant.BillingWebhooks, true); !problem.Is(err, problem.NotFound) {
		t.Errorf("an unknown tenant: %v", err)
	}
}
