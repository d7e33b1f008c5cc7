package sqlite

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
)

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
