// Package reseal seals anew what is sealed at rest, so that an old master key can be given up.
package reseal

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Kind is what is sealed.
type Kind string

// All that is sealed at rest.
const (
	Secret Kind = "signing secret"
	Answer Kind = "kept answer"
)

// Key is the primary key of a row: tenant, subscription and ID of a secret, or the digest of an answer in hexadecimal.
type Key [3]string

// Sealed is a value as it is stored.
type Sealed struct {
	Kind  Kind
	Key   Key
	Value []byte
}

// SecretPlace is the associated texts that a signing secret is sealed for.
func SecretPlace(owner tenant.ID, subscriptionID, secretID string) []string {
	return []string{string(owner), "signing-secret", subscriptionID, secretID}
}

// AnswerPlace is the associated texts that an answer is sealed for; digest is in hexadecimal.
func AnswerPlace(digest string) []string { return []string{"idempotency", digest} }

// place is what the value was sealed for.
func (s Sealed) place() []string {
	if s.Kind == Secret {
		return SecretPlace(tenant.ID(s.Key[0]), s.Key[1], s.Key[2])
	}
	return AnswerPlace(s.Key[0])
}

// Store keeps sealed values.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// Sealed lists values of a kind in the order of their keys, beginning behind after.
	Sealed(ctx context.Context, kind Kind, after Key, limit int) ([]Sealed, error)
	// Replace replaces the value by fresh, unless it is gone or has changed.
	Replace(ctx context.Context, s Sealed, fresh []byte) error
	// Mark keeps an answer for ever unless there is one under its key, and returns what is there then.
	Mark(ctx context.Context, answer Sealed) (kept []byte, err error)
}

// Sealer seals with the newest of its keys and opens with all of them.
type Sealer interface {
	// Current reports whether the value was sealed with the newest key.
	Current(sealed []byte) bool
	Seal(plain []byte, associated ...string) ([]byte, error)
	Open(sealed []byte, associated ...string) ([]byte, error)
}

// Counts is what was found: how many values, and how many of them were sealed anew.
type Counts struct {
	Values, Resealed int
}

// Bounds of the work.
const (
	atOnce   = 200
	maxWalks = 5
)

// All seals everything with the newest key, a little at a time, while other processes work with the same keys. It walks again
// until it finds nothing to do, to catch what they sealed meanwhile. It may be interrupted and repeated at any moment. A value
// that does not open stays as it is and is reported as an error at the end: its key must not be given up.
func All(ctx context.Context, store Store, sealer Sealer) (total Counts, err error) {
	for range maxWalks {
		walked, err := walk(ctx, store, sealer)
		total.Values, total.Resealed = walked.Values, total.Resealed+walked.Resealed
		if err != nil || walked.Resealed == 0 {
			return total, err
		}
	}
	return total, errors.New("others go on sealing with an older key: give every process the new key as the first, and repeat")
}

func walk(ctx context.Context, store Store, sealer Sealer) (c Counts, err error) {
	var failed []error
	for _, kind := range []Kind{Secret, Answer} {
		for after := (Key{}); ; {
			page, err := store.Sealed(ctx, kind, after, atOnce)
			if err != nil {
				return c, fmt.Errorf("list what is sealed: %w", err)
			}
			resealed, errs := renewed(sealer, page)
			failed = append(failed, errs...)
			if err := replace(ctx, store, resealed); err != nil {
				return c, err
			}
			c.Values, c.Resealed = c.Values+len(page), c.Resealed+len(resealed)
			if len(page) < atOnce {
				break
			}
			after = page[len(page)-1].Key
		}
	}
	if len(failed) > 0 {
		return c, fmt.Errorf("%d of %d values do not open with the master keys given; the first: %w", len(failed), c.Values, failed[0])
	}
	return c, nil
}

// fresh is a value beside what is to take its place.
type fresh struct {
	Sealed
	value []byte
}

// renewed is those of the page that are to be replaced, and why others cannot be.
func renewed(sealer Sealer, page []Sealed) (list []fresh, failed []error) {
	for _, s := range page {
		value, err := renew(sealer, s)
		if err != nil {
			failed = append(failed, err)
		}
		if value != nil {
			list = append(list, fresh{s, value})
		}
	}
	return list, failed
}

// replace is one transaction: with a million answers a commit for each takes an hour, in which a service with a key file stands still.
func replace(ctx context.Context, store Store, list []fresh) error {
	if len(list) == 0 {
		return nil
	}
	return store.InTx(ctx, func(ctx context.Context) error {
		for _, f := range list {
			if err := store.Replace(ctx, f.Sealed, f.value); err != nil {
				return fmt.Errorf("replace a %s: %w", f.Kind, err)
			}
		}
		return nil
	})
}

// renew seals the value with the newest key; nil when it is sealed so already.
func renew(sealer Sealer, s Sealed) ([]byte, error) {
	plain, err := sealer.Open(s.Value, s.place()...)
	if err != nil {
		return nil, fmt.Errorf("the %s %s: %w", s.Kind, s.Key[0]+"/"+s.Key[1]+"/"+s.Key[2], err)
	}
	if sealer.Current(s.Value) {
		return nil, nil
	}
	return sealer.Seal(plain, s.place()...)
}
