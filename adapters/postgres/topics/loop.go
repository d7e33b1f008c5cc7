package topics

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/eventlog"
)

// What watermill-sql's loop runs for a batch.
const (
	readBatch = "read the next batch"
	keepBatch = "keep the batch"
)

// errUnexpected says that watermill-sql asked for something that its version 4.1.2 does not.
var errUnexpected = errors.New("an unexpected query of watermill-sql")

// loop steps a reader from batch to batch by watermill-sql's. Its state belongs to the goroutine of that; the relay uses it
// while that goroutine waits for its answer.
type loop struct {
	ctx    context.Context // of the subscription
	end    context.CancelFunc
	reader *eventlog.Reader

	batch  *eventlog.Batch
	failed error // what became of its delivery
}

// Run has watermill-sql's loop and the relay behind it work until ctx ends.
func (s *source) Run(ctx context.Context, r *eventlog.Reader) {
	// The loop is ended between two batches, so its context outlives that of the subscription.
	outliving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	l := &loop{ctx: ctx, end: end, reader: r}
	subscriber, err := wsql.NewSubscriber(beginner{l}, wsql.SubscriberConfig{
		ConsumerGroup: s.key.Group, SchemaAdapter: schema{l}, OffsetsAdapter: offsets{l}, BackoffManager: l,
		AckDeadline: new(time.Duration), // the reader has its own
	}, watermill.NopLogger{})
	var batches <-chan *message.Message
	if err == nil {
		batches, err = subscriber.Subscribe(outliving, s.key.Topic)
	}
	if err != nil {
		panic(fmt.Sprintf("topics: a subscriber with all that it needs: %v", err))
	}
	for msg := range batches {
		l.failed = r.Deliver(ctx, l.batch)
		msg.Ack()
	}
	_ = subscriber.Close()
}

// HandleError is where the loop waits between two batches, behind the commit. It never asks the loop to sleep, since nothing wakes it.
func (l *loop) HandleError(_ watermill.LoggerAdapter, noMsg bool, err error) time.Duration {
	l.reader.Settle(l.ctx, noMsg, err)
	if l.ctx.Err() != nil {
		l.end()
	}
	return 0
}

// beginner gives watermill-sql a session for each batch.
type beginner struct{ *loop }

// BeginTx begins nothing in the database yet.
func (b beginner) BeginTx(context.Context, *sql.TxOptions) (wsql.Tx, error) {
	if b.ctx.Err() != nil {
		return nil, context.Cause(b.ctx)
	}
	b.batch, b.failed = nil, nil
	return session(b), nil
}

// ExecContext is not asked for outside a session.
func (beginner) ExecContext(context.Context, string, ...any) (wsql.Result, error) {
	return nil, errUnexpected
}

// QueryContext is not asked for outside a session.
func (beginner) QueryContext(context.Context, string, ...any) (wsql.Rows, error) {
	return nil, errUnexpected
}

// session is what watermill-sql takes for a transaction: one batch from its reading to its acknowledgement.
type session struct{ *loop }

// QueryContext reads the batch.
func (s session) QueryContext(_ context.Context, query string, _ ...any) (wsql.Rows, error) {
	if query != readBatch {
		return nil, errUnexpected
	}
	var err error
	s.batch, err = s.reader.Next(s.ctx)
	return &row{there: s.batch != nil}, err
}

// ExecContext makes what the handlers wrote durable, with the offset. Its error is that of the commit, too.
func (s session) ExecContext(_ context.Context, query string, _ ...any) (wsql.Result, error) {
	if query != keepBatch {
		return nil, errUnexpected
	}
	return kept{}, s.reader.Keep(s.ctx, s.batch)
}

// Commit comes behind the acknowledgement, which has committed.
func (session) Commit() error { return nil }

// Rollback comes behind what failed, which was undone.
func (session) Rollback() error { return nil }

// kept is one batch.
type kept struct{}

// RowsAffected is 1.
func (kept) RowsAffected() (int64, error) { return 1, nil }

// row is the batch, if there is one.
type row struct{ there bool }

func (r *row) Next() bool {
	there := r.there
	r.there = false
	return there
}

func (*row) Scan(...any) error { return errUnexpected }

func (*row) Close() error { return nil }
