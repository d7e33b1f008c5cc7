package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/wakeup"
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

// reader hands over one topic to one group, oldest first. Its state belongs to watermill-sql's goroutine; the relay
// uses current while that goroutine waits for its answer.
type reader struct {
	log     *Log
	key     groupTopic
	options Options
	out     chan *message.Message
	ctx     context.Context // of the subscription; it ends with the subscriber, too
	watch   *wakeup.Watch

	current *delivery
	endLoop context.CancelFunc // ends watermill-sql's loop

	failedAt  int64 // the position that failed last, 0 when nothing did since
	failures  int   // how often in a row
	standby   bool  // another process works for the group
	seenFrom  int64 // the offset at which another process's turn was first respected,
	seenSince time.Time
}

func newReader(ctx context.Context, s *Subscriber, topic string) *reader {
	return &reader{log: s.log, key: groupTopic{s.group, topic}, options: s.options, out: make(chan *message.Message), ctx: ctx}
}

// run has watermill-sql's loop and the relay behind it work until the subscription ends.
func (r *reader) run() {
	defer close(r.out)
	turn := r.log.turn(r.key)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-r.ctx.Done():
		return
	}
	r.watch = r.log.db.WatchTopic(r.key.topic)
	defer r.watch.Stop()
	// The loop is ended between two batches, so its context outlives that of the subscription.
	loop, end := context.WithCancel(context.WithoutCancel(r.ctx))
	defer end()
	r.endLoop = end
	subscriber, err := wsql.NewSubscriber(beginner{r}, wsql.SubscriberConfig{
		ConsumerGroup: r.key.group, SchemaAdapter: schema{r.log, r}, OffsetsAdapter: offsets{r}, BackoffManager: backoff{r},
		AckDeadline: new(time.Duration), // the relay has its own
	}, watermill.NopLogger{})
	var messages <-chan *message.Message
	if err == nil {
		messages, err = subscriber.Subscribe(loop, r.key.topic)
	}
	if err != nil {
		r.log.logger.LogAttrs(r.ctx, slog.LevelError, "topic cannot be read", slog.String("group", r.key.group), slog.String("topic", r.key.topic), slog.Any("error", err))
		return
	}
	for msg := range messages {
		r.relay(msg)
	}
	_ = subscriber.Close()
}

// othersTurn respects the process that acknowledged last, as long as it gets on with what there is.
func (r *reader) othersTurn(holder string, from int64, waiting bool) bool {
	if holder == "" || holder == r.log.db.Name() || !waiting {
		r.seenSince = time.Time{}
		return false
	}
	if r.seenSince.IsZero() || r.seenFrom != from {
		r.seenFrom, r.seenSince = from, time.Now()
	}
	return time.Since(r.seenSince) < r.options.Recheck
}

// backoff is where watermill-sql's loop waits between two batches. It gets there after the commit.
type backoff struct{ *reader }

// HandleError waits until there is reason to look again, and never asks the loop to sleep, since nothing wakes it.
func (b backoff) HandleError(_ watermill.LoggerAdapter, noMsg bool, err error) time.Duration {
	switch {
	case b.ctx.Err() != nil:
	case errors.Is(err, ErrSuperseded):
		b.standby = true
		b.wait(b.options.Recheck, false)
	case err != nil:
		b.wait(b.failed(err), false)
	case noMsg:
		b.wait(b.options.Recheck, !b.standby)
	default:
		b.succeeded()
	}
	if b.ctx.Err() != nil {
		b.endLoop()
	}
	return 0
}

func (r *reader) succeeded() {
	if d := r.current; d != nil && d.rows[len(d.rows)-1].position >= r.failedAt {
		r.failedAt, r.failures = 0, 0
	}
}

func (r *reader) wait(longest time.Duration, wakeable bool) {
	var wake <-chan struct{}
	if wakeable {
		wake = r.watch.C
	}
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// failed notes what went wrong at a position, and pauses the longer the more often it did.
func (r *reader) failed(err error) (pause time.Duration) {
	at := int64(0)
	if d := r.current; d != nil {
		if at = d.rows[len(d.rows)-1].position; d.failure() != nil {
			at = d.failedAt
		}
	}
	if at != r.failedAt {
		r.failedAt, r.failures = at, 0
	}
	pause = min(firstPause<<min(r.failures, 16), r.options.MaxPause)
	r.failures++
	r.log.logger.LogAttrs(r.ctx, slog.LevelWarn, "message not handled, it comes again",
		slog.String("group", r.key.group), slog.String("topic", r.key.topic), slog.Int64("position", at),
		slog.Int("attempt", r.failures), slog.Duration("pause", pause), slog.Any("error", err))
	return pause
}

// relay hands a message of watermill-sql's loop over. Towards the loop it acknowledges in any case; what became
// of the message stands in the delivery. Once one has failed the rest of its batch is not handed over.
func (r *reader) relay(msg *message.Message) {
	defer msg.Ack()
	d := r.current
	if d.failure() != nil {
		return
	}
	if d.came() {
		d.kept()
		return
	}
	next := d.rows[d.acked]
	attempt := 1
	if next.position == r.failedAt {
		attempt += r.failures
	}
	if err := r.hand(d, msg.Copy(), attempt); err != nil {
		d.fail(d.failing(), fmt.Errorf("hand over the message: %w", err))
		return
	}
	d.kept()
}

// hand gives a message to whoever receives it and waits for the answer.
func (r *reader) hand(d *delivery, msg *message.Message, attempt int) error {
	msgCtx, cancel := context.WithCancel(context.WithValue(r.ctx, handedKey{}, handed{d, attempt}))
	defer cancel() // before the delivery ends, so that no statement of the handler is under way for long
	msg.SetContext(msgCtx)
	deadline := time.NewTimer(r.options.AckDeadline)
	defer deadline.Stop()
	var stalled <-chan time.Time
	if d.joined() {
		stalled = deadline.C // nobody may keep a transaction open by not receiving the rest of a batch
	}
	select {
	case r.out <- msg:
	case <-stalled:
		return errLate
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	deadline.Reset(r.options.AckDeadline)
	return answer(r.ctx, msg, deadline.C)
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
