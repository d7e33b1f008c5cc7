// Package access manages tenants, what they have booked, and API keys.
package access

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Tenant is a customer of Ordinavo.
type Tenant struct {
	ID        tenant.ID
	Name      string
	Weight    int // 1 to tenant.MaxWeight
	CreatedAt time.Time
	// Features holds every feature that was ever switched; one that is missing is off.
	Features map[tenant.Feature]bool
}

// TenantChange is what to change of a tenant; nil leaves a value as it is.
type TenantChange struct {
	Name   *string
	Weight *int
}

// Page asks for a part of a list, newest first.
type Page struct {
	After string // the ID that ended the last page; empty for the first page
	Limit int
}

// TenantStore keeps the tenants.
type TenantStore interface {
	// CreateTenant refuses an ID that is taken (ErrTenantTaken).
	CreateTenant(ctx context.Context, t Tenant) error
	Tenant(ctx context.Context, id tenant.ID) (Tenant, error)
	Tenants(ctx context.Context, page Page) ([]Tenant, error)
	// ChangeTenant returns the changed tenant, or problem.NotFound.
	ChangeTenant(ctx context.Context, id tenant.ID, change TenantChange) (Tenant, error)
	// SetFeature answers problem.NotFound for a tenant that does not exist.
	SetFeature(ctx context.Context, id tenant.ID, feature tenant.Feature, enabled bool, now time.Time) error
}

// ErrTenantTaken refuses a tenant that is there already.
func ErrTenantTaken(id tenant.ID) error {
	return problem.New(problem.Conflict, "There is a tenant %s already.", id)
}

// Tenants manages tenants.
type Tenants struct {
	Store TenantStore
	Now   func() time.Time
}

// Create adds a tenant.
func (s *Tenants) Create(ctx context.Context, id tenant.ID, name string, weight int) (Tenant, error) {
	fields := problem.Collect("")
	if !id.Valid() {
		fields.Add("tenantId", tenant.IDRule)
	}
	checkName(fields, name)
	checkWeight(fields, weight)
	if err := fields.Err(); err != nil {
		return Tenant{}, err
	}
	t := Tenant{ID: id, Name: name, Weight: weight, CreatedAt: s.Now(), Features: map[tenant.Feature]bool{}}
	if err := s.Store.CreateTenant(ctx, t); err != nil {
		return Tenant{}, fmt.Errorf("create a tenant: %w", err)
	}
	return t, nil
}

// Change renames a tenant or sets its weight, which takes effect in each process with the tenant's next lease.
func (s *Tenants) Change(ctx context.Context, id tenant.ID, change TenantChange) (Tenant, error) {
	fields := problem.Collect("")
	if change.Name != nil {
		checkName(fields, *change.Name)
	}
	if change.Weight != nil {
		checkWeight(fields, *change.Weight)
	}
	if err := fields.Err(); err != nil {
		return Tenant{}, err
	}
	return s.Store.ChangeTenant(ctx, id, change)
}

// SetFeature books a feature or ends it.
func (s *Tenants) SetFeature(ctx context.Context, id tenant.ID, feature tenant.Feature, enabled bool) error {
	if !tenant.KnownFeature(feature) {
		return problem.Invalid("feature", "is not a feature that the platform knows")
	}
	return s.Store.SetFeature(ctx, id, feature, enabled, s.Now())
}

func checkWeight(into problem.Fields, weight int) {
	if weight < 1 || weight > tenant.MaxWeight {
		into.Add("weight", "must be 1 to %d", tenant.MaxWeight)
	}
}

const maxNameLength = 200

func checkName(into problem.Fields, name string) {
	if name == "" {
		into.Add("name", "is missing")
	}
	into.CheckText("name", name, maxNameLength)
}
