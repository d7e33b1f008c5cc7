package rest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Key is an API key without its text.
type Key struct {
	ID             string     `json:"id" example:"key_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`
	Name           string     `json:"name" example:"ERP"`
	TenantID       *string    `json:"tenantId" doc:"null for a platform key."`
	Scopes         []string   `json:"scopes"`
	SubscriptionID *string    `json:"subscriptionId" doc:"The one subscription that the key is bound to; null for none."`
	Prefix         string     `json:"prefix" doc:"The beginning of the key, to recognise it by." example:"ord_live_a1B2c3"`
	CreatedAt      time.Time  `json:"createdAt"`
	ExpiresAt      *time.Time `json:"expiresAt"`
	RevokedAt      *time.Time `json:"revokedAt"`
	LastUsedAt     *time.Time `json:"lastUsedAt" doc:"To the minute."`
}

// KeyWithText is a key as it is shown once.
type KeyWithText struct {
	Key
	Text string `json:"key" doc:"The key itself; it is not shown again."`
}

// KeyOutput is a new key as an answer.
type KeyOutput struct{ Body KeyWithText }

// OwnKeyOutput is the key that asked, as an answer.
type OwnKeyOutput struct{ Body Key }

// NewKey asks for a key.
type NewKey struct {
	Name           string     `json:"name" minLength:"1" maxLength:"200" example:"ERP"`
	TenantID       string     `json:"tenantId,omitempty" minLength:"1" maxLength:"64" doc:"Absent for a platform key. A tenant's key makes keys for its own tenant."`
	Scopes         []string   `json:"scopes" minItems:"1" maxItems:"8" enum:"events.write,events.read,directory.write,webhooks.read,webhooks.manage,webhook_deliveries.read,webhook_deliveries.retry,platform.admin"`
	SubscriptionID string     `json:"subscriptionId,omitempty" minLength:"1" maxLength:"64" doc:"Binds the key to one subscription."`
	ExpiresAt      *time.Time `json:"expiresAt,omitempty"`
}

// TransformSchema says of the scopes that none may be there twice, in words that huma does not act upon: it hashes the items,
// whatever was sent, and an object or a list would make it panic.
func (NewKey) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Properties["scopes"].Extensions = map[string]any{"uniqueItems": true}
	return s
}

// Resolve refuses a scope that is there twice.
func (k NewKey) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	once := map[string]bool{}
	for _, scope := range k.Scopes {
		once[scope] = true
	}
	if len(once) == len(k.Scopes) {
		return nil
	}
	return []error{&huma.ErrorDetail{Location: at.With("scopes"), Message: validation.MsgExpectedArrayItemsUnique, Value: k.Scopes}}
}

type newKeyInput struct {
	Body NewKey
}

type listKeysInput struct {
	Paging
	TenantID string `query:"tenantId" pattern:"^[A-Za-z0-9._-]{1,64}$" patternDescription:"1 to 64 of A-Z a-z 0-9 . _ -" doc:"The keys of one tenant, for platform keys."`
}

type keyInput struct {
	ID string `path:"keyId" maxLength:"100"`
}

const keyScopes = "Needs platform.admin, or a tenant's key with webhooks.manage for its own tenant."

func (a *API) routeKeys() {
	register(a, operation{id: "createKey", method: http.MethodPost, path: "/v1/api-keys", tag: tagKeys, allow: mayManageKeys, status: http.StatusCreated, summary: "Make a key",
		description: keyScopes + " A key never gets more scopes than the one that makes it, unless that is a platform key with platform.admin, and never lives longer. " +
			fmt.Sprintf("A tenant may have %d keys that are neither revoked nor expired.", access.MaxLivePerTenant),
		example:  map[string]any{"name": "ERP", "tenantId": "tenant-123", "scopes": []string{"webhooks.read"}},
		statuses: []int{http.StatusNotFound}}, a.createKey)
	register(a, operation{id: "listKeys", method: http.MethodGet, path: "/v1/api-keys", tag: tagKeys, allow: mayManageKeys, summary: "List the keys", description: keyScopes,
		statuses: []int{http.StatusNotFound}}, a.listKeys)
	register(a, operation{id: "getOwnKey", method: http.MethodGet, path: "/v1/api-keys/self", tag: tagKeys, forBound: true, summary: "Get the key that asks",
		description: "What the key of this request is and may do, as it is listed. Any key may ask, whatever its scopes.", statuses: []int{http.StatusNotFound}}, a.getOwnKey)
	register(a, operation{id: "revokeKey", method: http.MethodDelete, path: "/v1/api-keys/{keyId}", tag: tagKeys, allow: mayManageKeys, status: http.StatusNoContent,
		summary: "Revoke a key", description: keyScopes + " It takes effect within a second. Revoking what is revoked changes nothing.", statuses: []int{http.StatusNotFound}}, a.revokeKey)
}

