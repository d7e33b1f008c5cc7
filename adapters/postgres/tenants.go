package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	keys "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// CreateTenant refuses an ID that is taken.
func (s *Store) CreateTenant(ctx context.Context, t access.Tenant) error {
	n, err := s.change(ctx, `INSERT INTO tenants (tenant_id, name, weight, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		t.ID, t.Name, t.Weight, stamp(t.CreatedAt))
	if err == nil && n == 0 {
		err = access.ErrTenantTaken(t.ID)
	}
	return err
}

const tenantColumns = `tenant_id, name, weight, created_at,
	(SELECT coalesce(json_object_agg(feature, enabled), '{}')::text FROM tenant_features f WHERE f.tenant_id = tenants.tenant_id)`

func scanTenant(r pgx.Rows) (t access.Tenant, err error) {
	var created *int64
	var features string
	if err = r.Scan(&t.ID, &t.Name, &t.Weight, &created, &features); err != nil {
		return t, err
	}
	t.CreatedAt, t.Features = moment(created), map[tenant.Feature]bool{}
	return t, json.Unmarshal([]byte(features), &t.Features)
}

// Tenant finds one tenant.
func (s *Store) Tenant(ctx context.Context, id tenant.ID) (access.Tenant, error) {
	t, err := one(ctx, s.db.from(ctx), scanTenant, `SELECT `+tenantColumns+` FROM tenants WHERE tenant_id = $1`, id)
	return t, notFound(err, "tenant")
}

// Tenants lists newest first.
func (s *Store) Tenants(ctx context.Context, page access.Page) ([]access.Tenant, error) {
	var w where
	w.add(page.After != "", `(created_at, tenant_id) < (SELECT created_at, tenant_id FROM tenants WHERE tenant_id = %s)`, page.After)
	return all(ctx, s.db.forUsers(ctx), scanTenant, `SELECT `+tenantColumns+` FROM tenants WHERE `+w.String()+
		` ORDER BY created_at DESC, tenant_id DESC LIMIT `+w.next(), append(w.args, page.Limit)...)
}

// ChangeTenant returns the changed tenant.
func (s *Store) ChangeTenant(ctx context.Context, id tenant.ID, change access.TenantChange) (changed access.Tenant, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE tenants SET name = coalesce($2, name), weight = coalesce($3, weight) WHERE tenant_id = $1`,
			id, change.Name, change.Weight); err != nil {
			return err
		}
		changed, err = s.Tenant(ctx, id)
		return err
	})
	return changed, err
}

// SetFeature turns a feature on or off.
func (s *Store) SetFeature(ctx context.Context, id tenant.ID, feature tenant.Feature, enabled bool, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := s.Tenant(ctx, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO tenant_features (tenant_id, feature, enabled, updated_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (tenant_id, feature) DO UPDATE SET enabled = excluded.enabled, updated_at = excluded.updated_at`, id, feature, enabled, stamp(now))
		return err
	})
}

// TenantHasFeature reads whether the tenant has booked the feature.
func (s *Store) TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	enabled, err := one(ctx, s.db.from(ctx), value[bool], `SELECT enabled FROM tenant_features WHERE tenant_id = $1 AND feature = $2`, id, feature)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return enabled, err
}

// SaveKey refuses a hash or an ID that is taken, a tenant that does not exist, and a subscription that the tenant does not have.
func (s *Store) SaveKey(ctx context.Context, k keys.Key, hash access.Hash) error {
	scopes, err := jsonText(k.Scopes)
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
		n, err := tx.Exec(ctx, `INSERT INTO api_keys (tenant_id, key_id, hash, name, prefix, scopes, subscription_id, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
			k.Tenant, k.ID, hash[:], k.Name, k.Prefix, scopes, k.SubscriptionID, stamp(k.CreatedAt), stamp(k.ExpiresAt))
		if err == nil && n == 0 {
			err = access.ErrKeyTaken
		}
		return err
	})
}

// CountKeys counts what lives by the index, however many keys have ended. A transaction keeps the tenant's row until it ends; see
// access.KeyStore.
func (s *Store) CountKeys(ctx context.Context, owner tenant.ID, now time.Time) (int, error) {
	if tx, inTx := ctx.Value(txKey{}).(*Tx); inTx {
		if _, err := tx.Exec(ctx, `SELECT 1 FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE`, owner); err != nil {
			return 0, err
		}
	}
	return one(ctx, s.db.from(ctx), value[int],
		`SELECT (SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND revoked_at IS NULL AND expires_at IS NULL) +
			(SELECT count(*) FROM api_keys WHERE tenant_id = $1 AND revoked_at IS NULL AND expires_at > $2)`, owner, stamp(now))
}

const keyColumns = `key_id, tenant_id, name, prefix, scopes, subscription_id, created_at, expires_at, revoked_at, last_used_at`

func scanKey(r pgx.Rows) (k keys.Key, err error) {
	var scopes string
	var created, expires, revoked, used *int64
	if err = r.Scan(&k.ID, &k.Tenant, &k.Name, &k.Prefix, &scopes, &k.SubscriptionID, &created, &expires, &revoked, &used); err != nil {
		return k, err
	}
	k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsedAt = moment(created), moment(expires), moment(revoked), moment(used)
	return k, json.Unmarshal([]byte(scopes), &k.Scopes)
}

// KeyByHash finds the key that a caller presented.
func (s *Store) KeyByHash(ctx context.Context, hash access.Hash) (keys.Key, error) {
	k, err := one(ctx, s.db.from(ctx), scanKey, `SELECT `+keyColumns+` FROM api_keys WHERE hash = $1`, hash[:])
	return k, notFound(err, "key")
}

// Keys lists newest first: one tenant's, or all when owner is empty.
func (s *Store) Keys(ctx context.Context, owner tenant.ID, page access.Page) ([]keys.Key, error) {
	var w where
	w.add(owner != "", "tenant_id = %s", owner)
	w.add(page.After != "", "key_id < %s", page.After)
	return all(ctx, s.db.forUsers(ctx), scanKey, `SELECT `+keyColumns+` FROM api_keys WHERE `+w.String()+
		` ORDER BY key_id DESC LIMIT `+w.next(), append(w.args, page.Limit)...)
}

// RevokeKey ends a key: of the tenant, or of anybody when owner is empty. One that was revoked already stays as it is.
func (s *Store) RevokeKey(ctx context.Context, owner tenant.ID, id string, now time.Time) error {
	return s.mustChange(ctx, "key", `UPDATE api_keys SET revoked_at = coalesce(revoked_at, $1) WHERE key_id = $2 AND ($3 = '' OR tenant_id = $3)`,
		stamp(now), id, owner)
}

// TouchKeys notes when keys were last used.
func (s *Store) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	ids, times := make([]string, 0, len(used)), make([]int64, 0, len(used))
	for id, at := range used {
		ids, times = append(ids, id), append(times, at.UnixMicro())
	}
	_, err := s.change(ctx, `UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, u.at) FROM unnest($1::text[], $2::bigint[]) AS u (key_id, at)
		WHERE k.key_id = u.key_id`, ids, times)
	return err
}
