package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// SubscriptionRef names a subscription in the path.
type SubscriptionRef struct {
	ID string `path:"subscriptionId" maxLength:"100"`
}

// SubscriptionOutput is a subscription as an answer.
type SubscriptionOutput struct {
	ETag string `header:"ETag"`
	Body Subscription
}

// SecretOutput is a subscription with its new secret as an answer.
type SecretOutput struct {
	ETag string `header:"ETag"`
	Body SubscriptionWithSecret
}

// CreatedOutput is a new subscription as an answer.
type CreatedOutput struct {
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Body     SubscriptionWithSecret
}

type newSubscriptionInput struct{ Body NewSubscription }

type subscriptionInput struct {
	SubscriptionRef
	At      queryTime `query:"at" doc:"Shows it as it was at this moment, RFC 3339. 404 before it was created and after it was deleted."`
	Version int64     `query:"version" minimum:"1" doc:"Shows it as its changes up to this version left it; not together with at."`
}

type changeInput struct {
	SubscriptionRef
	Condition
}

type patchInput struct {
	SubscriptionRef
	Condition
	Body SubscriptionPatch
}

func (a *API) routeSubscriptions() {
	const path = "/v1/subscriptions"
	const one = path + "/{subscriptionId}"
	notFound := []int{http.StatusNotFound}
	register(a, operation{id: "createSubscription", method: http.MethodPost, path: path, tag: tagSubscriptions, scope: access.WebhooksManage, perTenant: true,
		status: http.StatusCreated, summary: "Begin a subscription", description: "The answer has the signing secret, which is not shown again.",
		example: map[string]any{"name": "SAP", "url": "https://erp.example.com/hook", "eventTypes": []string{"visit_report.*"}, "sourceSystem": "sap"},
		rules:   a.subscriptionBreaches}, a.createSubscription)
	register(a, operation{id: "listSubscriptions", method: http.MethodGet, path: path, tag: tagSubscriptions, scope: access.WebhooksRead, perTenant: true, forBound: true,
		summary: "List the tenant's subscriptions"}, a.listSubscriptions)
	register(a, operation{id: "getSubscription", method: http.MethodGet, path: one, tag: tagSubscriptions, scope: access.WebhooksRead, perTenant: true, forBound: true,
		statuses: notFound, summary: "Get a subscription", description: "As it is now, or as it was: also what was deleted meanwhile."}, a.getSubscription)
	register(a, operation{id: "getSubscriptionHistory", method: http.MethodGet, path: one + "/history", tag: tagSubscriptions, scope: access.WebhooksRead, perTenant: true, forBound: true,
		statuses: notFound, summary: "Who changed what, and when", description: "Straight from the subscription's event stream, newest first; a deleted subscription keeps its history."}, a.history)
	register(a, operation{id: "updateSubscription", method: http.MethodPatch, path: one, tag: tagSubscriptions, scope: access.WebhooksManage, perTenant: true, forBound: true,
		statuses: notFound, summary: "Change a subscription", description: "What is absent stays as it is. url, timeoutSeconds, maxInFlight and retrySchedule hold, within a second, for every attempt from then on, " +
			"those of deliveries that wait for their next one too. eventTypes, sourceSystem and payloadOptions hold for events that are accepted from then on: " +
			"what is a delivery already is sent as it was rendered; a replay with the mode rerender renders it anew.",
		example: map[string]any{"eventTypes": []string{"visit_report.approved"}},
		rules:   a.subscriptionBreaches}, a.updateSubscription)
	register(a, operation{id: "deleteSubscription", method: http.MethodDelete, path: one, tag: tagSubscriptions, scope: access.WebhooksManage, perTenant: true, forBound: true,
		statuses: notFound, status: http.StatusNoContent, summary: "Delete a subscription", description: "What is on its way is cancelled."}, a.deleteSubscription)
	a.routeCounts(one)
	a.routeSubscriptionActions(one)
}

func (a *API) createSubscription(ctx context.Context, in *newSubscriptionInput) (*CreatedOutput, error) {
	edit, err := in.Body.edit()
	if err != nil {
		return nil, a.breaches(in.Body.SubscriptionPatch)
	}
	settings := subscription.Settings{
		Timeout: subscription.DefaultTimeout, MaxInFlight: subscription.DefaultMaxInFlight, Options: payload.DefaultOptions(),
	}
	edit(&settings)
	var then []subscriptions.Decision
	if in.Body.Status.value == string(subscription.StatusPaused) {
		then = append(then, pause)
	}
	checked, err := a.Subscriptions.Check(settings)
	if err != nil {
		return nil, err
	}
	return once(ctx, a, http.StatusCreated, func(ctx context.Context) (*CreatedOutput, error) {
		made, secret, err := a.Subscriptions.Create(ctx, ownerOf(ctx), checked, a.actor(ctx), then...)
		if err != nil {
			return nil, err
		}
		return &CreatedOutput{ETag: etag(made.Version), Location: "/v1/subscriptions/" + made.ID,
			Body: SubscriptionWithSecret{viewSubscription(made, a.Now()), secret.Reveal()}}, nil
	})
}