// mayManageKeys is the rule of this resource (contract, section 5).
func mayManageKeys(caller domain.Key) error {
	scope := domain.WebhooksManage
	if caller.IsPlatform() {
		scope = domain.PlatformAdmin
	}
	if !caller.Allows(scope) {
		return missingScope(scope)
	}
	return nil
}

func (a *API) createKey(ctx context.Context, in *newKeyInput) (*KeyOutput, error) {
	caller := callerOf(ctx)
	if err := checkYear("expiresAt", in.Body.ExpiresAt); err != nil {
		return nil, err
	}
	wanted := wantedKey(in.Body)
	if wanted.Tenant == "" {
		wanted.Tenant = caller.Tenant
	}
	if err := a.checkBinding(ctx, caller, wanted); err != nil {
		return nil, err
	}
	out, err := once(ctx, a, http.StatusCreated, func(ctx context.Context) (*KeyOutput, error) {
		made, text, err := a.Keys.Create(ctx, caller, wanted)
		if problem.Is(err, problem.NotFound) {
			err = problem.Invalid("tenantId", "names a tenant that does not exist")
		}
		if err != nil {
			return nil, err
		}
		return &KeyOutput{KeyWithText{viewKey(made), text}}, nil
	})
	if err == nil {
		a.Log.InfoContext(ctx, "API key made", slog.String("keyId", caller.ID), slog.String("newKeyId", out.Body.ID), slog.String("tenantId", string(wanted.Tenant)))
	}
	return out, err
}

func wantedKey(body NewKey) domain.Key {
	wanted := domain.Key{Name: body.Name, Tenant: tenant.ID(body.TenantID), SubscriptionID: body.SubscriptionID}
	for _, scope := range body.Scopes {
		wanted.Scopes = append(wanted.Scopes, domain.Scope(scope))
	}
	if body.ExpiresAt != nil {
		wanted.ExpiresAt = *body.ExpiresAt
	}
	return wanted
}

// checkBinding makes sure that a bound key's subscription is one of its tenant. It leaves what Keys.Create
// refuses to Keys.Create, and tells nobody what another tenant has.
func (a *API) checkBinding(ctx context.Context, caller, wanted domain.Key) error {
	ownTenant := caller.IsPlatform() || caller.Tenant == wanted.Tenant
	if wanted.SubscriptionID == "" || !wanted.Tenant.Valid() || !ownTenant {
		return nil
	}
	missing := problem.Invalid("subscriptionId", "names a subscription that the tenant does not have")
	if !cleanText(wanted.SubscriptionID) {
		return missing
	}
	_, err := a.Subscriptions.Get(ctx, dispatch.Lane{Tenant: wanted.Tenant, SubscriptionID: wanted.SubscriptionID})
	if problem.Is(err, problem.NotFound) {
		return missing
	}
	return err
}

func (a *API) listKeys(ctx context.Context, in *listKeysInput) (*PageOutput[Key], error) {
	caller := callerOf(ctx)
	l := a.listOf(ctx, "keys", in.Paging, caller.Tenant, in.TenantID)
	after, err := l.after()
	if err != nil {
		return nil, err
	}
	if !caller.IsPlatform() && in.TenantID != "" && in.TenantID != string(caller.Tenant) {
		return nil, noSuchTenant()
	}
	keys, err := a.Keys.List(ctx, caller, tenant.ID(in.TenantID), access.Page{After: after, Limit: l.fetch()})
	if err != nil {
		return nil, err
	}
	return pageOf(l, keys, func(k domain.Key) string { return k.ID }, viewKey)
}

// getOwnKey shows what the request's authentication has found.
func (a *API) getOwnKey(ctx context.Context, _ *struct{}) (*OwnKeyOutput, error) {
	return &OwnKeyOutput{viewKey(callerOf(ctx))}, nil
}

func (a *API) revokeKey(ctx context.Context, in *keyInput) (*struct{}, error) {
	return nil, a.Keys.Revoke(ctx, callerOf(ctx), in.ID)
}

func viewKey(k domain.Key) Key {
	view := Key{
		ID: k.ID, Name: k.Name, Scopes: []string{}, Prefix: k.Prefix, CreatedAt: k.CreatedAt.UTC(),
		TenantID: unlessEmpty(string(k.Tenant)), SubscriptionID: unlessEmpty(k.SubscriptionID),
		ExpiresAt: unlessZero(k.ExpiresAt), RevokedAt: unlessZero(k.RevokedAt), LastUsedAt: unlessZero(k.LastUsedAt),
	}
	for _, scope := range k.Scopes {
		view.Scopes = append(view.Scopes, string(scope))
	}
	return view
}

// unlessEmpty is null for an empty text.
func unlessEmpty(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// unlessZero is null for the zero time, and UTC for others.
func unlessZero(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return new(at.UTC())
}
