package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
)

var (
	// ErrNoDelivery says that a context does not come from a message of this log.
	ErrNoDelivery = errors.New("the context is not that of a message from the log")
	// ErrOver says that the message was taken back: its deadline passed, the subscriber closed,
	// or an earlier message of its batch was undone. Nothing of it is kept; it comes again.
	ErrOver = errors.New("the message was taken back")
	// ErrSuperseded says that the group's offset is no longer where the message was read from, or that
	// another process works for the group.
	ErrSuperseded = errors.New("the group's offset was moved by somebody else")
)

// delivery is a batch of messages on its way to a handler, and the one transaction of what it brings about.
// The transaction begins with the first Join, or else with the acknowledgement.
type delivery struct {
	db   *postgres.DB
	key  groupTopic
	from int64 // the group's offset when the batch was read
	rows []row

	mu       sync.Mutex
	tx       *postgres.Tx
	acked    int // messages of the batch so far
	taken    int // of the batch, those that came with one before them, counted from its beginning
	failed   error
	failedAt int64
	over     bool
}

type handedKey struct{}

// handed is what a message's context knows of its delivery.
type handed struct {
	delivery *delivery
	attempt  int
}

// Join gives the context of a handler's message the transaction that commits with the message's
// acknowledgement; postgres.DB.Update takes part in it from then on.
func Join(ctx context.Context) (context.Context, error) {
	h, ok := ctx.Value(handedKey{}).(handed)
	if !ok {
		return nil, ErrNoDelivery
	}
	tx, err := h.delivery.join(ctx)
	if err != nil {
		return nil, err
	}
	return postgres.WithTx(ctx, tx), nil
}

// Attempt counts how often this process has handed over the message of ctx in a row: 1, 2, 3 …
// It is 0 for a context that does not come from the log.
func Attempt(ctx context.Context) int {
	h, _ := ctx.Value(handedKey{}).(handed)
	return h.attempt
}

// Rest takes the messages behind that of ctx in its batch. They are not handed over: they are acknowledged with it, and when
// it fails they come again with it, each alone. So it cannot be settled in a new transaction: nobody knows which of them failed.
func Rest(ctx context.Context) []*message.Message {
	h, ok := ctx.Value(handedKey{}).(handed)
	if !ok {
		return nil
	}
	return h.delivery.rest()
}

// InTransaction is a middleware: the handler's message gets a context as by Join. When the handler fails,
// what it wrote is undone at once, so that a middleware around this one can settle the message
// in a new transaction: put it on a poison topic by InTransaction again, and acknowledge it.
func InTransaction(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		outer := msg.Context()
		ctx, err := Join(outer)
		if err != nil {
			return nil, err
		}
		defer msg.SetContext(outer)
		msg.SetContext(ctx)
		produced, err := next(msg)
		if err != nil {
			return nil, errors.Join(err, outer.Value(handedKey{}).(handed).delivery.undo())
		}
		return produced, nil
	}
}

// join begins the transaction when it has not begun.
func (d *delivery) join(ctx context.Context) (*postgres.Tx, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || d.failed != nil {
		return nil, ErrOver
	}
	if err := d.begin(ctx); err != nil {
		return nil, err
	}
	return d.tx, nil
}

func (d *delivery) begin(ctx context.Context) error {
	if d.tx != nil {
		return nil
	}
	tx, err := d.db.Begin(ctx)
	if err != nil {
		return err
	}
	var mine bool
	var at int64
	err = d.db.Query(postgres.WithTx(ctx, tx), func(r pgx.Rows) error { return r.Scan(&mine, &at) }, claim, d.key.lock(), d.key.group, d.key.topic)
	if err == nil && (!mine || at != d.from) {
		err = ErrSuperseded
	}
	if err != nil {
		return errors.Join(fmt.Errorf("claim the group's turn: %w", err), tx.Rollback())
	}
	d.tx = tx
	return nil
}

func (d *delivery) rest() (list []*message.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range d.rows[min(len(d.rows), max(d.acked+1, d.taken)):] {
		msg, _ := row.toMessage() // its error was logged when it was read
		list = append(list, msg)
		d.taken = len(d.rows)
	}
	return list
}

// failing is the position up to which messages fail when the next one does.
func (d *delivery) failing() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rows[max(d.acked, d.taken-1)].position
}

// came says whether the next message came with one before it.
func (d *delivery) came() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acked < d.taken
}

// joined says whether the delivery has a transaction open.
func (d *delivery) joined() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tx != nil
}

// kept counts an acknowledged message.
func (d *delivery) kept() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked++
}

// fail marks the batch: nothing of it will be kept.
func (d *delivery) fail(at int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failedAt, d.failed = at, err
}

func (d *delivery) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// undo rolls back what was written. The delivery may begin anew, unless that would forget what earlier messages of
// the batch wrote, or several were handled together.
func (d *delivery) undo() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || d.tx == nil {
		return nil
	}
	tx := d.tx
	d.tx, d.over = nil, d.acked > 0 || d.taken > 0
	return tx.Rollback()
}

// commit makes the batch's effects and the offset durable.
func (d *delivery) commit(ctx context.Context, moveOffset string, args []any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return ErrOver
	}
	d.over = true
	if err := d.begin(ctx); err != nil {
		return err
	}
	d.tx.ExecLast(func(rows int64) error {
		if rows == 0 {
			return fmt.Errorf("move the offset: %w", ErrSuperseded)
		}
		return nil
	}, moveOffset, args...)
	if err := d.tx.Commit(); err != nil {
		return fmt.Errorf("keep the messages beyond position %d: %w", d.from, err)
	}
	return nil
}

// rollback ends the delivery; after a commit it does nothing.
func (d *delivery) rollback() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.tx == nil {
		return nil
	}
	return d.tx.Rollback()
}
