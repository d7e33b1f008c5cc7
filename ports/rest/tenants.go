package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Tenant is a customer of Ordinavo.
type Tenant struct {
	TenantID  string          `json:"tenantId" example:"tenant-123"`
	Name      string          `json:"name" example:"Ruhr Service GmbH"`
	Weight    int             `json:"weight" doc:"Its part of what is attempted at once when there is not room for all, in proportion to the weights of the others." example:"1"`
	Features  map[string]bool `json:"features" doc:"What was ever switched; what is not there is off."`
	CreatedAt time.Time       `json:"createdAt"`
}

// TenantOutput is a tenant as an answer.
type TenantOutput struct{ Body Tenant }

type newTenantInput struct {
	Body NewTenant
}

// NewTenant begins a tenant.
type NewTenant struct {
	TenantID string        `json:"tenantId" pattern:"^[A-Za-z0-9._-]{1,64}$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ -" example:"tenant-123"`
	Name     string        `json:"name" minLength:"1" maxLength:"200" example:"Ruhr Service GmbH"`
	Weight   optional[int] `json:"weight,omitempty" minimum:"1" maximum:"100" doc:"Default 1."`
}

type tenantPatchInput struct {
	ID   string `path:"tenantId" pattern:"^[A-Za-z0-9._-]{1,64}$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ -"`
	Body TenantPatch
}

// TenantPatch changes a tenant; what is absent stays as it is.
type TenantPatch struct {
	Name   optional[string] `json:"name,omitempty" minLength:"1" maxLength:"200" example:"Ruhr Service GmbH"`
	Weight optional[int]    `json:"weight,omitempty" minimum:"1" maximum:"100" example:"10"`
}

type featureInput struct {
	ID      string `path:"tenantId" pattern:"^[A-Za-z0-9._-]{1,64}$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ -"`
	Feature string `path:"feature" maxLength:"64" example:"billing_webhooks"`
	Body    Switch
}

// Switch turns a feature on or off.
type Switch struct {
	Enabled bool `json:"enabled"`
}

type listInput struct{ Paging }

func (a *API) routeTenants() {
	register(a, operation{id: "createTenant", method: http.MethodPost, path: "/v1/tenants", tag: tagTenants, scope: domain.PlatformAdmin, status: http.StatusCreated,
		summary: "Add a tenant", example: map[string]any{"tenantId": "tenant-123", "name": "Ruhr Service GmbH"}}, a.createTenant)
	register(a, operation{id: "listTenants", method: http.MethodGet, path: "/v1/tenants", tag: tagTenants, scope: domain.PlatformAdmin,
		summary: "List the tenants"}, a.listTenants)
	register(a, operation{id: "updateTenant", method: http.MethodPatch, path: "/v1/tenants/{tenantId}", tag: tagTenants, scope: domain.PlatformAdmin,
		summary: "Rename a tenant, or weigh it anew", description: "What is absent stays as it is.", statuses: []int{http.StatusNotFound},
		example: map[string]any{"weight": 10}}, a.updateTenant)
	register(a, operation{id: "setFeature", method: http.MethodPut, path: "/v1/tenants/{tenantId}/features/{feature}", tag: tagTenants, scope: domain.PlatformAdmin,
		summary: "Book a feature for a tenant, or end it", statuses: []int{http.StatusNotFound}, example: map[string]any{"enabled": true}}, a.setFeature)
}

func (a *API) createTenant(ctx context.Context, in *newTenantInput) (*TenantOutput, error) {
	fields, weight := problem.Collect(""), tenant.DefaultWeight
	in.Body.Weight.apply(&weight, fields, "weight")
	if err := fields.Err(); err != nil {
		return nil, err
	}
	return once(ctx, a, http.StatusCreated, func(ctx context.Context) (*TenantOutput, error) {
		made, err := a.Tenants.Create(ctx, tenant.ID(in.Body.TenantID), in.Body.Name, weight)
		if err != nil {
			return nil, err
		}
		return &TenantOutput{viewTenant(made)}, nil
	})
}

func (a *API) updateTenant(ctx context.Context, in *tenantPatchInput) (*TenantOutput, error) {
	fields, change := problem.Collect(""), access.TenantChange{}
	change.Name, change.Weight = in.Body.Name.wanted(fields, "name"), in.Body.Weight.wanted(fields, "weight")
	if err := fields.Err(); err != nil {
		return nil, err
	}
	changed, err := a.Tenants.Change(ctx, tenant.ID(in.ID), change)
	if err != nil {
		return nil, err
	}
	return &TenantOutput{viewTenant(changed)}, nil
}

func (a *API) listTenants(ctx context.Context, in *listInput) (*PageOutput[Tenant], error) {
	l := a.listOf(ctx, "tenants", in.Paging)
	after, err := l.after()
	if err != nil {
		return nil, err
	}
	tenants, err := a.Tenants.Store.Tenants(ctx, access.Page{After: after, Limit: l.fetch()})
	if err != nil {
		return nil, err
	}
	return pageOf(l, tenants, func(t access.Tenant) string { return string(t.ID) }, viewTenant)
}

func (a *API) setFeature(ctx context.Context, in *featureInput) (*TenantOutput, error) {
	id := tenant.ID(in.ID)
	if err := a.Tenants.SetFeature(ctx, id, tenant.Feature(in.Feature), in.Body.Enabled); err != nil {
		return nil, err
	}
	changed, err := a.Tenants.Store.Tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	return &TenantOutput{viewTenant(changed)}, nil
}

func viewTenant(t access.Tenant) Tenant {
	features := map[string]bool{}
	for feature, enabled := range t.Features {
		features[string(feature)] = enabled
	}
	return Tenant{TenantID: string(t.ID), Name: t.Name, Weight: t.Weight, Features: features, CreatedAt: t.CreatedAt.UTC()}
}
