package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
)

// Reserve takes a key that is free, has expired, or was left by a crash; see idempotency.Store.
func (s *Store) Reserve(ctx context.Context, r idempotency.Reservation, takeOver time.Time) (found *idempotency.Found, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.Exec(ctx, `INSERT INTO idempotency_keys (key, fingerprint, token, reserved_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, token = excluded.token,
				reserved_at = excluded.reserved_at, expires_at = excluded.expires_at, sealed = NULL
			WHERE expires_at <= ?4 OR sealed IS NULL AND reserved_at <= ?6`,
			r.Key[:], r.Fingerprint[:], r.Token, stamp(r.ReservedAt), stamp(r.ExpiresAt), stamp(takeOver))
		if err != nil || n == 1 {
			return err
		}
		f, err := one(ctx, s.db, func(r *sql.Rows) (f idempotency.Found, err error) {
			var print []byte
			err = r.Scan(&print, &f.Sealed)
			if err == nil && len(print) != len(f.Fingerprint) {
				err = errors.New("a fingerprint of another length")
			}
			if err == nil {
				f.Fingerprint = idempotency.Fingerprint(print)
			}
			return f, err
		}, `SELECT fingerprint, sealed FROM idempotency_keys WHERE key = ?`, r.Key[:])
		found = &f
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reserve an idempotency key: %w", err)
	}
	return found, nil
}

// Answer adds the sealed answer if the token still holds the key.
func (s *Store) Answer(ctx context.Context, key idempotency.Key, token string, sealed []byte) (held bool, err error) {
	n, err := s.change(ctx, `UPDATE idempotency_keys SET sealed = ? WHERE key = ? AND token = ? AND sealed IS NULL`, sealed, key[:], token)
	return n > 0, err
}

// Release frees the key if the token still holds it.
func (s *Store) Release(ctx context.Context, key idempotency.Key, token string) error {
	_, err := s.change(ctx, `DELETE FROM idempotency_keys WHERE key = ? AND token = ? AND sealed IS NULL`, key[:], token)
	return err
}

// DeleteExpired deletes at most limit keys that have expired.
func (s *Store) DeleteExpired(ctx context.Context, now time.Time, limit int) (deleted int, err error) {
	n, err := s.change(ctx, `DELETE FROM idempotency_keys WHERE key IN
		(SELECT key FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`, stamp(now), limit)
	return int(n), err
}
