// Package share lends what all tenants use, a few times at once, in turns by tenant: nobody waits for all that one tenant has asked for.
package share

import (
	"context"

	"github.com/ordinavo/webhooks/domain/tenant"
)

type ownerKey struct{}

// For makes what is done under the context something that a user has asked for, on behalf of the tenant; the empty one is for what concerns
// none.
func For(ctx context.Context, owner tenant.ID) context.Context {
	return context.WithValue(ctx, ownerKey{}, owner)
}

// Of is on whose behalf something is done; asked is false for the service's own work.
func Of(ctx context.Context) (owner tenant.ID, asked bool) {
	owner, asked = ctx.Value(ownerKey{}).(tenant.ID)
	return owner, asked
}

// Own makes what is done under the context the service's own again: a step that each event waits for, or the end of what a user has begun, which
// does not wait for what others, or the same, only ask for.
func Own(ctx context.Context) context.Context { return context.WithValue(ctx, ownerKey{}, nil) }
