package fanout

import (
	"context"

	"github.com/ordinavo/webhooks/application/intake"
)

// remembering is a store that gives what this process has just accepted without reading it back.
type remembering struct {
	TurnStore
	recent *intake.Recent
}

// Remember lets fan-out take from recent what is in it.
func Remember(store TurnStore, recent *intake.Recent) TurnStore { return remembering{store, recent} }

// Events loads accepted events, in the order of the keys.
func (r remembering) Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error) {
	if events, all := r.recent.Take(keys); all {
		return events, nil
	}
	return r.TurnStore.Events(ctx, keys)
}
