package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

var (
	// ErrNoBatch says that a context does not come from a message of this log.
	ErrNoBatch = errors.New("the context is not that of a message from the log")
	// ErrOver says that the message was taken back: its deadline passed, the subscriber closed, or an earlier message of its
	// batch was undone. Nothing of it is kept; it comes again.
	ErrOver = errors.New("the message was taken back")
	// ErrSuperseded says that the group's offset is no longer where the message was read from, or that another process
	// works for the group.
	ErrSuperseded = errors.New("the group's offset was moved by somebody else")
)

// Batch is one or more messages on their way to a handler, with the one transaction of what they bring about. The transaction begins
// with the first Join, or else with the answer to the last of them.
type Batch struct {
	reader  *Reader
	from    int64 // the group's offset when the batch was read
	records []Record

	mu    sync.Mutex
	tx    Tx
	acked int // messages so far
	taken int // messages up to the last that Rest took, counted from the beginning of the batch
	over  bool
	cause error // what the handler of the message under way has failed with
}

// batchKey is the context key of a message's batch.
type batchKey struct{}

// Join gives the context of a handler's message the transaction that commits with the message's acknowledgement; what is written under
// the returned context takes part in it. On SQLite it waits for the writer.
func Join(ctx context.Context) (context.Context, error) {
	b, ok := ctx.Value(batchKey{}).(*Batch)
	if !ok {
		return nil, ErrNoBatch
	}
	tx, err := b.join(ctx)
	if err != nil {
		return nil, err
	}
	return tx.Context(ctx), nil
}

// Rest takes the messages that follow that of ctx in its batch. They are not handed over: they are acknowledged together with it, and when
// it fails they come again with it, each alone. So it cannot be settled in a new transaction: nobody knows which of them failed.
func (*Log) Rest(ctx context.Context) []*message.Message {
	b, ok := ctx.Value(batchKey{}).(*Batch)
	if !ok {
		return nil
	}
	return b.rest()
}

// InTransaction is a middleware that gives the handler's message a context as Join does. When the handler fails, what it wrote is undone
// at once, so that a middleware around this one can settle the message in a new transaction: put it on a poison topic, again by
// InTransaction, and acknowledge it.
func (*Log) InTransaction(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		outer := msg.Context()
		b, ok := outer.Value(batchKey{}).(*Batch)
		if !ok {
			return nil, ErrNoBatch
		}
		ctx, err := Join(outer)
		if err != nil {
			return nil, b.failed(err)
		}
		defer msg.SetContext(outer)
		msg.SetContext(ctx)
		produced, err := next(msg)
		if err != nil {
			return nil, b.failed(errors.Join(err, b.undo()))
		}
		return produced, nil
	}
}

// join begins the transaction unless it has begun.
func (b *Batch) join(ctx context.Context) (Tx, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return nil, ErrOver
	}
	if err := b.begin(ctx); err != nil {
		return nil, err
	}
	return b.tx, nil
}

func (b *Batch) begin(ctx context.Context) (err error) {
	if b.tx == nil {
		b.tx, err = b.reader.source.Begin(ctx, b.from, b.Last())
	}
	return err
}

// Last is the last position of the batch.
func (b *Batch) Last() int64 { return b.records[len(b.records)-1].Position }

// message makes a message of a record.
func (b *Batch) message(of Record) *message.Message {
	msg, err := of.message()
	if err != nil {
		b.reader.odd.Do(func() {
			b.reader.log.logger.Error("record with unreadable metadata",
				slog.String("topic", b.reader.key.Topic), slog.Int64("position", of.Position), slog.Any("error", err))
		})
	}
	return msg
}

func (b *Batch) rest() (list []*message.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records[min(len(b.records), max(b.acked+1, b.taken)):] {
		list = append(list, b.message(r))
		b.taken = len(b.records)
	}
	return list
}

// failing is the position up to which messages fail when the next one does.
func (b *Batch) failing() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records[max(b.acked, b.taken-1)].Position
}

// came reports whether the next message came along with an earlier one.
func (b *Batch) came() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acked < b.taken
}

// joined reports whether the batch has an open transaction.
func (b *Batch) joined() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tx != nil
}

// kept counts an acknowledged message.
func (b *Batch) kept() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked++
	b.cause = nil
}

// failed notes why the message is about to be refused, since its nack cannot say.
func (b *Batch) failed(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cause = err
	return err
}

// refused is errNacked with its cause, if that is known.
func (b *Batch) refused() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cause == nil {
		return errNacked
	}
	return fmt.Errorf("%w: %w", errNacked, b.cause)
}

// undo rolls back what was written. The batch may begin a new transaction, unless that would drop what its earlier messages wrote, or
// several were handled together.
func (b *Batch) undo() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || b.tx == nil {
		return nil
	}
	tx := b.tx
	b.tx, b.over = nil, b.acked > 0 || b.taken > 0
	return tx.Rollback()
}

// commit makes the batch's effects and the offset durable.
func (b *Batch) commit(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return ErrOver
	}
	b.over = true
	if err := b.begin(ctx); err != nil {
		return err
	}
	if err := b.tx.Commit(); err != nil {
		return fmt.Errorf("keep the messages up to position %d: %w", b.Last(), err)
	}
	return nil
}

// rollback ends the batch; whatever is not committed leaves no trace.
func (b *Batch) rollback() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.tx == nil {
		return nil
	}
	return b.tx.Rollback()
}
