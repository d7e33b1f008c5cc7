package simulation

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// What may pass between the time when something is due and its attempt, once nothing fails.
const (
	// soon is for a receiver that was sick: the next probe may be a minute away. One that stays sick is spared for longer.
	soon = 90 * time.Second
	// promptly is for one that is well, by a process that has nothing else to do.
	promptly = 4 * time.Second
)

// checkSoon is I5 for what is sent once nothing fails any more.
func (w *world) checkSoon(s *send, l *dispatch.Leased, r dispatch.Request) {
	if !w.quiet || w.receiverOf(r.URL).stubborn {
		return
	}
	bound := soon
	if w.clocks {
		bound += 2 * w.furthest // when a receiver is to be spared until was said by a clock that was wrong
	}
	if late := w.now.Sub(later(s.due, w.calm)); late > bound {
		w.violate("I5", "%s was sent %s after it was due", s.delivery, late)
	}
	if w.clocks || w.spares(s.lane) {
		return
	}
	// What trouble has left behind, such as a lease that nobody knew of, is put in order by then.
	since := later(later(s.due, l.Delivery.UpdatedAt), w.calm.Add(disturbed))
	for _, other := range w.journal.sends {
		if other != s && (other.process == s.process || other.lane == s.lane) {
			since = later(since, later(other.began, other.ended))
		}
	}
	since = later(since, w.faults.rested())
	if late := w.now.Sub(since); late > promptly {
		w.violate("I5", "%s was sent %s after it could have been, at %s", s.delivery, late, since.Sub(epoch))
	}
}

// longestRest is for how long a dispatcher looks for nothing new after a call that held up everybody: ten times the half second of a stall
// that it takes for work.
const longestRest = 5 * time.Second

// rested is when nobody rests any more.
func (f *faults) rested() (until time.Time) {
	for _, h := range f.happened {
		if h.kind == callIsSlow && h.process == nil {
			until = later(until, h.until.Add(min(10*h.until.Sub(h.at), longestRest)))
		}
	}
	return until
}

// spares reports whether somebody may spare the lane's receiver: by what they tell, or since it did not take what it got last.
func (w *world) spares(lane dispatch.Lane) bool {
	told, err := w.store.Circuits(context.Background(), lane.Tenant, []string{lane.SubscriptionID}, time.Time{})
	must(err)
	last := map[*process]*send{}
	for _, s := range w.journal.sends {
		if s.lane == lane && !s.ended.IsZero() {
			last[s.process] = s
		}
	}
	for p, s := range last {
		if !p.dead && !s.outcome.Succeeded() {
			return true
		}
	}
	return len(told) > 0
}
