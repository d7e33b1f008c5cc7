package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/time/rate"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/loop"
)

// firstPause is the pause between the first failure and the next try.
const firstPause = 100 * time.Millisecond

// unreadableAfter is how many times in a row a record that cannot be read is tried, as an event is. After that, some seconds later, the record
// is handed over as it is stored: no repetition makes it readable, and its handler sets it aside, with what is left of it.
const unreadableAfter = fanout.Refusals

var (
	errNacked = errors.New("the handler refused the message")
	errLate   = errors.New("the handler did not answer in time")
)

// Reader hands over one topic to one group, oldest first. A step is Next, Deliver and Keep, as far as it gets, and then Settle with the
// outcome; they are called one after the other.
type Reader struct {
	log     *Log
	key     GroupTopic
	options Options
	source  Source
	out     chan *message.Message
	watch   *wakeup.Watch

	standby  bool
	at       int64 // if the step fails, up to which position it does
	failedAt int64 // the position that failed last; 0 after a success
	failures int   // how often in a row
	unread   int   // how often of these because it cannot be read
	inVain   fanout.InVain
	odd      rate.Sometimes // bounds what is logged of records that are handed over all the same
}

func newReader(s *Subscriber, topic string) *Reader {
	key := GroupTopic{s.group, topic}
	return &Reader{log: s.log, key: key, options: s.options, source: s.log.db.Source(key, s.options), out: make(chan *message.Message),
		odd: rate.Sometimes{First: 8, Interval: time.Second}}
}

// run lets the source run the steps when it is this reader's turn.
func (r *Reader) run(ctx context.Context) {
	defer close(r.out)
	turn := r.log.turn(r.key)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return
	}
	r.watch = r.log.db.WatchTopic(r.key.Topic)
	defer r.watch.Stop()
	r.source.Run(ctx, r)
}

// Next reads the next batch; nil when there is none for this process.
func (r *Reader) Next(ctx context.Context) (*Batch, error) {
	look := Look{Limit: r.options.Batch, Bytes: r.options.Bytes, AsStored: r.failures >= unreadableAfter || r.inVain.Enough(time.Now())}
	if r.failures > 0 {
		look.Limit = 1 // so that it fails alone
	}
	found, err := r.source.Read(ctx, look)
	r.at, r.standby = found.From, found.Standby
	if err != nil || found.Standby || len(found.Records) == 0 {
		return nil, err
	}
	return &Batch{reader: r, from: found.From, records: found.Records}, nil
}

// Deliver hands over the messages of a batch in order. When one fails, nothing of the batch is kept.
func (r *Reader) Deliver(ctx context.Context, b *Batch) error {
	for _, record := range b.records {
		if b.came() {
			b.kept()
			continue
		}
		err := r.hand(ctx, b, b.message(record))
		if errors.Is(err, errNacked) {
			err = b.refused()
		}
		if err != nil {
			r.at = b.failing()
			return errors.Join(fmt.Errorf("hand over the message: %w", err), b.rollback())
		}
		b.kept()
	}
	return nil
}

// Keep makes a delivered batch durable, even if ctx ends meanwhile: what was acknowledged before a close is kept.
func (r *Reader) Keep(ctx context.Context, b *Batch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.AckDeadline)
	defer cancel()
	r.at = b.Last() // if it fails, each up to there then comes alone
	if err := b.commit(ctx); err != nil {
		return errors.Join(err, b.rollback())
	}
	if r.at >= r.failedAt {
		if r.failures >= unreadableAfter { // else another process has read it, or it comes later in the batch that failed
			r.inVain.Add(time.Now(), r.unread)
		}
		r.failedAt, r.failures, r.unread = 0, 0, 0
	}
	return nil
}

// Settle waits until there is reason for the next step: not at all after a batch that was kept, until the next commit to the topic when
// there was nothing, for a pause when something failed, and never beyond the end of ctx.
func (r *Reader) Settle(ctx context.Context, nothing bool, err error) {
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, ErrSuperseded):
		r.wait(ctx, r.options.Recheck, nil)
	case err != nil:
		r.wait(ctx, r.failed(ctx, err), nil)
	case nothing && r.standby:
		r.wait(ctx, r.options.Recheck, nil)
	case nothing:
		r.wait(ctx, r.options.Recheck, r.watch.C)
	}
}

func (r *Reader) wait(ctx context.Context, longest time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// failed notes an error, and returns a pause that grows with repeated failures at one position.
func (r *Reader) failed(ctx context.Context, err error) (pause time.Duration) {
	if r.at != r.failedAt {
		r.failedAt, r.failures, r.unread = r.at, 0, 0
	}
	pause = min(firstPause<<min(r.failures, 16), r.options.MaxPause)
	if errors.Is(err, compact.ErrUnreadable) {
		r.unread++
	}
	if r.failures++; loop.Told(r.failures) { // in a row at one position
		r.log.logger.LogAttrs(ctx, slog.LevelWarn, "message not handled, it comes again",
			slog.String("group", r.key.Group), slog.String("topic", r.key.Topic), slog.Int64("position", r.at),
			slog.Int("attempt", r.failures), slog.Duration("pause", pause), slog.Any("error", err))
	}
	return pause
}

// hand gives a message to whoever receives it and waits for the answer.
func (r *Reader) hand(ctx context.Context, b *Batch, msg *message.Message) error {
	msgCtx, cancel := context.WithCancel(context.WithValue(ctx, batchKey{}, b))
	defer cancel() // before the batch ends, so that no statement of the handler goes on for long
	msg.SetContext(msgCtx)
	deadline := time.NewTimer(r.options.AckDeadline)
	defer deadline.Stop()
	var stalled <-chan time.Time
	if b.joined() {
		stalled = deadline.C // nobody may hold a transaction open by not receiving the rest of a batch
	}
	select {
	case r.out <- msg:
	case <-stalled:
		return errLate
	case <-ctx.Done():
		return ctx.Err()
	}
	deadline.Reset(r.options.AckDeadline)
	return answer(ctx, msg, deadline.C)
}

// answer is nil when the message was acknowledged, even in the instant of closing.
func answer(ctx context.Context, msg *message.Message, deadline <-chan time.Time) error {
	var err error
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
		return errNacked
	case <-deadline:
		err = errLate
	case <-ctx.Done():
		err = ctx.Err()
	}
	select {
	case <-msg.Acked():
		return nil
	default:
		return err
	}
}
