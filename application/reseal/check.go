package reseal

import (
	"context"
	"errors"
	"fmt"
)

// checked is how many secrets are tried. Several, since one that is damaged must not keep the others from being used.
const checked = 10

// Check fails when there are signing secrets and none of those tried opens: with such a master key no delivery could be signed,
// and what is sealed with it would open in no other process.
func Check(ctx context.Context, store Store, sealer Sealer) error {
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
		return errors.New("the master key is not the one that sealed this database's signing secrets")
	}
	return nil
}
