package rest

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const headerTenant = "X-Ordinavo-Tenant"

// authorize lets a request through if its key may call the route, and notes key and tenant in the request's record.
func (a *API) authorize(o operation) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if err := a.admit(ctx.Context(), humafiber.Unwrap(ctx), o); err != nil {
			a.refuse(ctx, err)
			return
		}
		r := recordFrom(ctx.Context())
		next(huma.WithContext(ctx, share.For(ctx.Context(), cmp.Or(r.owner, r.caller.Tenant))))
	}
}

// refuse answers with a problem.
func (a *API) refuse(ctx huma.Context, err error) {
	c := humafiber.Unwrap(ctx)
	if failed := a.answerError(c, err); failed != nil {
		panic(failed) // a Problem can always be encoded
	}
}

func (a *API) admit(ctx context.Context, c *fiber.Ctx, o operation) error {
	if err := plainlyRouted(c); err != nil {
		return err
	}
	text, err := bearer(c.Get(fiber.HeaderAuthorization))
	if err == nil {
		recordFrom(ctx).caller, err = a.Keys.Authenticate(ctx, text)
	}
	if err != nil {
		if problem.Is(err, problem.Unauthorized) {
			c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
		}
		return err
	}
	caller := recordFrom(ctx).caller
	if err := a.limits.take(c, caller); err != nil {
		return err
	}
	if o.scope != "" && !caller.Allows(o.scope) {
		return missingScope(o.scope)
	}
	if caller.SubscriptionID != "" && !o.forBound {
		return problem.New(problem.Forbidden, "This key is bound to one subscription; the route is not about it.")
	}
	if o.allow != nil {
		if err := o.allow(caller); err != nil {
			return err
		}
	}
	named := c.Get(headerTenant)
	switch {
	case o.perTenant:
		return a.actFor(ctx, caller, named)
	case named != "" && !caller.IsPlatform() && tenant.ID(named) != caller.Tenant: // or it would be answered for its own
		return noSuchTenant()
	default:
		return nil
	}
}

// bearer takes the key out of the header (RFC 6750; the scheme's case does not matter).
func bearer(header string) (string, error) {
	scheme, key, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", problem.New(problem.Unauthorized, "Send the API key as: Authorization: Bearer ord_live_…")
	}
	return strings.TrimSpace(key), nil
}

func missingScope(scope access.Scope) error {
	return &problem.Error{Code: problem.MissingScope, Detail: "The key lacks the scope " + string(scope) + ".", RequiredScope: string(scope)}
}

// actFor finds the tenant that the request is about. For a tenant's key, other tenants do not exist.
func (a *API) actFor(ctx context.Context, caller access.Key, named string) error {
	owner := tenant.ID(named)
	if named == "" {
		owner = caller.Tenant
	}
	switch {
	case owner == "":
		return problem.Invalid(headerTenant, "is missing: a platform key names its tenant here")
	case !owner.Valid():
		return problem.Invalid(headerTenant, tenant.IDRule)
	case !caller.IsPlatform() && owner != caller.Tenant:
		return noSuchTenant()
	case caller.IsPlatform():
		if _, err := a.Tenants.Store.Tenant(ctx, owner); problem.Is(err, problem.NotFound) {
			return noSuchTenant()
		} else if err != nil {
			return err
		}
	}
	recordFrom(ctx).owner = owner
	return nil
}

func noSuchTenant() error { return problem.New(problem.NotFound, "There is no such tenant.") }

// fieldsOf is what a refusal says about fields; nil when it says nothing.
func fieldsOf(err error) map[string][]string {
	var refused *problem.Error
	if errors.As(err, &refused) {
		return refused.Fields
	}
	return nil
}

// callerOf is the key that the request came with.
func callerOf(ctx context.Context) access.Key { return recordFrom(ctx).caller }

// ownerOf is the tenant that the request acts for.
func ownerOf(ctx context.Context) tenant.ID { return recordFrom(ctx).owner }

// lane names a subscription of the request's tenant. For a key that is bound to one, there is no other.
func lane(ctx context.Context, subscriptionID string) (dispatch.Lane, error) {
	if bound := callerOf(ctx).SubscriptionID; bound != "" && bound != subscriptionID {
		return dispatch.Lane{}, subscription.ErrNotFound
	}
	return dispatch.Lane{Tenant: ownerOf(ctx), SubscriptionID: subscriptionID}, nil
}

// actor is the caller as a change's metadata names it.
func (a *API) actor(ctx context.Context) subscriptions.Actor {
	caller := callerOf(ctx)
	return subscriptions.Actor{KeyID: caller.ID, KeyName: caller.Name, TraceParent: a.TraceParent(ctx)}
}
