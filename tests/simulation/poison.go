package simulation

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
)

// Until the code is mended, in runs that have such a defect, fan-out panics at one event in so many.
const (
	poisonOf     = 6
	earliestMend = 10 * time.Second
	latestMend   = 100 * time.Second
	retryPause   = 7 * time.Second
)

func isPoisonous(eventID string) bool {
	var n int
	_, err := fmt.Sscanf(eventID, eventIDs, &n)
	return err == nil && n%poisonOf == 0
}

func (w *world) panicsAt(e intake.Accepted) bool {
	return isPoisonous(e.ID) && w.now.Before(epoch.Add(w.mended))
}

// operate is somebody who retries what was set aside, by one process after the other, also before that can help. Who is
// impatient does so twice.
func (w *world) operate(a *activity) {
	for turn := 0; ; turn++ {
		a.sleep(w.now.Add(retryPause), nil)
		p := w.processes[turn%len(w.processes)]
		for _, key := range w.store.SetAside() {
			for range 1 + turn%2 {
				if !p.dead && !p.stopping {
					err := p.eventRetries.Retry(context.Background(), key.Tenant, key.ID, subscriptions.Actor{})
					w.trace.line("operator: retry %s by %s: %v", key.ID, p.name, err)
				}
			}
		}
	}
}

// checkPoison is I1: nothing is set aside that fan-out does not panic at.
func (w *world) checkPoison() {
	for _, id := range w.store.EverSetAside() {
		w.counts.SetAside++
		if !isPoisonous(id) {
			w.violate("I1", "event %s was set aside", id)
		}
	}
}
