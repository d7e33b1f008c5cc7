package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/access"
)

// SetAside says why an event could not be handled.
type SetAside struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Retried says who had an event handled again.
type Retried struct {
	At time.Time `json:"at"`
	By ChangedBy `json:"by"`
}

func (a *API) routeRetryEvent() {
	register(a, operation{id: "retryEvent", method: http.MethodPost, path: pathEvents + "/{eventId}/retry", tag: tagEvents, scope: access.DeliveriesRetry, perTenant: true,
		status: http.StatusAccepted, summary: "Handle an event again that was set aside",
		description: "An event that could not be handled is set aside, with the reason, and the others go on; GET /v1/events?setAside=true lists such events. " +
			"This has it fanned out again, to the subscriptions as they are now. It keeps its eventId, and nothing of it has been sent before. " +
			"409 says that it is not set aside: what became of it is sent again by retrying its deliveries, or by a replay."}, a.retryEvent)
}

func (a *API) retryEvent(ctx context.Context, in *eventInput) (*EventDetailOutput, error) {
	return once(ctx, a, http.StatusAccepted, func(ctx context.Context) (*EventDetailOutput, error) {
		if err := a.EventRetries.Retry(ctx, ownerOf(ctx), in.ID, a.actor(ctx)); err != nil {
			return nil, err
		}
		return a.getEvent(ctx, in) // it is not fanned out yet: there is not much to read
	})
}

func viewSetAside(p *fanout.SetAside) *SetAside {
	if p == nil {
		return nil
	}
	return &SetAside{p.Reason, p.At.UTC()}
}

func viewRetried(r *queries.Retried) *Retried {
	if r == nil {
		return nil
	}
	return &Retried{r.At.UTC(), ChangedBy{unlessEmpty(r.KeyID), r.KeyName}}
}
