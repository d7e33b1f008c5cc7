package rest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/share"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/rest"
)

// sharing notes on whose behalf a store is used.
type sharing struct {
	*fake
	told []tenant.ID
}

func (s *sharing) note(ctx context.Context) {
	if owner, asked := share.Of(ctx); asked {
		s.told = append(s.told, owner)
	}
}

func (s *sharing) Keys(ctx context.Context, owner tenant.ID, page access.Page) ([]domain.Key, error) {
	s.note(ctx)
	return s.fake.Keys(ctx, owner, page)
}

func (s *sharing) Upsert(ctx context.Context, owner tenant.ID, b directory.Batch) error {
	s.note(ctx)
	return s.fake.Upsert(ctx, owner, b)
}

func (s *sharing) Record(ctx context.Context, owner tenant.ID, ref payload.Ref) (payload.Context, error) {
	s.note(ctx)
	return s.fake.Record(ctx, owner, ref)
}

func (s *sharing) Reserve(ctx context.Context, r idempotency.Reservation, takeOver time.Time) (*idempotency.Found, error) {
	s.note(ctx)
	return s.fake.Reserve(ctx, r, takeOver)
}

// Answer is how a request ends, whose change is made: it does not wait for the tenant's other requests.
func (s *sharing) Answer(ctx context.Context, key idempotency.Key, token string, sealed []byte) (bool, error) {
	s.note(ctx)
	return s.fake.Answer(ctx, key, token, sealed)
}

// Whatever a request reads and writes takes the share of the tenant that it acts for; without one, that of its key's.
func TestARequestTakesItsTenantsShare(t *testing.T) {
	s := &sharing{}
	h := newHarness(t, func(d *rest.Dependencies) {
		s.fake = d.Directory.(*fake)
		d.Directory, d.Keys = s, access.NewKeys(s, d.Now, nextID, nil)
		d.Idempotency = idempotency.New(s, s.fake, d.Now, func() string { return nextID("tok_") })
	})
	for _, c := range []struct {
		key, method, path, body string
		headers                 []string
		want                    []tenant.ID
	}{
		{h.admin, "GET", "/v1/api-keys", "", nil, []tenant.ID{own}},
		{h.platform, "GET", "/v1/api-keys", "", nil, []tenant.ID{""}},
		{h.other, "POST", "/v1/directory", `{}`, nil, []tenant.ID{alien}},
		{h.platform, "POST", "/v1/directory", `{}`, []string{"X-Ordinavo-Tenant", own, "Idempotency-Key", "k"}, []tenant.ID{own, own}},
		{h.platform, "GET", "/v1/directory/customers/1", "", []string{"X-Ordinavo-Tenant", alien}, []tenant.ID{alien}},
	} {
		s.told = nil
		h.call(c.key, c.method, c.path, c.body, c.headers...)
		if !slices.Equal(s.told, c.want) {
			t.Errorf("%s %s took the share of %q, want %q", c.method, c.path, s.told, c.want)
		}
	}
}
