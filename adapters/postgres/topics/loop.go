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

// The queries that watermill-sql's loop runs for a batch.
const (
	readBatch = "read the next batch"
	keepBatch = "keep the batch"
)

// errUnexpected says that watermill-sql ran a query that its version 4.1.2 does not.
var errUnexpected = errors.New("an unexpected query of watermill-sql")

// loop steps a reader from batch to batch, driven by watermill-sql's loop. Its state belongs to that loop's goroutine; the relay uses it
// while that goroutine waits for its answer.
type loop struct {
	ctx    context.Context // of the subscription
	end    context.CancelFunc
	reader *eventlog.Reader

	batch  *eventlog.Batch
	failed error // the outcome of its delivery
}

// Run runs watermill-sql's loop, with the relay behind it, until ctx ends.
func (s *source) Run(ctx context.Context, r *eventlog.Reader) {
	// The loop is ended between two batches, so its context outlives the subscription's.
	outliving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	l := &loop{ctx: ctx, end: end, reader: r}
	subscriber, err := wsql.NewSubscriber(beginner{l}, wsql.SubscriberConfig{
		ConsumerGroup: s.key.Group, SchemaAdapter: schema{l}, OffsetsAdapter: offsets{l}, BackoffManager: l,
		AckDeadline: new(time.Duration), // off: the reader has its own
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

// HandleError is where the loop waits between two batches, after the commit. It never lets the loop sleep, since nothing could wake it.
func (l *loop) HandleError(_ watermill.LoggerAdapter, noMsg bool, err error) time.Duration {
	l.reader.Settle(l.ctx, noMsg, err)
	if l.ctx.Err() != nil {
		l.end()
	}
	return 0
}

// beginner gives watermill-sql a session for each batch.
type beginner struct{ *loop }

// BeginTx does not begin anything in the database yet.
func (b beginner) BeginTx(context.Context, *sql.TxOptions) (wsql.Tx, error) {
	if b.ctx.Err() != nil {
		return nil, context.Cause(b.ctx)
	}
	b.batch, b.failed = nil, nil
	return session(b), nil
}

// ExecContext is never called outside a session.
func (beginner) ExecContext(context.Context, string, ...any) (wsql.Result, error) {
	return nil, errUnexpected
}

// QueryContext is never called outside a session.
func (beginner) QueryContext(context.Context, string, ...any) (wsql.Rows, error) {
	return nil, errUnexpected
}

// session stands in for watermill-sql's transaction: one batch from its reading to its acknowledgement.
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

// ExecContext makes what the handlers wrote durable, together with the offset. Its error is also that of the commit.
func (s session) ExecContext(_ context.Context, query string, _ ...any) (wsql.Result, error) {
	if query != keepBatch {
		return nil, errUnexpected
	}
	return kept{}, s.reader.Keep(s.ctx, s.batch)
}

// Commit follows the acknowledgement, which has committed already.
func (session) Commit() error { return nil }

// Rollback follows a failure, which was undone already.
func (session) Rollback() error { return nil }

// kept is the result of keeping one batch.
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
