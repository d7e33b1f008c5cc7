package simulation

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// purged is what was deleted since it was old enough; some of it may be there again, or still.
type purged struct {
	events     map[intake.EventKey]intake.Accepted
	keys       []intake.EventKey                // of events, in their order
	deliveries map[string]map[metrics.Key]int64 // with the attempts that the log knew of
	before     time.Time                        // the latest time up to which counts were deleted
}

func newPurged() purged {
	return purged{events: map[intake.EventKey]intake.Accepted{}, deliveries: map[string]map[metrics.Key]int64{}}
}

// Purge checks what is deleted, and that nothing else was.
func (s *session) Purge(ctx context.Context, before retention.Cutoffs, limit int) (int, error) {
	return write(ctx, s, "Purge", func(ctx context.Context) (int, error) {
		w := s.p.world
		stock := w.takeStock(ctx, before)
		deleted, err := s.Store.Purge(ctx, before, limit)
		if err == nil && deleted > 0 {
			w.checkPurged(ctx, s.p, stock)
		}
		return deleted, err
	})
}

// stock is what is there before something is deleted.
type stock struct {
	rows     []memory.Row
	events   []intake.Accepted
	waiting  map[intake.EventKey]bool // not fanned out, of those that are old
	attempts map[string]map[metrics.Key]int64
}

// takeStock checks what may be deleted as it is checked in the end.
func (w *world) takeStock(ctx context.Context, before retention.Cutoffs) stock {
	s := stock{rows: w.store.Rows(), events: w.store.Accepted(), waiting: map[intake.EventKey]bool{}, attempts: map[string]map[metrics.Key]int64{}}
	w.journal.purged.before = later(w.journal.purged.before, before.Attempts)
	for _, row := range s.rows {
		if row.Closed && row.UpdatedAt.Before(later(before.Attempts, before.DeadLetters)) {
			s.attempts[row.ID] = map[metrics.Key]int64{}
			w.countAttempts(row, s.attempts[row.ID])
			w.checkFold(ctx, row)
			w.checkWay(ctx, row)
		}
	}
	for _, e := range s.events {
		if e.At.Before(before.Events) {
			stored, err := w.store.Event(ctx, e.TenantID, e.ID)
			must(err)
			done, err := w.store.FannedOut(ctx, stored)
			must(err)
			s.waiting[e.Key()] = !done
		}
	}
	return s
}

// checkPurged is I1 for what was deleted: it had come to its end, and was as old as it has to be. All that is open is as it was.
func (w *world) checkPurged(ctx context.Context, p *process, was stock) {
	now := p.now()
	if w.clocks { // it may have been set since the time was taken
		now = now.Add(2 * w.furthest)
	}
	there, needed := map[string]bool{}, map[intake.EventKey]string{}
	for _, row := range w.store.Rows() {
		there[row.ID], needed[eventOf(row)] = true, row.ID
		if _, err := w.store.Body(ctx, row.Delivery); err != nil {
			w.violate("I1", "%s is %s, and its body was deleted: %v", row.ID, row.Status, err)
		}
	}
	for _, row := range was.rows {
		if !there[row.ID] {
			w.forget(row, now, was.attempts[row.ID])
		}
	}
	kept := map[intake.EventKey]bool{}
	for _, e := range w.store.Accepted() {
		kept[e.Key()] = true
	}
	for _, e := range was.events {
		switch key := e.Key(); {
		case kept[key]:
		case now.Sub(e.At) < w.ages.Events || was.waiting[key] || needed[key] != "":
			w.violate("I1", "event %s was deleted at the age of %s (not fanned out: %t; needed by %q)", e.ID, now.Sub(e.At), was.waiting[key], needed[key])
		default:
			if _, known := w.journal.purged.events[key]; !known {
				w.journal.purged.keys = append(w.journal.purged.keys, key)
			}
			w.journal.purged.events[key] = e
		}
	}
}

// forget notes a delivery that was deleted.
func (w *world) forget(row memory.Row, now time.Time, attempts map[metrics.Key]int64) {
	age := w.ages.Attempts
	if row.Status == delivery.StatusDeadLetter {
		age = w.ages.DeadLetters
	}
	if !row.Closed || now.Sub(row.UpdatedAt) < age {
		w.violate("I1", "%s was deleted while it was %s, %s after its end", row.ID, row.Status, now.Sub(row.UpdatedAt))
	}
	w.journal.purged.deliveries[row.ID] = attempts
}

// hasPurged reports whether the delivery was deleted.
func (w *world) hasPurged(id string) bool {
	_, purged := w.journal.purged.deliveries[id]
	return purged
}

// everAccepted lists every event that is stored, or was.
func (w *world) everAccepted() []intake.Accepted {
	list := w.store.Accepted()
	stored := map[intake.EventKey]bool{}
	for _, e := range list {
		stored[e.Key()] = true
	}
	for _, key := range w.journal.purged.keys {
		if !stored[key] {
			list = append(list, w.journal.purged.events[key])
		}
	}
	return list
}

// countPurged counts what is gone in the end.
func (w *world) countPurged() {
	w.counts.PurgedEvents = len(w.everAccepted()) - len(w.store.Accepted())
	w.counts.PurgedDeliveries = len(w.journal.purged.deliveries)
	for _, row := range w.store.Rows() {
		if w.hasPurged(row.ID) {
			w.counts.PurgedDeliveries--
		}
	}
}

func eventOf(row memory.Row) intake.EventKey {
	return intake.EventKey{Tenant: row.Tenant, ID: row.EventID}
}
