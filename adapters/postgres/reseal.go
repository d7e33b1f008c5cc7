package postgres

import (
	"context"
	"encoding/hex"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/reseal"
)

const (
	sealedSecrets = `SELECT tenant_id, subscription_id, secret_id, sealed FROM secrets
WHERE (tenant_id, subscription_id, secret_id) > ($1, $2, $3) ORDER BY tenant_id, subscription_id, secret_id LIMIT $4`
	sealedAnswers = `SELECT key, sealed FROM idempotency_keys WHERE key > $1 AND sealed IS NOT NULL ORDER BY key LIMIT $2`
)

// Sealed lists what is sealed; see reseal.Store.
func (s *Store) Sealed(ctx context.Context, kind reseal.Kind, after reseal.Key, limit int) ([]reseal.Sealed, error) {
	if kind == reseal.Secret {
		return all(ctx, s.db.from(ctx), func(r pgx.Rows) (reseal.Sealed, error) {
			found := reseal.Sealed{Kind: kind}
			return found, r.Scan(&found.Key[0], &found.Key[1], &found.Key[2], &found.Value)
		}, sealedSecrets, after[0], after[1], after[2], limit)
	}
	behind, err := hex.DecodeString(after[0])
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db.from(ctx), func(r pgx.Rows) (reseal.Sealed, error) {
		found, digest := reseal.Sealed{Kind: kind}, []byte(nil)
		err := r.Scan(&digest, &found.Value)
		found.Key[0] = hex.EncodeToString(digest)
		return found, err
	}, sealedAnswers, behind, limit)
}

// Replace puts fresh in place of old, if that is still there.
func (s *Store) Replace(ctx context.Context, old reseal.Sealed, fresh []byte) error {
	if old.Kind == reseal.Secret {
		_, err := s.change(ctx, `UPDATE secrets SET sealed = $1 WHERE tenant_id = $2 AND subscription_id = $3 AND secret_id = $4 AND sealed = $5`,
			fresh, old.Key[0], old.Key[1], old.Key[2], old.Value)
		return err
	}
	digest, err := hex.DecodeString(old.Key[0])
	if err != nil {
		return err
	}
	_, err = s.change(ctx, `UPDATE idempotency_keys SET sealed = $1 WHERE key = $2 AND sealed = $3`, fresh, digest, old.Value)
	return err
}

// Mark keeps an answer that nothing deletes; see reseal.Store.
func (s *Store) Mark(ctx context.Context, answer reseal.Sealed) (kept []byte, err error) {
	digest, err := hex.DecodeString(answer.Key[0])
	if err != nil {
		return nil, err
	}
	if _, err := s.change(ctx, `INSERT INTO idempotency_keys (key, fingerprint, token, reserved_at, expires_at, sealed)
		VALUES ($1, '', '', 0, 9223372036854775807, $2) ON CONFLICT (key) DO NOTHING`, digest, answer.Value); err != nil {
		return nil, err
	}
	return one(ctx, s.db.from(ctx), value[[]byte], `SELECT sealed FROM idempotency_keys WHERE key = $1`, digest)
}