func (a *API) listSubscriptions(ctx context.Context, in *listInput) (*PageOutput[Subscription], error) {
	l := a.listOf(ctx, "subscriptions", in.Paging)
	after, err := l.after()
	if err != nil {
		return nil, err
	}
	found, err := a.subscriptionsAfter(ctx, after, l.fetch())
	if err != nil {
		return nil, err
	}
	page, err := pageOf(l, found, func(s subscription.Subscription) string { return s.ID },
		func(s subscription.Subscription) Subscription { return viewSubscription(s, a.Now()) })
	if err != nil {
		return nil, err
	}
	views := make([]*Subscription, len(page.Body.Data))
	for i := range views {
		views[i] = &page.Body.Data[i]
	}
	return page, a.showCircuits(ctx, views...)
}

// subscriptionsAfter lists what the caller may see: for a bound key its one subscription.
func (a *API) subscriptionsAfter(ctx context.Context, after string, limit int) ([]subscription.Subscription, error) {
	bound := callerOf(ctx).SubscriptionID
	if bound == "" {
		return a.SubscriptionList.ListSubscriptions(ctx, ownerOf(ctx), after, limit)
	}
	only, err := a.Subscriptions.Get(ctx, dispatch.Lane{Tenant: ownerOf(ctx), SubscriptionID: bound})
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	}
	return []subscription.Subscription{only}, err
}

func (a *API) getSubscription(ctx context.Context, in *subscriptionInput) (*SubscriptionOutput, error) {
	l, err := lane(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Version != 0 && in.At.given:
		return nil, problem.Invalid("version", "cannot be together with at")
	case in.Version != 0:
		return a.subscriptionOutput(a.History.Version(ctx, l, in.Version))
	case in.At.given:
		return a.subscriptionAt(ctx, l, in.At.Time)
	}
	out, err := a.subscriptionOutput(a.Subscriptions.Get(ctx, l))
	if err != nil {
		return nil, err
	}
	return out, a.showCircuits(ctx, &out.Body)
}

// subscriptionAt shows the subscription as it was then, with the rotation that was under way.
func (a *API) subscriptionAt(ctx context.Context, l dispatch.Lane, at time.Time) (*SubscriptionOutput, error) {
	if at.After(a.Now()) {
		return nil, problem.Invalid("at", "is in the future")
	}
	if err := checkYear("at", &at); err != nil {
		return nil, err
	}
	then, err := a.History.At(ctx, l, at)
	if err != nil {
		return nil, err
	}
	return &SubscriptionOutput{ETag: etag(then.Version), Body: viewSubscription(then, at)}, nil
}

func (a *API) subscriptionOutput(s subscription.Subscription, err error) (*SubscriptionOutput, error) {
	if err != nil {
		return nil, err
	}
	return &SubscriptionOutput{ETag: etag(s.Version), Body: viewSubscription(s, a.Now())}, nil
}

// updateSubscription changes settings and status together, or neither.
func (a *API) updateSubscription(ctx context.Context, in *patchInput) (*SubscriptionOutput, error) {
	l, version, err := a.target(ctx, in.SubscriptionRef, in.Condition)
	if err != nil {
		return nil, err
	}
	edit, err := in.Body.edit()
	if err != nil {
		return nil, a.breaches(in.Body)
	}
	update, err := a.Subscriptions.PrepareUpdate(ctx, l, version, a.actor(ctx), edit, toStatus(in.Body.Status)...)
	if err != nil {
		return nil, err
	}
	return a.changeOnce(ctx, update)
}

// changeOnce answers with the subscription as the change left it.
func (a *API) changeOnce(ctx context.Context, change func(context.Context) (subscription.Subscription, error)) (*SubscriptionOutput, error) {
	return once(ctx, a, http.StatusOK, func(ctx context.Context) (*SubscriptionOutput, error) {
		return a.subscriptionOutput(change(ctx))
	})
}

func toStatus(wanted optional[string]) []subscriptions.Decision {
	switch {
	case !wanted.set:
		return nil
	case wanted.value == string(subscription.StatusPaused):
		return []subscriptions.Decision{pause}
	default:
		return []subscriptions.Decision{resume}
	}
}

func pause(now subscription.Subscription, at time.Time) ([]subscription.Change, error) {
	return now.Pause("", at)
}

func resume(now subscription.Subscription, at time.Time) ([]subscription.Change, error) {
	return now.Resume(false, at)
}

func (a *API) deleteSubscription(ctx context.Context, in *changeInput) (*struct{}, error) {
	l, version, err := a.target(ctx, in.SubscriptionRef, in.Condition)
	if err != nil {
		return nil, err
	}
	return once(ctx, a, http.StatusNoContent, func(ctx context.Context) (*struct{}, error) {
		return &struct{}{}, a.Subscriptions.Delete(ctx, l, version, a.actor(ctx))
	})
}

// overlapOf is a rotation's overlap; the default is a day (contract, section 4).
func overlapOf(in *Rotation) time.Duration {
	if in == nil || in.OverlapHours == nil {
		return 24 * time.Hour
	}
	return time.Duration(*in.OverlapHours) * time.Hour
}
