package fanout

import (
	"context"

	"github.com/ordinavo/webhooks/application/intake"
)

// remembering is a store that does not read back what this process has just accepted.
type remembering struct {
	TurnStore
	recent *intake.Recent
}

// Remember lets fan-out take from recent what is in it.
func Remember(store TurnStore, recent *intake.Recent) TurnStore { return remembering{store, recent} }

// Events loads accepted events, in the order of the keys.
func (r remembering) Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error) {
	taken, missing := r.recent.Take(keys)
	if len(missing) == 0 {
		return taken, nil
	}
	read, err := r.TurnStore.Events(ctx, missing)
	if err != nil || len(missing) == len(keys) {
		return read, err
	}
	events := taken[:0]
	for i, e := range taken {
		if e.Key() != keys[i] { // what was read is in the same order, without what is not stored
			if len(read) == 0 || read[0].Key() != keys[i] {
				continue
			}
			e, read = read[0], read[1:]
		}
		events = append(events, e)
	}
	return events, nil
}
