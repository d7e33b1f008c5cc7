package rest_test

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

func (f *fake) CountKeys(_ context.Context, owner tenant.ID, now time.Time) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.keys {
		if k.Tenant == owner && k.Live(now) {
			n++
		}
	}
	return n, f.fail
}
