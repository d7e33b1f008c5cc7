package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/idempotency"
	keys "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func laneOfKey(k key) dispatch.Lane {
	return dispatch.Lane{Tenant: tenant.ID(k[0]), SubscriptionID: k[1]}
}

// CreateTenant refuses an ID that is taken.
func (s *Store) CreateTenant(ctx context.Context, t access.Tenant) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		if _, taken := s.tenants.get(keyOf(t.ID)); taken {
			return access.ErrTenantTaken(t.ID)
		}
		t.Features = map[tenant.Feature]bool{}
		s.tenants.put(tx, keyOf(t.ID), t)
		return nil
	})
}

// Tenant finds one tenant.
func (s *Store) Tenant(ctx context.Context, id tenant.ID) (access.Tenant, error) {
	done, err := s.read(ctx)
	defer done()
	t, found := s.tenants.get(keyOf(id))
	return t, orNotFound(err, found, "tenant")
}

// Tenants lists newest first.
func (s *Store) Tenants(ctx context.Context, page access.Page) (list []access.Tenant, err error) {
	done, err := s.read(ctx)
	defer done()
	newest := func(a, b access.Tenant) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(string(b.ID), string(a.ID)))
	}
	last, paged := s.tenants.get(keyOf(tenant.ID(page.After)))
	for _, t := range s.tenants.all() {
		if page.After == "" || paged && newest(last, t) < 0 {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, newest)
	return list[:min(len(list), page.Limit)], err
}

// ChangeTenant answers the tenant as it is then.
func (s *Store) ChangeTenant(ctx context.Context, id tenant.ID, change access.TenantChange) (t access.Tenant, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) (err error) {
		found := false
		if t, found = s.tenants.get(keyOf(id)); !found {
			return orNotFound(nil, false, "tenant")
		}
		if change.Name != nil {
			t.Name = *change.Name
		}
		if change.Weight != nil {
			t.Weight = *change.Weight
		}
		s.tenants.put(tx, keyOf(id), t)
		return nil
	})
	return t, err
}

// SetFeature books a feature or ends it.
func (s *Store) SetFeature(ctx context.Context, id tenant.ID, feature tenant.Feature, enabled bool, _ time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		t, found := s.tenants.get(keyOf(id))
		if err := orNotFound(nil, found, "tenant"); err != nil {
			return err
		}
		t.Features = maps.Clone(t.Features)
		t.Features[feature] = enabled
		s.tenants.put(tx, keyOf(id), t)
		return nil
	})
}

// TenantHasFeature reads whether the tenant has booked the feature.
func (s *Store) TenantHasFeature(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	done, err := s.read(ctx)
	defer done()
	t, _ := s.tenants.get(keyOf(id))
	return t.Features[feature], err
}

// SaveKey refuses a hash that is taken, a tenant that does not exist, and a subscription that the tenant does not have.
func (s *Store) SaveKey(ctx context.Context, k keys.Key, hash access.Hash) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		if _, found := s.tenants.get(keyOf(k.Tenant)); !found && !k.IsPlatform() {
			return orNotFound(nil, false, "tenant")
		}
		if k.SubscriptionID != "" {
			if err := s.subscription(dispatch.Lane{Tenant: k.Tenant, SubscriptionID: k.SubscriptionID}).MustExist(); err != nil {
				return err
			}
		}
		for at, row := range s.keys.all() {
			if row.hash == hash || at[1] == k.ID {
				return access.ErrKeyTaken
			}
		}
		s.keys.put(tx, keyOf("", k.ID), storedKey{k, hash})
		return nil
	})
}

// CountKeys counts those that are live; within a transaction nobody else writes.
func (s *Store) CountKeys(ctx context.Context, owner tenant.ID, now time.Time) (n int, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, row := range s.keys.all() {
		if row.Tenant == owner && row.Live(now) {
			n++
		}
	}
	return n, err
}

// KeyByHash finds the key that a caller showed.
func (s *Store) KeyByHash(ctx context.Context, hash access.Hash) (keys.Key, error) {
	done, err := s.read(ctx)
	defer done()
	for _, row := range s.keys.all() {
		if row.hash == hash && err == nil {
			return row.Key, nil
		}
	}
	return keys.Key{}, orNotFound(err, false, "key")
}

// Keys lists newest first: one tenant's, or all when owner is empty.
func (s *Store) Keys(ctx context.Context, owner tenant.ID, page access.Page) (list []keys.Key, err error) {
	done, err := s.read(ctx)
	defer done()
	for k, row := range s.keys.all() {
		if (owner == "" || row.Tenant == owner) && (page.After == "" || k[1] < page.After) {
			list = append(list, row.Key)
		}
	}
	slices.Reverse(list)
	return list[:min(len(list), page.Limit)], err
}

// RevokeKey ends a key: of the tenant, or of anybody when owner is empty. One that was revoked already stays as it is.
func (s *Store) RevokeKey(ctx context.Context, owner tenant.ID, id string, now time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		row, found := s.keys.get(keyOf("", id))
		if !found || owner != "" && row.Tenant != owner {
			return orNotFound(nil, false, "key")
		}
		if row.RevokedAt.IsZero() {
			row.RevokedAt = now
		}
		s.keys.put(tx, keyOf("", id), row)
		return nil
	})
}

// TouchKeys notes when keys were used last.
func (s *Store) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		for id, at := range used {
			if row, found := s.keys.get(keyOf("", id)); found {
				row.LastUsedAt = at
				s.keys.put(tx, keyOf("", id), row)
			}
		}
		return nil
	})
}

// Reserve takes a key that is free, has expired, or was left by a crash; see idempotency.Store.
func (s *Store) Reserve(ctx context.Context, r idempotency.Reservation, takeOver time.Time) (found *idempotency.Found, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		k := keyOf("", string(r.Key[:]))
		row, taken := s.answers.get(k)
		if taken && row.ExpiresAt.After(r.ReservedAt) && (row.sealed != nil || row.ReservedAt.After(takeOver)) {
			found = &idempotency.Found{Fingerprint: row.Fingerprint, Sealed: row.sealed}
			return nil
		}
		s.answers.put(tx, k, storedAnswer{Reservation: r})
		return nil
	})
	return found, err
}

// Answer adds the sealed answer, if the token still holds.
func (s *Store) Answer(ctx context.Context, k idempotency.Key, token string, sealed []byte) (held bool, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		row, found := s.answers.get(keyOf("", string(k[:])))
		if held = found && row.Token == token && row.sealed == nil; held {
			row.sealed = sealed
			s.answers.put(tx, keyOf("", string(k[:])), row)
		}
		return nil
	})
	return held, err
}

// Release frees the key, if the token still holds.
func (s *Store) Release(ctx context.Context, k idempotency.Key, token string) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		if row, found := s.answers.get(keyOf("", string(k[:]))); found && row.Token == token && row.sealed == nil {
			s.answers.drop(tx, keyOf("", string(k[:])))
		}
		return nil
	})
}

// DeleteExpired deletes a small batch of what is no longer kept.
func (s *Store) DeleteExpired(ctx context.Context, now time.Time, limit int) (deleted int, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		for _, k := range slices.Clone(s.answers.keys) {
			if row, _ := s.answers.get(k); !row.ExpiresAt.After(now) && deleted < limit {
				s.answers.drop(tx, k)
				deleted++
			}
		}
		return nil
	})
	return deleted, err
}
