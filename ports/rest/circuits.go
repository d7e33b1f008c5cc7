package rest

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/circuit"
)

// Circuit is how much a subscription's receiver is spared.
type Circuit struct {
	State       string     `json:"state" enum:"closed,open,half_open" doc:"closed sends, open sends nothing of the backlog, half_open sends one probe."`
	Since       *time.Time `json:"since" doc:"Since when it does not get all that maxInFlight allows; null while it does."`
	NextProbeAt *time.Time `json:"nextProbeAt" doc:"When a probe is sent, if there is a backlog; null for a closed circuit."`
	Window      int        `json:"window" doc:"How much of the backlog is attempted at once." example:"16"`
}

// showCircuits adds the circuits as they are now.
func (a *API) showCircuits(ctx context.Context, views ...*Subscription) error {
	if len(views) == 0 {
		return nil
	}
	ids := make([]string, len(views))
	for i, v := range views {
		ids[i] = v.ID
	}
	now := a.Now()
	found, err := a.Circuits.Circuits(ctx, ownerOf(ctx), ids, now.Add(-dispatch.HeartbeatTimeout))
	if err != nil {
		return err
	}
	for _, v := range views {
		v.Circuit = viewCircuit(found[v.ID], v.MaxInFlight, now)
	}
	return nil
}

func viewCircuit(r circuit.Report, maxInFlight int, now time.Time) *Circuit {
	return &Circuit{State: string(r.State(now)), Since: unlessZero(r.Since), NextProbeAt: unlessZero(r.Until), Window: r.Limit(maxInFlight, now)}
}
