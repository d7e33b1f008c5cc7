package rest_test

import (
	"context"
	"fmt"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func (f *fake) Resolve(_ context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	contexts := make([]payload.Context, len(lookups))
	for i, l := range lookups {
		contexts[i] = f.resolve(l)
	}
	return contexts, f.fail
}

func (f *fake) resolve(l fanout.Lookup) payload.Context {
	c := payload.Context{ExternalIDs: map[payload.Ref]string{}}
	for _, ref := range l.References {
		if external, ok := f.external[fmt.Sprint(l.SourceSystem, ref.Kind, ref.ID)]; ok {
			c.ExternalIDs[ref] = external
		}
		if found, ok := f.customers[ref.ID]; ok && ref.Kind == payload.KindCustomer {
			c.Customer = &found
		}
		if found, ok := f.locations[ref.ID]; ok && ref.Kind == payload.KindLocation {
			c.Location = &found
		}
		if found, ok := f.contacts[ref.ID]; ok && ref.Kind == payload.KindContact {
			c.Contact = &found
		}
	}
	return c
}

// OpenSecret opens the one secret that the harness makes.
func (f *fake) OpenSecret(context.Context, tenant.ID, string, string) (secret.Secret, error) {
	return secret.FromBytes([32]byte{1}), f.fail
}
