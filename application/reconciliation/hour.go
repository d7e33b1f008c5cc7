// Package reconciliation shows that nothing went missing: it compares what fan-out counted when it disposed of events with what
// is there (contract, section 5).
package reconciliation

import (
	"fmt"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// Span is what is counted together: the events that were accepted within it.
const Span = time.Hour

// HourOf is the beginning of the span in which something was accepted.
func HourOf(accepted time.Time) time.Time { return accepted.UTC().Truncate(Span) }

// Counted is what fan-out wrote down together with the dispositions themselves.
type Counted struct {
	Events   int
	Expected int // for each event the subscriptions that its tenant had
	// Deliveries, NotMatched, FeatureGated and SetAside are what became of Expected.
	Deliveries, NotMatched, FeatureGated, SetAside int
}

// There is what the tables hold.
type There struct {
	Events       int
	Deliveries   map[delivery.Status]int // replays apart
	FeatureGated int
}

// Hour is one span of a tenant.
type Hour struct {
	Begins  time.Time
	Waiting int // events that were accepted, and are not fanned out yet
	Counted Counted
	There   There
}

// Missing is by how much there is less than was counted; negative where there is more.
type Missing struct{ Events, Dispositions, Deliveries, FeatureGated int }

// Missing compares what was counted with what is there. An hour with nothing missing is balanced.
func (h Hour) Missing() Missing {
	c := h.Counted
	return Missing{
		Events:       c.Events - h.There.Events,
		Dispositions: c.Expected - c.Deliveries - c.NotMatched - c.FeatureGated - c.SetAside,
		Deliveries:   c.Deliveries - total(h.There.Deliveries),
		FeatureGated: c.FeatureGated - h.There.FeatureGated,
	}
}

// String says it in words; empty when nothing is missing.
func (m Missing) String() string {
	var words []string
	for _, part := range []struct {
		n    int
		what string
	}{{m.Events, "events"}, {m.Dispositions, "dispositions"}, {m.Deliveries, "deliveries"}, {m.FeatureGated, "gated events"}} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("missing %s: %d", part.what, part.n))
		} else if part.n < 0 {
			words = append(words, fmt.Sprintf("surplus %s: %d", part.what, -part.n))
		}
	}
	return strings.Join(words, "; ")
}

// Balanced reports whether accepted is the sum of dispositions.
func (h Hour) Balanced() bool { return h.Missing() == Missing{} }

func total(byStatus map[delivery.Status]int) (n int) {
	for _, of := range byStatus {
		n += of
	}
	return n
}
