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
		states := map[Key][]state{}
		for key, changes := range streams {
			folded, foldErr := fold(changes)
			if foldErr == nil && int64(len(changes)) < upTo[key]-1 {
				foldErr = fmt.Errorf("the stream of delivery %s is damaged behind its version %d", key.DeliveryID, len(changes))
			}
			states[key], odd = folded, errors.Join(odd, foldErr)
		}
		for _, r := range part {
			if at, ok := shown(states[r.Key()], r.Version); ok {
				emit(Change{Mark{r.Position, at.UpdatedAt}, at.Delivery, at.last})
			}
		}
	}
	return odd, nil
}

// state is a delivery with its last attempt, without what was sent and answered: many may wait in memory for a client.
type state struct {
	delivery.Delivery
	last *delivery.Attempt
}

// fold returns the state after each change.
func fold(changes []delivery.Change) (states []state, err error) {
	var now state
	for _, c := range changes {
		if err := now.Apply(c); err != nil {
			return states, err
		}
		if last, is := delivery.AttemptOf(c); is {
			last.RequestHeaders, last.ResponseHeaders, last.ResponseBody = nil, nil, nil
			now.last = &last
		}
		states = append(states, now)
	}
	return states, nil
}

// shown is the state at a version, unless the next change was recorded together with it.
func shown(states []state, version int64) (state, bool) {
	if version < 1 || version > int64(len(states)) {
		return state{}, false
	}
	at := states[version-1]
	followed := version < int64(len(states)) && states[version].UpdatedAt.Equal(at.UpdatedAt)
	return at, !followed
}
