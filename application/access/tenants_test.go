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
	made, err := tenants.Create(t.Context(), "tenant-123", "Ruhr Service GmbH", 3)
	if err != nil || made.ID != "tenant-123" || made.Name != "Ruhr Service GmbH" || made.Weight != 3 || !made.CreatedAt.Equal(start) {
		t.Errorf("%+v, %v", made, err)
	}
	if _, err := tenants.Create(t.Context(), "tenant-123", "again", 1); !problem.Is(err, problem.Conflict) {
		t.Errorf("twice: %v", err)
	}
	for _, c := range []struct {
		id     tenant.ID
		name   string
		weight int
		fields []string
	}{
		{"a b", "n", 1, []string{"tenantId"}}, {"", "", 0, []string{"name", "tenantId", "weight"}}, {"ok", strings.Repeat("ü", 201), 1, []string{"name"}}, {"ok", "a\x00", 1, []string{"name"}},
		{"ok", "n", 101, []string{"weight"}}, {"ok", "n", -1, []string{"weight"}},
	} {
		_, err := tenants.Create(t.Context(), c.id, c.name, c.weight)
		var p *problem.Error
		if !errors.As(err, &p) || p.Code != problem.ValidationFailed || !slices.Equal(slices.Sorted(maps.Keys(p.Fields)), c.fields) {
			t.Errorf("%q, %q: %v", c.id, c.name, err)
		}
	}
	if _, err := tenants.Create(t.Context(), "ok", strings.Repeat("ü", 200), 100); err != nil {
		t.Error(err)
	}
}

func TestChangeATenant(t *testing.T) {
	w := newWorld(t)
	tenants := &access.Tenants{Store: w.Store, Now: func() time.Time { return w.now }}
	name, bad, weight := "New", "", 100
	changed, err := tenants.Change(t.Context(), "acme", access.TenantChange{Name: &name, Weight: &weight})
	if err != nil || changed.Name != name || changed.Weight != weight {
		t.Errorf("%+v, %v", changed, err)
	}
	weight = 101
	_, err = tenants.Change(t.Context(), "acme", access.TenantChange{Name: &bad, Weight: &weight})
	var p *problem.Error
	if !errors.As(err, &p) || !slices.Equal(slices.Sorted(maps.Keys(p.Fields)), []string{"name", "weight"}) {
		t.Errorf("a bad change: %v", err)
	}
	if kept, err := w.Tenant(t.Context(), "acme"); err != nil || kept.Name != name || kept.Weight != 100 {
		t.Errorf("after a bad change: %+v, %v", kept, err)
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
