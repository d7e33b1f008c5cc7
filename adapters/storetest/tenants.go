package storetest

import (
	"fmt"
	"slices"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var tenantChecks = []Check{
	{"tenants/an ID is taken once", func(w *world) {
		w.refused(w.CreateTenant(w.ctx, access.Tenant{ID: acme, Name: "Impostor", Weight: tenant.DefaultWeight, CreatedAt: at(9)}), problem.Conflict, "create a tenant again")
		got, err := w.Tenant(w.ctx, acme)
		w.ok(err, "read the tenant")
		equal(w, "the tenant", got, access.Tenant{ID: acme, Name: "Tenant acme", Weight: tenant.DefaultWeight, CreatedAt: start, Features: map[tenant.Feature]bool{}})
		w.ok(w.CreateTenant(w.ctx, access.Tenant{ID: "ACME", Name: "Other case", Weight: tenant.DefaultWeight, CreatedAt: start}), "create a tenant whose ID differs in case")
		_, err = w.Tenant(w.ctx, "nobody")
		w.refused(err, problem.NotFound, "read a tenant that is not there")
	}},
	{"tenants/pages, newest first", func(w *world) {
		var want []tenant.ID
		for i := range 7 {
			id := tenant.ID(fmt.Sprintf("t%d", 9-i))
			w.ok(w.CreateTenant(w.ctx, access.Tenant{ID: id, Name: "t", Weight: tenant.DefaultWeight, CreatedAt: at(float64(1 + i/3))}), "create a tenant")
		}
		for _, id := range []string{"t3", "t6", "t5", "t4", "t9", "t8", "t7", "other", "acme"} { // of one moment: by ID
			want = append(want, tenant.ID(id))
		}
		var got []tenant.ID
		page := access.Page{Limit: 2}
		for range 100 {
			list, err := w.Tenants(w.ctx, page)
			w.ok(err, "list tenants")
			if len(list) == 0 {
				break
			}
			for _, t := range list {
				got = append(got, t.ID)
			}
			page.After = string(list[len(list)-1].ID)
		}
		equal(w, "tenants on all pages", got, want)
	}},
	{"tenants/a change keeps what it does not name", func(w *world) {
		change := func(id tenant.ID, name string, weight int, want access.Tenant) {
			w.Helper()
			var c access.TenantChange
			if name != "" {
				c.Name = &name
			}
			if weight != 0 {
				c.Weight = &weight
			}
			got, err := w.ChangeTenant(w.ctx, id, c)
			w.ok(err, "change a tenant")
			want.ID, want.CreatedAt, want.Features = id, start, map[tenant.Feature]bool{}
			equal(w, "the tenant that is answered", got, want)
			got, err = w.Tenant(w.ctx, id)
			w.ok(err, "read the tenant")
			equal(w, "the tenant that is stored", got, want)
		}
		change(acme, "", 100, access.Tenant{Name: "Tenant acme", Weight: 100})
		change(acme, "New", 0, access.Tenant{Name: "New", Weight: 100})
		change(acme, "", 0, access.Tenant{Name: "New", Weight: 100})
		change(acme, "Newer", 1, access.Tenant{Name: "Newer", Weight: 1})
		change(other, "", 0, access.Tenant{Name: "Tenant other", Weight: 1})
		_, err := w.ChangeTenant(w.ctx, "nobody", access.TenantChange{})
		w.refused(err, problem.NotFound, "change a tenant that is not there")
	}},
	{"tenants/features", func(w *world) {
		feature := func(want bool) {
			w.Helper()
			got, err := w.TenantHasFeature(w.ctx, acme, tenant.BillingWebhooks)
			w.ok(err, "read a feature")
			equal(w, "the feature", got, want)
			t, err := w.Tenant(w.ctx, acme)
			w.ok(err, "read the tenant")
			equal(w, "the feature in the tenant", t.Features[tenant.BillingWebhooks], want)
			theirs, err := w.TenantHasFeature(w.ctx, other, tenant.BillingWebhooks)
			w.ok(err, "read another's feature")
			equal(w, "another's feature", theirs, false)
		}
		feature(false)
		for i, on := range []bool{true, true, false, true} {
			w.ok(w.SetFeature(w.ctx, acme, tenant.BillingWebhooks, on, at(float64(i))), "set a feature")
			feature(on)
		}
		list, err := w.Tenants(w.ctx, access.Page{Limit: 10})
		w.ok(err, "list tenants")
		i := slices.IndexFunc(list, func(t access.Tenant) bool { return t.ID == acme })
		equal(w, "features in the list", list[i].Features, map[tenant.Feature]bool{tenant.BillingWebhooks: true})
		equal(w, "another's features in the list", list[1-i].Features, map[tenant.Feature]bool{})
		w.refused(w.SetFeature(w.ctx, "nobody", tenant.BillingWebhooks, true, at(0)), problem.NotFound, "set a feature of nobody")
	}},
}
