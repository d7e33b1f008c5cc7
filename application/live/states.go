package live

import (
	"context"
	"errors"
	"fmt"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// foldedAtOnce and changesAtOnce bound the streams held in memory: a stream contains receivers' answers, 4 KiB each, and is longer the more often
// a retry was asked for.
const (
	foldedAtOnce  = 100
	changesAtOnce = 25 * foldedAtOnce
)

// together is how many of the records are shown in one go, at least one, with the version up to which their streams are read.
func together(records []Record) (n int, upTo map[Key]int64) {
	upTo = map[Key]int64{}
	changes := int64(0)
	for _, r := range records[:min(foldedAtOnce, len(records))] {
		read := upTo[r.Key()]
		version := max(r.Version+1, read) // the next may have been recorded together with it, and be read later
		if changes += version - read; n > 0 && changes > changesAtOnce {
			break
		}
		upTo[r.Key()] = version
		n++
	}
	return n, upTo
}

// show folds the streams of the records' deliveries and passes each record's delivery to emit as its change left it. Changes recorded
// together are shown once, as the last of them left the delivery. What cannot be folded is left out, and named by odd.
func show(ctx context.Context, log Log, records []Record, emit func(Change)) (odd, err error) {
	for len(records) > 0 {
		n, upTo := together(records)
		part := records[:n]
		records = records[n:]
		streams, err := log.DeliveryStreams(ctx, upTo)
		if err != nil {
			return odd, fmt.Errorf("read the streams of %d deliveries: %w", len(upTo), err)
		}
		states := map[Key][]delivery.Delivery{}
		for key, changes := range streams {
			folded, foldErr := fold(changes)
			if foldErr == nil && int64(len(changes)) < upTo[key]-1 {
				foldErr = fmt.Errorf("the stream of delivery %s is damaged behind its version %d", key.DeliveryID, len(changes))
			}
			states[key], odd = folded, errors.Join(odd, foldErr)
		}
		for _, r := range part {
			if state, ok := shown(states[r.Key()], r.Version); ok {
				emit(Change{Mark{r.Position, state.UpdatedAt}, state})
			}
		}
	}
	return odd, nil
}

// fold returns the state after each change.
func fold(changes []delivery.Change) (states []delivery.Delivery, err error) {
	var d delivery.Delivery
	for _, c := range changes {
		if err := d.Apply(c); err != nil {
			return states, err
		}
		states = append(states, d)
	}
	return states, nil
}

// shown is the state at a version, unless the next change was recorded together with it.
func shown(states []delivery.Delivery, version int64) (delivery.Delivery, bool) {
	if version < 1 || version > int64(len(states)) {
		return delivery.Delivery{}, false
	}
	state := states[version-1]
	followed := version < int64(len(states)) && states[version].UpdatedAt.Equal(state.UpdatedAt)
	return state, !followed
}
