package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// record is a row of the log. It is never changed.
type record struct {
	position     int64
	topic        string
	tenant       tenant.ID
	stream       string // empty outside any stream
	version      int64
	at           time.Time
	events       []intake.EventKey // of the topic events
	subscription subscription.Change
	by           subscriptions.Actor // of a change of a subscription
	delivery     delivery.Change
	setAside     fanout.SetAside
	test         subscriptions.Exchange
}

// append adds a record to the log and to its stream, which refuses a version that it has.
func (s *Store) append(tx *tx, r record) (*record, error) {
	r.position = s.lastPosition + 1
	if r.version > 0 {
		k := keyOf(r.tenant, r.stream)
		stream, _ := s.streams.get(k)
		if len(stream) > 0 && stream[len(stream)-1].version >= r.version {
			return nil, fmt.Errorf("append to %s: it has version %d already", r.stream, r.version)
		}
		s.streams.put(tx, k, append(slices.Clip(stream), &r))
	}
	s.lastPosition++
	before := s.log
	s.log = append(s.log, &r)
	tx.undo = append(tx.undo, func() { s.log, s.lastPosition = before, s.lastPosition-1 })
	tx.appended(r.topic)
	return &r, nil
}

// after is the records behind the position, oldest first.
func (s *Store) after(position int64) []*record {
	at, _ := slices.BinarySearchFunc(s.log, position+1, func(r *record, position int64) int { return int(r.position - position) })
	return s.log[at:]
}

// ErrSuperseded says that the group's offset is no longer where the batch was read from.
var ErrSuperseded = errors.New("the group's offset was moved by somebody else")

// Batch is what a consumer group of the events topic reads next.
type Batch struct {
	Group   string
	From    int64 // the group's offset when the batch was read
	Records []EventsRecord
}

// EventsRecord is one record of the events topic.
type EventsRecord struct {
	Position int64
	Keys     []intake.EventKey
}

// Next reads what comes next for the group, at most limit records.
func (s *Store) Next(ctx context.Context, group string, limit int) (Batch, error) {
	done, err := s.read(ctx)
	defer done()
	from, _ := s.offsets.get(keyOf("", group, records.TopicEvents))
	b := Batch{Group: group, From: from}
	for _, r := range s.after(from) {
		if r.topic == records.TopicEvents && len(b.Records) < limit {
			b.Records = append(b.Records, EventsRecord{r.position, r.events})
		}
	}
	return b, err
}

// Advance moves the group's offset behind the batch; it belongs into the transaction of what the batch brings about.
func (s *Store) Advance(ctx context.Context, b Batch) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		k := keyOf("", b.Group, records.TopicEvents)
		if at, _ := s.offsets.get(k); at != b.From {
			return ErrSuperseded
		}
		s.offsets.put(tx, k, b.Records[len(b.Records)-1].Position)
		return nil
	})
}

// ReachFanOut sets how far fan-out has come.
func (s *Store) ReachFanOut(ctx context.Context, position int64) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		s.offsets.put(tx, keyOf("", fanout.Group, records.TopicEvents), position)
		return nil
	})
}
