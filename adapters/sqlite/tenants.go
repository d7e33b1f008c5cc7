package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	keys "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// taken reports whether the error is a violated unique constraint.
func taken(err error) bool {
	var e *sqlitedriver.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// CreateTenant refuses an ID that is taken.
func (s *Store) CreateTenant(ctx context.Context, t access.Tenant) error {
	_, err := s.change(ctx, `INSERT INTO tenants (tenant_id, name, weight, created_at) VALUES (?, ?, ?, ?)`, t.ID, t.Name, t.Weight, stamp(t.CreatedAt))
	if taken(err) {
		return access.ErrTenantTaken(t.ID)
	}
	return err
}

const tenantColumns = `tenant_id, name, weight, created_at,
	(SELECT json_group_object(feature, enabled) FROM tenant_features f WHERE f.tenant_id = tenants.tenant_id)`

func scanTenant(r *sql.Rows) (t access.Tenant, err error) {
	var created sql.NullInt64
	var features string
	if err = r.Scan(&t.ID, &t.Name, &t.Weight, &created, &features); err != nil {
		return t, err
	}
	t.CreatedAt, t.Features = moment(created), map[tenant.Feature]bool{}
	enabled := map[tenant.Feature]int{}
	err = json.Unmarshal([]byte(features), &enabled)
	for feature, on := range enabled {
		t.Features[feature] = on != 0
	}
	return t, err
}

// Tenant finds one tenant.
func (s *Store) Tenant(ctx context.Context, id tenant.ID) (access.Tenant, error) {
	t, err := one(ctx, s.db, scanTenant, `SELECT `+tenantColumns+` FROM tenants WHERE tenant_id = ?`, id)
	return t, notFound(err, "tenant")
}

// Tenants lists tenants, newest first.
func (s *Store) Tenants(ctx context.Context, page access.Page) ([]access.Tenant, error) {
	var w where
	w.add(page.After == "", "created_at < ?", int64(math.MaxInt64)) // matches all, and is still a search of the index
	w.add(page.After != "", "(created_at, tenant_id) < (SELECT created_at, tenant_id FROM tenants WHERE tenant_id = ?)", page.After)
	return all(ctx, s.db.forUsers(), scanTenant, `SELECT `+tenantColumns+` FROM tenants WHERE `+w.String()+`
		ORDER BY created_at DESC, tenant_id DESC LIMIT ?`, append(w.args, page.Limit)...)
}

// ChangeTenant returns the tenant after the change.
func (s *Store) ChangeTenant(ctx context.Context, id tenant.ID, change access.TenantChange) (changed access.Tenant, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE tenants SET name = coalesce(?2, name), weight = coalesce(?3, weight) WHERE tenant_id = ?1`,
			id, change.Name, change.Weight); err != nil {
			return err
		}
		changed, err = s.Tenant(ctx, id)
		return err
	})
	return changed, err
}

// SetFeature books a feature or ends it.
func (s *Store) SetFeature(ctx context.Context, id tenant.ID, feature tenant.Feature, enabled bool, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := s.Tenant(ctx, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO tenant_features (tenant_id, feature, enabled, updated_at) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET enabled = excluded.enabled, updated_at = excluded.updated_at`, id, feature, enabled, stamp(now))
		return err
	})
}

// TenantHasFeature reads whether the tenant has booked the feature.
func (s *Store) TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	enabled, err := one(ctx, s.db, value[bool], `SELECT enabled FROM tenant_features WHERE tenant_id = ? AND feature = ?`, id, feature)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return enabled, err
}

// SaveKey refuses a hash or an ID that is taken, a tenant that does not exist, and a subscription that the tenant does not have.
func (s *Store) SaveKey(ctx context.Context, k keys.Key, hash access.Hash) error {
	scopes, err := list(k.Scopes)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if !k.IsPlatform() {
			if _, err := s.Tenant(ctx, k.Tenant); err != nil {
				return err
			}
		}
		if k.SubscriptionID != "" {
			sub, err := s.CurrentSubscription(ctx, dispatch.Lane{Tenant: k.Tenant, SubscriptionID: k.SubscriptionID})
			if err := cmp.Or(err, sub.MustExist()); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO api_keys
			(tenant_id, key_id, hash, name, prefix, scopes, subscription_id, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			k.Tenant, k.ID, hash[:], k.Name, k.Prefix, scopes, k.SubscriptionID, stamp(k.CreatedAt), stamp(k.ExpiresAt))
		if taken(err) {
			return access.ErrKeyTaken
		}
		return err
	})
}

// CountKeys counts what lives by the index, however many keys have ended.
func (s *Store) CountKeys(ctx context.Context, owner tenant.ID, now time.Time) (int, error) {
	return one(ctx, s.db, value[int],
		`SELECT (SELECT count(*) FROM api_keys INDEXED BY api_keys_live WHERE tenant_id = ?1 AND revoked_at IS NULL AND expires_at IS NULL) +
			(SELECT count(*) FROM api_keys INDEXED BY api_keys_live WHERE tenant_id = ?1 AND revoked_at IS NULL AND expires_at > ?2)`, owner, stamp(now))
}

const keyColumns = `key_id, tenant_id, name, prefix, scopes, subscription_id, created_at, expires_at, revoked_at, last_used_at`

func scanKey(r *sql.Rows) (k keys.Key, err error) {
	var scopes string
	var created, expires, revoked, used sql.NullInt64
	if err = r.Scan(&k.ID, &k.Tenant, &k.Name, &k.Prefix, &scopes, &k.SubscriptionID, &created, &expires, &revoked, &used); err != nil {
		return k, err
	}
	k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsedAt = moment(created), moment(expires), moment(revoked), moment(used)
	return k, json.Unmarshal([]byte(scopes), &k.Scopes)
}

// KeyByHash finds the key that a caller presented.
func (s *Store) KeyByHash(ctx context.Context, hash access.Hash) (keys.Key, error) {
	k, err := one(ctx, s.db, scanKey, `SELECT `+keyColumns+` FROM api_keys WHERE hash = ?`, hash[:])
	return k, notFound(err, "key")
}

// Keys lists keys, newest first: one tenant's, or all if owner is empty.
func (s *Store) Keys(ctx context.Context, owner tenant.ID, page access.Page) ([]keys.Key, error) {
	var w where
	w.add(owner != "", "tenant_id = ?", owner)
	w.add(page.After != "", "key_id < ?", page.After)
	return all(ctx, s.db.forUsers(), scanKey, `SELECT `+keyColumns+` FROM api_keys WHERE `+w.String()+` ORDER BY key_id DESC LIMIT ?`, append(w.args, page.Limit)...)
}

// RevokeKey revokes a key: the tenant's, or anybody's if owner is empty. One that is already revoked stays as it is.
func (s *Store) RevokeKey(ctx context.Context, owner tenant.ID, id string, now time.Time) error {
	return s.mustChange(ctx, "key", `UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?1) WHERE key_id = ?2 AND (?3 = '' OR tenant_id = ?3)`,
		stamp(now), id, owner)
}

// TouchKeys notes when keys were last used.
func (s *Store) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for id, at := range used {
			if _, err := tx.Exec(ctx, `UPDATE api_keys SET last_used_at = ? WHERE key_id = ?`, stamp(at), id); err != nil {
				return fmt.Errorf("touch %s: %w", id, err)
			}
		}
		return nil
	})
}
