package access_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// full is a store where every tenant has live keys already.
type full struct {
	access.KeyStore
	live int
}

func (f full) CountKeys(context.Context, tenant.ID, time.Time) (int, error) { return f.live, nil }

func TestLiveKeysOfATenantAreBounded(t *testing.T) {
	w := newWorld(t)
	made := 0
	create := func(live int, owner tenant.ID) error {
		id := func(prefix string) string { made++; return prefix + strings.Repeat("1", made) }
		_, _, err := access.NewKeys(full{w.counting, live}, func() time.Time { return start }, id, rand.Reader).Create(t.Context(), operator, reading(owner))
		return err
	}
	if err := create(access.MaxLivePerTenant-1, "acme"); err != nil {
		t.Error(err)
	}
	if err := create(access.MaxLivePerTenant, "acme"); !problem.Is(err, problem.Forbidden) {
		t.Errorf("one more than may be: %v", err)
	}
	if err := create(access.MaxLivePerTenant, ""); err != nil {
		t.Errorf("a platform key: %v", err)
	}
}
