package fanout_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// TestTurnsOfHistories holds what comes of turns against a fold of the log: each event meets the subscriptions that
// governed it, once, and the events of a tenant come one after the other, whoever takes the turns and whenever.
func TestTurnsOfHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		w.atOnce = rapid.IntRange(1, 5).Draw(rt, "at once")
		w.restart()
		turns := []*fanout.Turns{w.fanOut.Turns(), w.fanOut.Turns()}
		h := &history{world: w, want: map[string][]string{}}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				h.changes(rt)
			case 1, 2:
				h.emits(rt)
			case 3:
				w.step(turns[rapid.IntRange(0, 1).Draw(rt, "whose")])
			default:
				h.handles(rt)
			}
		}
		for len(h.records) > 0 {
			h.handles(rt)
		}
		for len(w.deferred) > 0 {
			w.step(turns[0])
		}
		h.check(rt)
	})
}

// history is a log on its way.
type history struct {
	*world
	ids     []string
	order   []string            // events
	want    map[string][]string // receivers of an event
	records []fanout.Record     // that were not handled
}

func (h *history) changes(rt *rapid.T) {
	if len(h.ids) > 0 && rapid.Bool().Draw(rt, "disturb") {
		h.disturb(rt, rapid.SampledFrom(h.ids).Draw(rt, "subscription"))
		return
	}
	id := fmt.Sprintf("sub_%02d", len(h.ids))
	h.ids = append(h.ids, id)
	h.subscribe(rapid.SampledFrom([]tenant.ID{acme, other}).Draw(rt, "tenant"), id, settings(rapid.SampledFrom([]string{"*", "target.*"}).Draw(rt, "filter")))
}

func (h *history) emits(rt *rapid.T) {
	var events []event.Event
	for range rapid.IntRange(1, 4).Draw(rt, "events") {
		e := event.Sample(rapid.SampledFrom([]event.Type{event.VisitReportApproved, event.TargetImported}).Draw(rt, "type"), rapid.SampledFrom([]tenant.ID{acme, other}).Draw(rt, "tenant"))
		e.ID = fmt.Sprintf("evt_%02d", len(h.order))
		h.order, events = append(h.order, e.ID), append(events, e)
		for _, id := range h.ids {
			if s := h.now[id]; s.Tenant == e.TenantID && s.Status != subscription.StatusDeleted && s.EventTypes.Matches(e.Type) {
				h.want[e.ID] = append(h.want[e.ID], fmt.Sprintf("%s v%d parked %t", id, s.Version, s.Status != subscription.StatusActive))
			}
		}
	}
	position, keys := h.accept(events...)
	h.records = append(h.records, fanout.Record{Position: position, Keys: keys})
}

func (h *history) handles(rt *rapid.T) {
	if len(h.records) == 0 {
		return
	}
	n := rapid.IntRange(1, len(h.records)).Draw(rt, "records")
	if err := h.fanOut.Handle(h.Context(), h.records[:n]); err != nil {
		rt.Fatal(err)
	}
	h.records = h.records[n:]
}

func (h *history) check(rt *rapid.T) {
	got, came := map[string][]string{}, map[tenant.ID][]string{}
	counted := 0
	for _, p := range h.plans {
		for _, s := range p.Scheduled {
			d := s.Delivery
			got[d.EventID] = append(got[d.EventID], fmt.Sprintf("%s v%d parked %t", d.SubscriptionID, d.SubscriptionVersion, d.Status == delivery.StatusParked))
			came[d.Tenant] = append(came[d.Tenant], d.EventID)
		}
		for _, tally := range p.Tallies {
			counted += tally.Events
		}
	}
	for _, id := range h.order {
		if !slices.Equal(got[id], h.want[id]) {
			rt.Errorf("%s went to %v, want %v", id, got[id], h.want[id])
		}
	}
	for owner, ids := range came {
		if !slices.IsSorted(ids) {
			rt.Errorf("%s got its events in the order %v", owner, ids)
		}
	}
	if counted != len(h.order) {
		rt.Errorf("%d events were counted, %d accepted", counted, len(h.order))
	}
}
