package memory

import (
	"bytes"
	"context"
	"encoding/hex"
	"math"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Sealed lists what a database would seal: secrets are not sealed here, and answers as they were given.
func (s *Store) Sealed(ctx context.Context, kind reseal.Kind, after reseal.Key, limit int) (list []reseal.Sealed, err error) {
	done, err := s.read(ctx)
	defer done()
	add := func(k reseal.Key, value []byte) {
		if key(k).compare(key(after)) > 0 && len(list) < limit {
			list = append(list, reseal.Sealed{Kind: kind, Key: k, Value: value})
		}
	}
	if kind == reseal.Secret {
		for k, row := range s.secrets.all() {
			add(reseal.Key(k), []byte(row.Reveal()))
		}
		return list, err
	}
	for k, row := range s.answers.all() {
		if row.sealed != nil {
			add(reseal.Key{hex.EncodeToString([]byte(k[1]))}, row.sealed)
		}
	}
	return list, err
}

// Replace puts fresh in the place of what is there still.
func (s *Store) Replace(ctx context.Context, old reseal.Sealed, fresh []byte) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		if old.Kind == reseal.Secret {
			k := keyOf(tenant.ID(old.Key[0]), old.Key[1:]...)
			row, found := s.secrets.get(k)
			if !found || row.Reveal() != string(old.Value) {
				return nil
			}
			plain, err := secret.Parse(string(fresh))
			row.Secret = plain
			s.secrets.put(tx, k, row)
			return err
		}
		digest, err := hex.DecodeString(old.Key[0])
		if row, found := s.answers.get(keyOf("", string(digest))); found && bytes.Equal(row.sealed, old.Value) {
			row.sealed = fresh
			s.answers.put(tx, keyOf("", string(digest)), row)
		}
		return err
	})
}

// Mark keeps an answer that never expires.
func (s *Store) Mark(ctx context.Context, answer reseal.Sealed) (kept []byte, err error) {
	digest, err := hex.DecodeString(answer.Key[0])
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		k := keyOf("", string(digest))
		row, found := s.answers.get(k)
		if !found {
			row = storedAnswer{idempotency.Reservation{ExpiresAt: time.UnixMicro(math.MaxInt64)}, answer.Value}
			s.answers.put(tx, k, row)
		}
		kept = row.sealed
		return nil
	})
	return kept, err
}
