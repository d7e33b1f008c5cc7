package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/share"
)

// Tx is a transaction, for one user at a time. Only Rollback may be called from elsewhere while a statement runs; what the user tries
// after it is refused with pgx.ErrTxClosed.
//
// What is appended to the log waits in the Tx until just before the commit; see flush.
type Tx struct {
	db      *DB
	mu      sync.Mutex // held while the connection is used
	conn    *lent
	begun   bool // on the server
	done    bool
	broken  error                  // what a statement failed with; PostgreSQL refuses all that come after it
	xid     string                 // its ID, once known
	sent    bool                   // COMMIT was
	inDoubt atomic.Pointer[string] // the ID, once COMMIT was sent
	fate    atomic.Int32           // of the commit, once it was begun
	queued  []*pgx.QueuedQuery     // for the next round trip
	last    []*pgx.QueuedQuery     // for that of the commit
	pending []appended
	proof   *proof // of what was appended
	late    []func(ctx context.Context)
	wakeup.Touched
}

type txKey struct{}

// WithTx makes calls of Update under the context join tx instead of beginning their own transaction.
func WithTx(ctx context.Context, tx *Tx) context.Context {
	return context.WithValue(ctx, txKey{}, tx)
}

// How often something is tried, and the pause before the first repetition.
const (
	maxRepeats  = 5
	firstRepeat = 2 * time.Millisecond
	maxBegins   = 3
)

// maxLimited is for how long what was canceled, or did not get a lock, is repeated. Beyond that it was hardly for a migration, which cancels
// those that it waits for at once, but for a limit that the operator has set, and repeating it would be load that nobody wants.
const maxLimited = lockTimeout + time.Second

// rollbackTimeout bounds what is done after a request's own context has ended.
const rollbackTimeout = 10 * time.Second

// Begin begins a transaction; end it with Commit or Rollback. BEGIN is sent together with its first statement.
func (db *DB) Begin(ctx context.Context) (*Tx, error) {
	conn, err := db.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	return &Tx{db: db, conn: conn}, nil
}

// Update runs fn in a transaction: the one that the context carries, else one of its own that commits when fn returns nil and rolls back
// when it does not. One that collided with another (a serialization failure, a deadlock, the same event) is run again, at most five
// times, so fn must not keep what it computed before.
func (db *DB) Update(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	if tx, ok := ctx.Value(txKey{}).(*Tx); ok {
		return fn(ctx, tx)
	}
	done, err := db.mayChange(ctx)
	if err != nil {
		return err
	}
	defer done()
	began := time.Now()
	for repeats := 0; ; repeats++ {
		err := db.update(ctx, fn)
		if err == nil {
			return nil
		}
		if err = again(ctx, err, repeats, time.Since(began)); err != nil {
			return err
		}
	}
}

// mayChange waits until a user's transaction may take a connection, which the service's own do at once: those of users wait for each other's locks,
// and however many a tenant asks for at a time, connections are left for accepting events and delivering.
func (db *DB) mayChange(ctx context.Context) (done func(), err error) {
	if _, asked := share.Of(ctx); !asked {
		return func() {}, nil
	}
	return db.enter(ctx, db.changing, "change something")
}

// again is nil, after a pause, when what failed collided with others and was not repeated too often yet, nor for too long. Else it is what
// the caller fails with.
func again(ctx context.Context, err error, repeats int, took time.Duration) error {
	switch {
	case !repeatable(err), limited(err) && took > maxLimited:
		return err
	case repeats == maxRepeats: // somebody may try again later, also where others were always faster to accept the same event
		return unavailable(err)
	case !pause(ctx, time.Duration(float64(firstRepeat<<repeats)*(0.5+rand.Float64()))):
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return nil
}

func (db *DB) update(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	tx, err := db.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit; on a panic it frees the connection
	if err := fn(WithTx(ctx, tx), tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Rollback undoes the transaction. After Commit or Rollback it does nothing.
func (tx *Tx) Rollback() error {
	if tx.fate.Load() == left {
		return nil
	}
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
	if tx.begun && !tx.conn.Conn().IsClosed() {
		// If this fails the pool drops the connection, and the server undoes the transaction by itself.
		_, _ = tx.conn.Exec(ctx, "ROLLBACK")
	}
	tx.release()
	tx.Tell(&tx.db.Signals, false)
	return nil
}

func (tx *Tx) release() {
	tx.done = true
	tx.conn.Release()
}

// Exec runs a statement and returns how many rows it changed.
func (tx *Tx) Exec(ctx context.Context, sql string, args ...any) (changed int64, err error) {
	b := &pgx.Batch{}
	b.Queue(sql, args...).Exec(func(tag pgconn.CommandTag) error {
		changed = tag.RowsAffected()
		return nil
	})
	err = tx.write(ctx, b)
	return changed, err
}

// Require makes the server check a condition ahead of what is sent next, which fails with refused when the condition does not hold.
func (tx *Tx) Require(refused error, condition string, args ...any) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.queued = append(tx.queued, deciding(refused, `SELECT 1 / ((`+condition+`) IS TRUE)::int`, args...))
}

// writeLater sends a batch ahead of what is sent next, at the latest with the commit, which fails when the batch does. COMMIT may be sent
// along with it, so only the server can refuse; see deciding.
func (tx *Tx) writeLater(ctx context.Context, b *pgx.Batch) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := tx.usable(ctx); err != nil {
		return err
	}
	tx.queued = append(tx.queued, b.QueuedQueries...)
	return nil
}

// ExecLast runs a statement in the round trip of the commit, which fails with refused when it changes no row.
func (tx *Tx) ExecLast(refused error, sql string, args ...any) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.last = append(tx.last, deciding(refused, `WITH changed AS (`+sql+` RETURNING 1) SELECT 1 / count(*) FROM changed`, args...))
}

