// Package access says who may do what: keys and their scopes.
package access

import (
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Scope is one permission of a key (contract, section 5).
type Scope string

// The scopes of the contract.
const (
	EventsWrite     Scope = "events.write"
	EventsRead      Scope = "events.read"
	DirectoryWrite  Scope = "directory.write"
	WebhooksRead    Scope = "webhooks.read"
	WebhooksManage  Scope = "webhooks.manage"
	DeliveriesRead  Scope = "webhook_deliveries.read"
	DeliveriesRetry Scope = "webhook_deliveries.retry"
	PlatformAdmin   Scope = "platform.admin"
)

// Scopes lists all of them.
func Scopes() []Scope {
	return []Scope{EventsWrite, EventsRead, DirectoryWrite, WebhooksRead, WebhooksManage, DeliveriesRead, DeliveriesRetry, PlatformAdmin}
}

// Key is an API key without its secret half, which only a hash of is kept.
type Key struct {
	ID   string
	Name string
	// Tenant is empty for a platform key, which names its tenant in each request.
	Tenant tenant.ID
	Scopes []Scope
	// SubscriptionID binds the key to one subscription; empty for none.
	SubscriptionID string
	// Prefix is the beginning of the key, enough to recognise it by.
	Prefix     string
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero for never
	RevokedAt  time.Time // zero for not
	LastUsedAt time.Time // zero for never; kept to the minute
}

// IsPlatform reports whether the key is no single tenant's.
func (k Key) IsPlatform() bool { return k.Tenant == "" }

// Allows reports whether the key carries the scope.
func (k Key) Allows(scope Scope) bool { return slices.Contains(k.Scopes, scope) }

// Live reports whether the key is neither revoked nor expired.
func (k Key) Live(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// Grantable reports whether the key may hand a scope to a key that it makes: never more than its own,
// and platform.admin only from a platform key (contract, section 5).
func (k Key) Grantable(scope Scope) bool {
	if scope == PlatformAdmin && !k.IsPlatform() {
		return false
	}
	return k.Allows(scope) || k.IsPlatform() && k.Allows(PlatformAdmin)
}
