package reseal

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// checked is how many secrets are tried. Several, since one that is damaged must not keep the others from being used.
const checked = 10

// marker is sealed by the first process of a database and opened by all that start later. It is kept among the answers, under a key that no
// request's digest is, so that older binaries seal it anew with the rest.
var marker = Sealed{Kind: Answer, Key: Key{strings.Repeat("00", 32)}}

var errOtherKey = errors.New("the master key is not the one that sealed this database's secrets")

// Check fails unless the master key, or an older one beside it, opens what this database's processes seal: with another no delivery could
// be signed, and what is sealed with it would open in no other process.
func Check(ctx context.Context, store Store, sealer Sealer) error {
	if err := checkSecrets(ctx, store, sealer); err != nil {
		return err
	}
	fresh, err := sealer.Seal([]byte("master key"), marker.place()...)
	if err != nil {
		return err
	}
	kept := marker
	if kept.Value, err = store.Mark(ctx, Sealed{Kind: marker.Kind, Key: marker.Key, Value: fresh}); err != nil {
		return fmt.Errorf("mark the database with its master key: %w", err)
	}
	_, err = sealer.Open(kept.Value, kept.place()...)
	switch {
	case err == nil:
		return nil
	case sealer.Current(kept.Value): // it names this key, so it is damaged, and nothing else need be
		return store.Replace(ctx, kept, fresh)
	}
	return errOtherKey
}

// CheckUnsealed fails when this database's processes have sealed anything: their master key cannot be one that has yet to be made.
func CheckUnsealed(ctx context.Context, store Store) error {
	for _, kind := range []Kind{Secret, Answer} {
		found, err := store.Sealed(ctx, kind, Key{}, 1)
		if err != nil {
			return fmt.Errorf("look for what is sealed: %w", err)
		}
		if len(found) > 0 {
			return errOtherKey
		}
	}
	return nil
}

// checkSecrets fails when there are signing secrets and none of those tried opens: a database of an older version has no marker yet.
func checkSecrets(ctx context.Context, store Store, sealer Sealer) error {
	found, err := store.Sealed(ctx, Secret, Key{}, checked)
	if err != nil {
		return fmt.Errorf("look for signing secrets: %w", err)
	}
	for _, s := range found {
		if _, err := sealer.Open(s.Value, s.place()...); err == nil {
			return nil
		}
	}
	if len(found) > 0 {
		return errOtherKey
	}
	return nil
}
