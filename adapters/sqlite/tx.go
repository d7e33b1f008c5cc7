package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/adapters/wakeup"
)

// Tx is a writing transaction for one user at a time. Only Rollback may be called by another
// goroutine while a statement runs: whatever the user tries afterwards is refused with sql.ErrTxDone,
// so it can never reach into the next transaction on the connection.
type Tx struct {
	db     *DB
	mu     sync.Mutex // held while the connection is used
	writer *writer
	done   bool
	broken error // a statement was interrupted, so SQLite may have rolled back by itself
	wakeup.Touched
}

type txKey struct{}

// WithTx makes Update calls under the context join tx instead of beginning their own.
func WithTx(ctx context.Context, tx *Tx) context.Context {
	return context.WithValue(ctx, txKey{}, tx)
}

// rollbackTimeout bounds a rollback, which does not run under the request's context.
const rollbackTimeout = 10 * time.Second

// Begin waits for the writer and begins a transaction; end it with Commit or Rollback.
func (db *DB) Begin(ctx context.Context) (*Tx, error) {
	w, err := db.takeWriter(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for the writer: %w", err)
	}
	tx := &Tx{db: db, writer: w}
	if err := db.inPlace(); err != nil {
		tx.release(nil)
		return nil, fmt.Errorf("begin: %w", err)
	}
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		tx.release(err)
		return nil, fmt.Errorf("begin: %w", translate(err))
	}
	return tx, nil
}

func (db *DB) takeWriter(ctx context.Context) (*writer, error) {
	db.queue.Add(1)
	defer db.queue.Add(-1)
	select {
	case w := <-db.write:
		return w, nil
	case <-db.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Update runs fn in the transaction that the context carries, or else in one of its own
// that commits if fn returns nil and rolls back otherwise.
func (db *DB) Update(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	if tx, ok := ctx.Value(txKey{}).(*Tx); ok {
		return fn(ctx, tx)
	}
	done, err := db.mayChange(ctx)
	if err != nil {
		return err
	}
	defer done()
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit; frees the writer on a panic
	if err := fn(WithTx(ctx, tx), tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Commit makes the transaction durable and wakes those who wait for what it wrote.
func (tx *Tx) Commit() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := tx.usable(); err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), tx.rollback())
	}
	// No deadline: it could not interrupt the system call, and would report a commit as failed that went through.
	if _, err := tx.writer.conn.ExecContext(context.Background(), "COMMIT"); err != nil {
		return errors.Join(fmt.Errorf("commit: %w", translate(err)), tx.rollback())
	}
	tx.db.checkpoints.committed(tx.db.path)
	tx.release(nil)
	tx.Tell(&tx.db.Signals, true)
	return nil
}

// Rollback undoes the transaction. After Commit or Rollback it does nothing.
func (tx *Tx) Rollback() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.rollback()
}

func (tx *Tx) rollback() error {
	if tx.done {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	_, err := tx.writer.conn.ExecContext(ctx, "ROLLBACK")
	tx.release(err)
	tx.Tell(&tx.db.Signals, false)
	if err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// release passes the writer on. After an error the connection may be broken or
// still in a transaction, so a fresh one takes its place.
func (tx *Tx) release(err error) {
	tx.done = true
	w := tx.writer
	if err != nil {
		if fresh, connectErr := tx.db.connectWriter(context.Background()); connectErr == nil {
			w.close()
			w = fresh
		}
	}
	tx.db.write <- w
}

// close closes a connection that the pool must not use again. Its statements go first: SQLite keeps a connection's
// files open for as long as it has any.
func (w *writer) close() {
	for _, statement := range w.statements {
		_ = statement.Close()
	}
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
}

// Exec runs a prepared statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	statement, err := tx.prepare(ctx, query)
	if err != nil {
		return 0, err
	}
	result, err := statement.ExecContext(ctx, args...)
	if err != nil {
		return 0, tx.failed(ctx, err)
	}
	return result.RowsAffected()
}

// Query runs a prepared query.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	statement, err := tx.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return nil, tx.failed(ctx, err)
	}
	return rows, nil
}

func (tx *Tx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := tx.usable(); err != nil {
		return nil, err
	}
	statement, err := tx.writer.prepare(ctx, query)
	if err != nil { // a new connection reads the schema for it
		return nil, tx.failed(ctx, err)
	}
	return statement, nil
}

// usable refuses whatever comes after the end of the transaction.
func (tx *Tx) usable() error {
	if tx.done {
		return sql.ErrTxDone
	}
	return tx.broken
}

// failed notes a statement that was interrupted or that the disk refused. SQLite may then roll back by itself, and
// each later statement would commit on its own.
func (tx *Tx) failed(ctx context.Context, err error) error {
	err = translate(err)
	if ctx.Err() != nil || disturbed(err) {
		tx.broken = fmt.Errorf("the transaction was interrupted: %w", err)
	}
	return err
}