// deciding is a query that divides by zero when the transaction is to fail with refused. COMMIT may be sent along with it, so the server
// must refuse, and not whoever reads the answer.
func deciding(refused error, sql string, args ...any) *pgx.QueuedQuery {
	return &pgx.QueuedQuery{SQL: sql, Arguments: args, Fn: func(results pgx.BatchResults) error {
		_, err := results.Exec()
		if code(err) == codeDivisionByZero {
			return decided{refused, err}
		}
		return err
	}}
}

// decided says what was refused; that the server divided by zero for it is for those who ask whether it has answered, not for a log.
type decided struct{ refused, by error }

func (d decided) Error() string   { return d.refused.Error() }
func (d decided) Unwrap() []error { return []error{d.refused, d.by} }

func (tx *Tx) query(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error {
	return tx.send(ctx, batchOf(each, sql, args))
}

func batchOf(each func(pgx.Rows) error, sql string, args []any) *pgx.Batch {
	b := &pgx.Batch{}
	b.Queue(sql, args...).Query(rowByRow(each))
	return b
}

// writer is a transaction whose queries change what they return.
type writer struct{ *Tx }

func (w writer) query(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error {
	return w.write(ctx, batchOf(each, sql, args))
}

// send runs a batch of reads in one round trip; write is for batches that change something.
func (tx *Tx) send(ctx context.Context, b *pgx.Batch) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := tx.usable(ctx); err != nil {
		return err
	}
	return tx.failed(ctx, tx.run(ctx, b))
}

func (tx *Tx) run(ctx context.Context, b *pgx.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, tx.db.config.LongestAnswer)
	defer cancel()
	return tx.runWithin(ctx, b)
}

// runWithin sends a batch in one round trip, behind what is queued, and BEGIN with the first.
func (tx *Tx) runWithin(ctx context.Context, b *pgx.Batch) error {
	if len(tx.queued) > 0 {
		b = &pgx.Batch{QueuedQueries: append(tx.queued, b.QueuedQueries...)}
		tx.queued = nil
	}
	if tx.begun {
		makeRoom(tx.conn.Conn(), b)
		return tx.conn.SendBatch(ctx, b).Close()
	}
	for try := 1; ; try++ {
		err := tx.beginWith(ctx, b)
		// A connection that broke while idle shows now, before anything has happened.
		if err == nil || tx.begun || ctx.Err() != nil || !lostConnection(err) || try == maxBegins {
			return err
		}
		tx.conn.Release()
		conn, err := tx.db.acquire(ctx)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		tx.conn = conn
	}
}

// begin names the isolation: under another, which a database or a user may have by default, who has waited for a lock does not see what was
// committed before it got that.
const begin = "BEGIN ISOLATION LEVEL READ COMMITTED"

// beginWith counts the transaction as begun once BEGIN is answered; no answer of the batch was read before that.
func (tx *Tx) beginWith(ctx context.Context, b *pgx.Batch) error {
	first := &pgx.Batch{}
	first.Queue(begin)
	if tx.conn.Conn().PgConn().CustomData()[idleTimeout] == nil { // behind a PgBouncer each transaction has to say so
		first.Queue("SET LOCAL " + idleTimeout + " = '" + longestIdle + "'")
	}
	if tx.conn.Conn().PgConn().CustomData()[answersEarly] == true {
		first.Queue(commitLastingly)
	}
	for _, q := range b.QueuedQueries { // a copy, since the driver notes in it how this connection knows the statement
		first.QueuedQueries = append(first.QueuedQueries, &pgx.QueuedQuery{SQL: q.SQL, Arguments: q.Arguments, Fn: q.Fn})
	}
	makeRoom(tx.conn.Conn(), first)
	results := tx.conn.SendBatch(ctx, first)
	_, err := results.Exec()
	tx.begun = err == nil
	return cmp.Or(err, results.Close())
}

func (tx *Tx) write(ctx context.Context, b *pgx.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	tx.writes(b)
	return tx.send(ctx, b)
}

// writes makes a batch that changes something fetch the transaction's ID at its end. Once that is known, COMMIT can be sent together with
// what precedes it: when the answer is lost, the ID tells what became of both.
func (tx *Tx) writes(b *pgx.Batch) {
	tx.queueID(b, `SELECT pg_current_xact_id_if_assigned()::text`)
}

// willWrite makes a batch of reads assign the transaction its ID.
func (tx *Tx) willWrite(b *pgx.Batch) { tx.queueID(b, `SELECT pg_current_xact_id()::text`) }

func (tx *Tx) queueID(b *pgx.Batch, sql string) {
	if tx.xid != "" {
		return
	}
	b.Queue(sql).QueryRow(func(row pgx.Row) error {
		var xid *string
		if err := row.Scan(&xid); err != nil || xid == nil {
			return err
		}
		tx.xid = *xid
		return nil
	})
}

// usable refuses use after the end of the transaction, and under a cancelled context.
func (tx *Tx) usable(ctx context.Context) error {
	switch {
	case tx.done:
		return pgx.ErrTxClosed
	case tx.broken != nil:
		return tx.broken
	case ctx.Err() != nil:
		return tx.failed(ctx, context.Cause(ctx))
	}
	return nil
}

// failed notes the first error: nothing of the transaction can be kept after it.
func (tx *Tx) failed(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if code(err) == codeReadOnly {
		tx.db.pool.Reset() // the connections lead to a server that was demoted; new ones find the one that was promoted
	}
	err = translate(ctx, err)
	tx.broken = fmt.Errorf("the transaction has failed: %w", err)
	return err
}

// errUnknown says that it is not known yet whether the transaction was committed.
var errUnknown = errors.New("the answer to a commit was lost")
