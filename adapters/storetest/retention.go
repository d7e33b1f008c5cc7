package storetest

import (
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

var retentionChecks = []Check{
	{"retention/what was set aside goes with its event, and its record with the events' records", func(w *world) {
		const weeks = 3 * 7 * 24 * 3600 // a store may keep what is of the same week, or of the next
		old, young := w.accept(acme, event.TargetImported, at(0)), w.accept(acme, event.TargetImported, at(2*weeks))
		w.setAsideAt(acme, old.ID, at(1))
		w.setAsideAt(acme, young.ID, at(2*weeks+1))
		w.ok(w.ReachFanOut(w.ctx, w.held(acme, young.ID).Position), "move the fan-out's offset")
		w.records("poison", 2)
		for range 9 {
			_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(2 * weeks), Events: at(weeks), Attempts: at(weeks), DeadLetters: at(weeks)}, 100)
			w.ok(err, "purge")
		}
		w.records("poison", 1)
		w.countedAside(1)
		w.refused(w.retry(acme, old.ID, at(2*weeks+2)), problem.NotFound, "retry what was purged")
		equal(w, "the reason of the young one", w.held(acme, young.ID).SetAside.Reason, "odd")
		w.ok(w.retry(acme, young.ID, at(2*weeks+2)), "retry the young one")
	}},
	{"retention/a record of what was set aside waits for no later event", func(w *world) {
		only := w.accept(acme, event.TargetImported, at(0))
		w.ok(w.ReachFanOut(w.ctx, w.held(acme, only.ID).Position), "move the fan-out's offset")
		w.setAsideAt(acme, only.ID, at(1))
		const weeks = 3 * 7 * 24 * 3600
		for range 9 {
			_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(weeks), Events: at(weeks), Attempts: at(weeks), DeadLetters: at(weeks)}, 100)
			w.ok(err, "purge")
		}
		w.records("poison", 0)
		w.countedAside(0)
	}},
}

// records checks how many records a topic has.
func (w *world) records(topic string, want int) {
	w.Helper()
	n, err := w.CountRecords(w.ctx, topic)
	w.ok(err, "count the records of "+topic)
	equal(w, "records of "+topic, n, want)
}
