package fanout

import (
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Tally counts what became of the events of one tenant that were accepted in one hour.
type Tally struct {
	Tenant tenant.ID
	Hour   time.Time // its beginning
	reconciliation.Counted
	Position                    int64  // of the events' record
	FirstDelivery, LastDelivery string // by ID; empty when there is none
}

// count adds an event whose deliveries are the last of the plan from the number on.
func (b *batch) count(m *matched, from int, setAside bool) {
	t := b.tally(m.event)
	scheduled := b.plan.Scheduled[from:]
	t.Events++
	t.Expected += m.governing
	t.Deliveries += len(scheduled)
	t.NotMatched += m.governing - m.wanting
	t.FeatureGated += m.gated
	if setAside {
		t.SetAside += m.wanting - m.gated
	}
	for _, s := range scheduled {
		if t.FirstDelivery == "" || s.Delivery.ID < t.FirstDelivery {
			t.FirstDelivery = s.Delivery.ID
		}
		t.LastDelivery = max(t.LastDelivery, s.Delivery.ID)
	}
}

func (b *batch) tally(e intake.Accepted) *Tally {
	hour := e.At.UTC().Truncate(reconciliation.Span)
	for i := range b.tallies {
		if t := &b.tallies[i]; t.Tenant == e.TenantID && t.Hour.Equal(hour) {
			return t
		}
	}
	b.tallies = append(b.tallies, Tally{Tenant: e.TenantID, Hour: hour, Position: b.position})
	return &b.tallies[len(b.tallies)-1]
}
