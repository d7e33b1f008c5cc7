package access

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/access"
)

// everybody is a store to which every text is a key.
type everybody struct{ KeyStore }

func (everybody) KeyByHash(context.Context, Hash) (access.Key, error) {
	return access.Key{ID: "key_1"}, nil
}

func TestTheCacheIsBounded(t *testing.T) {
	keys := NewKeys(everybody{}, func() time.Time { return time.Unix(1e9, 0) }, nil, nil)
	for i := range 2*maxCachedKeys + 10 {
		if _, err := keys.Authenticate(t.Context(), fmt.Sprintf("ord_live_%020d", i)); err != nil {
			t.Fatal(err)
		}
		if len(keys.cached) > maxCachedKeys {
			t.Fatalf("%d keys are cached", len(keys.cached))
		}
	}
}
