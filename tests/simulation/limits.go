package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// sentToday is how many events of the tenant were ever accepted, but for those by which the service tells of itself: a run is within a day.
func (w *world) sentToday(owner tenant.ID) (n int) {
	for _, e := range w.everAccepted() {
		if e.TenantID == owner && !e.Type.IsOperational() {
			n++
		}
	}
	return n
}

// isForToday tells a refusal that stands until the day is over: a run begins at noon.
func isForToday(err error) bool {
	refused, is := errors.AsType[*problem.Error](err)
	return is && refused.RetryAfter > 2*time.Hour
}

// checkRefused holds the refusal of a request to the day's quota. What was deleted and sent again counts twice.
func (w *world) checkRefused(batch []event.Event, err error) {
	if !isForToday(err) {
		return
	}
	w.counts.Refused++
	if sent := w.sentToday(batch[0].TenantID); sent+len(batch) <= w.bounds.EventsPerDay && !w.purges {
		w.violate("quota", "%d events were refused of %s, which has sent %d of %d", len(batch), batch[0].TenantID, sent, w.bounds.EventsPerDay)
	}
}

// checkQuota is that no tenant has sent more than it may.
func (w *world) checkQuota() {
	for _, owner := range tenants[:w.tenants] {
		if sent := w.sentToday(owner); w.bounds.EventsPerDay > 0 && sent > w.bounds.EventsPerDay {
			w.violate("quota", "%d events were accepted of %s, which may send %d", sent, owner, w.bounds.EventsPerDay)
		}
	}
}

// knock looks, once nothing fails any more and nothing is left to do, whether each process has room for an event as soon as fewer deliveries
// are open than may be.
func (w *world) knock(a *activity) {
	for !w.isDone() || len(w.store.SetAside()) > 0 || w.busy > 1 {
		a.sleep(w.now.Add(time.Second), nil)
	}
	for slot := range w.processes {
		for _, owner := range tenants[:w.tenants] {
			w.knockAt(a, slot, owner)
		}
	}
	w.busy--
}

// roomWithin bounds how long a process may go on refusing what there is room for.
const roomWithin = 3 * time.Minute

func (w *world) knockAt(a *activity, slot int, owner tenant.ID) {
	for deadline := w.now.Add(roomWithin); ; {
		p := w.processes[slot]
		all, err := w.store.CountOpen(context.Background(), "", 1<<30)
		must(err)
		own, err := w.store.CountOpen(context.Background(), owner, 1<<30)
		must(err)
		if w.bounds.Open > 0 && all >= w.bounds.Open || w.bounds.TenantOpen > 0 && own >= w.bounds.TenantOpen {
			return // by what is parked
		}
		w.counts.Knocks++
		e := event.Sample(event.TargetImported, owner)
		w.counts.Events++
		e.ID = fmt.Sprintf(eventIDs, w.counts.Events)
		var refused error = errNoAnswer
		if !p.dead && !p.stopping {
			_, refused, _ = w.askBy(a, p, []event.Event{e})
		}
		if refused == nil || isForToday(refused) {
			return
		}
		if w.now.After(deadline) {
			w.violate("room", "%s goes on refusing events of %s, with %d of %d deliveries open, %d of %d of its own: %v", p.name, owner, all, w.bounds.Open, own, w.bounds.TenantOpen, refused)
			return
		}
		a.sleep(w.now.Add(time.Second), nil)
	}
}

// Of room and quotas.

func (s *session) CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error) {
	return read(ctx, s, "CountOpen", func(ctx context.Context) (int, error) { return s.Store.CountOpen(ctx, owner, upTo) })
}

func (s *session) WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error) {
	return read(ctx, s, "WaitingFrom", s.Store.WaitingFrom)
}

func (s *session) DeliveriesPerEvent(ctx context.Context, owners []tenant.ID) (map[tenant.ID]float64, error) {
	return read(ctx, s, "DeliveriesPerEvent", func(ctx context.Context) (map[tenant.ID]float64, error) {
		return s.Store.DeliveriesPerEvent(ctx, owners)
	})
}

func (s *session) CountProcesses(ctx context.Context, since time.Time) (int, error) {
	return read(ctx, s, "CountProcesses", func(ctx context.Context) (int, error) { return s.Store.CountProcesses(ctx, since) })
}

func (s *session) CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	return write(ctx, s, "CountDay", func(ctx context.Context) (map[tenant.ID]int, error) { return s.Store.CountDay(ctx, day, sent) })
}
