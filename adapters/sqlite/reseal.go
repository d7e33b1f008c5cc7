package sqlite

import (
	"context"
	"database/sql"
	"encoding/hex"

	"github.com/ordinavo/webhooks/application/reseal"
)

const (
	sealedSecrets = `SELECT tenant_id, subscription_id, secret_id, sealed FROM secrets
		WHERE (tenant_id, subscription_id, secret_id) > (?1, ?2, ?3) ORDER BY tenant_id, subscription_id, secret_id LIMIT ?4`
	sealedAnswers = `SELECT key, sealed FROM idempotency_keys WHERE key > ?1 AND sealed IS NOT NULL ORDER BY key LIMIT ?2`
)

// Sealed lists sealed values; see reseal.Store.
func (s *Store) Sealed(ctx context.Context, kind reseal.Kind, after reseal.Key, limit int) ([]reseal.Sealed, error) {
	if kind == reseal.Secret {
		return all(ctx, s.db, func(r *sql.Rows) (reseal.Sealed, error) {
			found := reseal.Sealed{Kind: kind}
			return found, r.Scan(&found.Key[0], &found.Key[1], &found.Key[2], &found.Value)
		}, sealedSecrets, after[0], after[1], after[2], limit)
	}
	digest, err := hex.DecodeString(after[0])
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db, func(r *sql.Rows) (reseal.Sealed, error) {
		found := reseal.Sealed{Kind: kind}
		err := r.Scan(&digest, &found.Value)
		found.Key[0] = hex.EncodeToString(digest)
		return found, err
	}, sealedAnswers, digest, limit)
}

// Replace writes fresh if the old value is still there.
func (s *Store) Replace(ctx context.Context, old reseal.Sealed, fresh []byte) error {
	if old.Kind == reseal.Secret {
		_, err := s.change(ctx, `UPDATE secrets SET sealed = ? WHERE tenant_id = ? AND subscription_id = ? AND secret_id = ? AND sealed = ?`,
			fresh, old.Key[0], old.Key[1], old.Key[2], old.Value)
		return err
	}
	digest, err := hex.DecodeString(old.Key[0])
	if err != nil {
		return err
	}
	_, err = s.change(ctx, `UPDATE idempotency_keys SET sealed = ? WHERE key = ? AND sealed = ?`, fresh, digest, old.Value)
	return err
}

// Mark keeps an answer that nothing deletes; see reseal.Store.
func (s *Store) Mark(ctx context.Context, answer reseal.Sealed) (kept []byte, err error) {
	digest, err := hex.DecodeString(answer.Key[0])
	if err != nil {
		return nil, err
	}
	if _, err := s.change(ctx, `INSERT INTO idempotency_keys (key, fingerprint, token, reserved_at, expires_at, sealed)
		VALUES (?1, x'', '', 0, 9223372036854775807, ?2) ON CONFLICT (key) DO NOTHING`, digest, answer.Value); err != nil {
		return nil, err
	}
	return one(ctx, s.db, value[[]byte], `SELECT sealed FROM idempotency_keys WHERE key = ?`, digest)
}
