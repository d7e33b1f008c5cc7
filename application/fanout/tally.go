package fanout

import (
	"time"

	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Tally counts what became of the events of one tenant that were accepted in one hour.
type Tally struct {
	Tenant tenant.ID
	Hour   time.Time // its beginning
	reconciliation.Counted
	FirstPosition, LastPosition int64  // of the events' records
	FirstDelivery, LastDelivery string // by ID; empty when there is none
}

// tenantHour identifies a Tally.
type tenantHour struct {
	owner  tenant.ID
	begins time.Time
}

// count adds an event whose deliveries are those of the plan from the index on.
func (b *batch) count(m *matched, from int) {
	t := b.tally(m)
	scheduled := b.plan.Scheduled[from:]
	t.Deliveries += len(scheduled)
	t.NotMatched += m.governing - m.wanting
	for _, s := range scheduled {
		if t.FirstDelivery == "" || s.Delivery.ID < t.FirstDelivery {
			t.FirstDelivery = s.Delivery.ID
		}
		t.LastDelivery = max(t.LastDelivery, s.Delivery.ID)
	}
}

// setAside notes an event that cannot be handled, with what is counted of it.
func (b *batch) setAside(m *matched, reason error) {
	p := SetAside{Tenant: m.event.TenantID, EventID: m.event.ID, Reason: reason.Error(), At: b.now,
		NotMatched: m.governing - m.wanting, FeatureGated: m.gated, SetAside: m.wanting - m.gated}
	b.plan.SetAside = append(b.plan.SetAside, p)
	t := b.tally(m)
	t.NotMatched += p.NotMatched
	t.SetAside += p.SetAside
}

// tally adds an event to the tally of its tenant and hour, with what was found out whatever became of it.
func (b *batch) tally(m *matched) *Tally {
	of := tenantHour{m.event.TenantID, reconciliation.HourOf(m.event.At)}
	at, known := b.tallied[of]
	if !known {
		at = len(b.plan.Tallies)
		b.tallied[of] = at
		b.plan.Tallies = append(b.plan.Tallies, Tally{Tenant: of.owner, Hour: of.begins, FirstPosition: m.position, LastPosition: m.position})
	}
	t := &b.plan.Tallies[at]
	t.FirstPosition, t.LastPosition = min(t.FirstPosition, m.position), max(t.LastPosition, m.position)
	t.Events++
	t.Expected += m.governing
	t.FeatureGated += m.gated
	return t
}
