package simulation

import (
	"context"
	"crypto/sha256"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// rendered is a delivery that a step of a job has made of an event that was there, with what it has to send. It may have
// been rolled back.
type rendered struct {
	job     string
	missing bool // its subscription had none of the event
	body    [32]byte
}

// renders notes what a replay makes anew, and what the subscription and the directory as they are now make of each event.
func (w *world) renders(ctx context.Context, id string, plan fanout.Plan) {
	for _, s := range plan.Scheduled {
		d := s.Delivery
		j, err := w.store.Job(ctx, d.Tenant, id)
		must(err)
		sub, err := w.store.LoadSubscription(ctx, dispatch.LaneOf(d))
		must(err)
		if d.SubscriptionVersion != sub.Version {
			w.violate("I2", "%s was rendered with version %d of %s, which is at %d", d.ID, d.SubscriptionVersion, sub.ID, sub.Version)
		}
		events, err := w.store.Events(ctx, []intake.EventKey{{Tenant: d.Tenant, ID: d.EventID}})
		must(err)
		contexts, err := w.store.Resolve(ctx, []fanout.Lookup{{Tenant: d.Tenant, SourceSystem: sub.SourceSystem, References: payload.References(events[0].Event, sub.Options)}})
		must(err)
		billing, err := w.store.TenantHasFeature(ctx, d.Tenant, tenant.BillingWebhooks)
		must(err)
		body, _ := payload.Render(events[0].Event, payload.View{Options: sub.Options, Billing: billing}, contexts[0])
		w.journal.rendered[d.ID] = rendered{id, j.Mode == job.Missing, sha256.Sum256(body)}
		w.counts.Rerendered++
	}
}

// checkRendered is I2 for a replay that rendered anew: what is sent is what it rendered.
func (w *world) checkRendered(s *send) {
	if by, is := w.journal.rendered[s.delivery]; is && by.body != s.body {
		w.violate("I2", "%s was sent with other bytes than %s had to render", s.delivery, by.job)
	}
}

// checkKept is I2 for what was sent: in the end the bytes are kept that each attempt sent, whatever was rendered anew since.
func (w *world) checkKept(ctx context.Context, row memory.Row) {
	body, err := w.store.Body(ctx, row.Delivery)
	if err != nil {
		w.violate("I1", "%s is %s, and its body is gone: %v", row.ID, row.Status, err)
	}
	for _, s := range w.journal.byDelivery[row.ID] {
		if s.body != sha256.Sum256(body) {
			w.violate("I2", "%s was sent with bytes that are kept no more", row.ID)
		}
	}
}
