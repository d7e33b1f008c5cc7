package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/share"
)

const reserveKey = `INSERT INTO idempotency_keys AS k (key, fingerprint, token, reserved_at, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, token = excluded.token,
    reserved_at = excluded.reserved_at, expires_at = excluded.expires_at, sealed = NULL
WHERE k.expires_at <= $4 OR k.sealed IS NULL AND k.reserved_at <= $6`

// Reserve takes a key that is free, has expired, or was left by a crash; see idempotency.Store. It is one row that nobody waits for, and each
// keyed event needs it: users' changes do not come before it.
func (s *Store) Reserve(ctx context.Context, r idempotency.Reservation, takeOver time.Time) (found *idempotency.Found, err error) {
	err = s.db.Update(share.Own(ctx), func(ctx context.Context, tx *Tx) error {
		found = nil
		n, err := tx.Exec(ctx, reserveKey, r.Key[:], r.Fingerprint[:], r.Token, stamp(r.ReservedAt), stamp(r.ExpiresAt), stamp(takeOver))
		if err != nil || n == 1 {
			return err
		}
		f, err := one(ctx, tx, scanFound, `SELECT fingerprint, sealed FROM idempotency_keys WHERE key = $1`, r.Key[:])
		found = &f
		return err
	})
	return found, err
}

func scanFound(r pgx.Rows) (f idempotency.Found, err error) {
	var print []byte
	if err = r.Scan(&print, &f.Sealed); err != nil {
		return f, err
	}
	if len(print) != len(f.Fingerprint) {
		return f, errors.New("a fingerprint of another length")
	}
	f.Fingerprint = idempotency.Fingerprint(print)
	return f, nil
}

// Answer adds the sealed answer, if the token still holds.
func (s *Store) Answer(ctx context.Context, key idempotency.Key, token string, sealed []byte) (held bool, err error) {
	n, err := s.change(ctx, `UPDATE idempotency_keys SET sealed = $1 WHERE key = $2 AND token = $3 AND sealed IS NULL`, sealed, key[:], token)
	return n > 0, err
}

// Release frees the key, if the token still holds.
func (s *Store) Release(ctx context.Context, key idempotency.Key, token string) error {
	_, err := s.change(ctx, `DELETE FROM idempotency_keys WHERE key = $1 AND token = $2 AND sealed IS NULL`, key[:], token)
	return err
}

// DeleteExpired deletes a small batch of expired keys, and skips rows that another process is deleting.
func (s *Store) DeleteExpired(ctx context.Context, now time.Time, limit int) (int, error) {
	n, err := s.change(ctx, `DELETE FROM idempotency_keys WHERE key = ANY (ARRAY
		(SELECT key FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`, stamp(now), limit)
	return int(n), err
}
