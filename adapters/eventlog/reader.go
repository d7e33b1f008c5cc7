package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// firstPause is between the first failure and the next try.
const firstPause = 100 * time.Millisecond

// unreadableAfter is how often in a row the reading of a record that cannot be read is tried: one of a newer version is for a
// process of that version, which takes over from one that does not get on. Then, some seconds later, it is handed over as it
// is stored: no repetition reads what is damaged, and its handler sets it aside, with what is left of it.
const unreadableAfter = 6

var (
	errNacked = errors.New("the handler refused the message")
	errLate   = errors.New("the handler did not answer in time")
)

// reader hands over one topic to one group, oldest first.
type reader struct {
	log     *Log
	key     groupTopic
	options Options
	out     chan *message.Message

	failedAt int64 // the position that failed last, 0 when nothing did since
	failures int   // how often in a row
}

func newReader(s *Subscriber, topic string) *reader {
	return &reader{
		log: s.log, key: groupTopic{s.group, topic}, options: s.options,
		out: make(chan *message.Message),
	}
}

// run repeats step until ctx ends.
func (r *reader) run(ctx context.Context) {
	defer close(r.out)
	turn := r.log.turn(r.key)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return
	}
	watch := r.log.db.WatchTopic(r.key.topic)
	defer watch.Stop()
	for ctx.Err() == nil {
		next := r.step(ctx)
		if next.pause == 0 {
			continue
		}
		wake := watch.C
		if !next.wakeable {
			wake = nil
		}
		timer := time.NewTimer(next.pause)
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// next says when a reader wants its next step.
type next struct {
	pause    time.Duration
	wakeable bool // a commit to the topic cuts the pause short
}

// step hands over what comes next, if anything does, and waits for the answer.
func (r *reader) step(ctx context.Context) next {
	from, rows, err := r.read(ctx)
	if err != nil {
		return r.failed(ctx, from, err)
	}
	if len(rows) == 0 {
		return next{pause: r.options.Recheck, wakeable: true}
	}
	d := &delivery{db: r.log.db, key: r.key, from: from, rows: rows}
	last := d.last()
	if at, err := r.deliver(ctx, d); err != nil {
		return r.failed(ctx, at, errors.Join(err, d.rollback()))
	}
	// What was acknowledged before a close is kept.
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.AckDeadline)
	defer cancel()
	if err := d.commit(keep); err != nil {
		return r.failed(ctx, last, errors.Join(err, d.rollback())) // up to there each comes alone then
	}
	if last >= r.failedAt {
		r.failedAt, r.failures = 0, 0
	}
	return next{}
}

func (r *reader) read(ctx context.Context) (from int64, rows []row, err error) {
	if from, err = offset(ctx, r.log.db, r.key); err != nil {
		return 0, nil, err
	}
	limit := r.options.Batch
	if r.failures > 0 {
		limit = 1 // so that it fails alone
	}
	rows, err = after(ctx, r.log.db, r.key.topic, from, limit, r.options.Bytes, r.failures >= unreadableAfter)
	return from, rows, err
}

// failed notes what went wrong at a position, and pauses the longer the more often it did.
func (r *reader) failed(ctx context.Context, at int64, err error) next {
	if ctx.Err() != nil {
		return next{}
	}
	if at != r.failedAt {
		r.failedAt, r.failures = at, 0
	}
	pause := min(firstPause<<min(r.failures, 16), r.options.MaxPause)
	r.failures++
	r.log.logger.LogAttrs(ctx, slog.LevelWarn, "message not handled, it comes again",
		slog.String("group", r.key.group), slog.String("topic", r.key.topic), slog.Int64("position", at),
		slog.Int("attempt", r.failures), slog.Duration("pause", pause), slog.Any("error", err))
	return next{pause: pause}
}

// deliver hands over the messages of a batch in order; at is the position of the one that failed.
func (r *reader) deliver(ctx context.Context, d *delivery) (at int64, err error) {
	for _, row := range d.rows {
		if d.came() {
			d.kept()
			continue
		}
		msg, err := row.toMessage()
		if err != nil {
			r.log.logger.LogAttrs(ctx, slog.LevelError, "record with unreadable metadata",
				slog.String("topic", r.key.topic), slog.Int64("position", row.position), slog.Any("error", err))
		}
		attempt := 1
		if row.position == r.failedAt {
			attempt += r.failures
		}
		if err := r.hand(ctx, d, msg, attempt); err != nil {
			return d.failing(), fmt.Errorf("hand over the message: %w", err)
		}
		d.kept()
	}
	return 0, nil
}

// hand gives a message to whoever receives it and waits for the answer.
func (r *reader) hand(ctx context.Context, d *delivery, msg *message.Message, attempt int) error {
	msgCtx, cancel := context.WithCancel(context.WithValue(ctx, handedKey{}, handed{d, attempt}))
	defer cancel() // before the delivery ends, so that no statement of the handler is under way for long
	msg.SetContext(msgCtx)
	deadline := time.NewTimer(r.options.AckDeadline)
	defer deadline.Stop()
	var stalled <-chan time.Time
	if d.joined() {
		stalled = deadline.C // nobody may keep the writer by not receiving the rest of a batch
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

// answer is nil when the message was acknowledged, also when that was in the instant of closing.
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
