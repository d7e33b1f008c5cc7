package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Commit makes the transaction durable and wakes whoever waits for what it wrote. When the server's answer is lost, it asks
// what became of the transaction. If that has no answer either, it fails with problem.Unavailable, and those waiting by
// WhenEnded are told once the server is back.
func (tx *Tx) Commit() error {
	tx.mu.Lock()
	if tx.done {
		tx.mu.Unlock()
		return fmt.Errorf("commit: %w", pgx.ErrTxClosed)
	}
	ended, leaving := make(chan error, 1), make(chan struct{})
	ctx, end := tx.patiently(func() {
		if tx.fate.CompareAndSwap(undecided, left) {
			close(leaving)
		}
	})
	go func() {
		err := tx.finish(ctx)
		end()
		if tx.fate.CompareAndSwap(undecided, answered) {
			ended <- err
			return
		}
		defer tx.mu.Unlock()
		tx.concludeLate(err)
	}()
	select {
	case err := <-ended:
		defer tx.mu.Unlock()
		return tx.conclude(err)
	case <-leaving: // the connection stays with the commit
		return unavailable(fmt.Errorf("%w: the server waits for a standby, or does not say whether it does", errUnknown))
	}
}

// finish sends what waited, and COMMIT. A panic is its error: whoever would recover from it is not above.
func (tx *Tx) finish(ctx context.Context) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = fmt.Errorf("panic: %v\n%s", value, debug.Stack())
		}
	}()
	if tx.broken != nil {
		return tx.broken
	}
	if err := tx.flush(ctx, true); err != nil || !tx.begun || tx.sent {
		return err
	}
	b := &pgx.Batch{}
	tx.queueCommit(b)
	return translate(ctx, tx.runWithin(ctx, b))
}

func (tx *Tx) conclude(err error) error {
	switch {
	case err == nil:
		tx.release()
		tx.Tell(&tx.db.Signals, true)
		return nil
	case tx.sent && tx.xid != "" && ambiguous(err):
		return tx.resolve(err)
	}
	return errors.Join(fmt.Errorf("commit: %w", err), tx.rollback())
}

// concludeLate is for a transaction whose user was told that nobody knows.
func (tx *Tx) concludeLate(err error) {
	switch {
	case err == nil:
		tx.release()
		tx.tellLate()
	case ambiguous(err): // it was sent
		tx.release()
		tx.resolveLate()
	default:
		_ = tx.rollback()
	}
}

// queueCommit adds the COMMIT behind what is in the batch. The server skips it when anything before it fails.
func (tx *Tx) queueCommit(b *pgx.Batch) {
	tx.sent = true
	if xid := tx.xid; xid != "" {
		tx.inDoubt.Store(&xid)
	}
	b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() == "ROLLBACK" {
			return pgx.ErrTxCommitRollback
		}
		return nil
	})
}

// ambiguous reports whether the commit may have happened although it failed. The driver's own word for whether anything was
// sent cannot be used: it says no for a connection that broke while the answer was read.
func ambiguous(err error) bool {
	if refused, is := errors.AsType[*pgconn.PgError](err); is {
		return slices.Contains([]string{"FATAL", "PANIC"}, cmp.Or(refused.SeverityUnlocalized, refused.Severity))
	}
	return !errors.Is(err, pgx.ErrTxCommitRollback)
}

// How long Commit waits to learn the outcome after a lost answer, and how often it asks.
const (
	resolveWithin = 2 * time.Second
	resolveEvery  = 50 * time.Millisecond
)

// resolve finds out what became of a commit whose answer was lost.
func (tx *Tx) resolve(cause error) error {
	tx.release()
	ctx, cancel := context.WithTimeout(tx.db.closing, resolveWithin)
	defer cancel()
	committed, err := tx.outcome(ctx)
	switch {
	case err != nil && tx.db.closing.Err() != nil:
		tx.Tell(&tx.db.Signals, false)
		return fmt.Errorf("%w, and the database was closed: %w", errUnknown, cause)
	case err != nil:
		// It runs until the server is back or the database is closed. While the server is away no transaction begins, so there are never more
		// of these goroutines than connections. When the server is there and the commit waits for the log's lock, it ends with that.
		tx.db.running.Go(tx.resolveLate)
		return unavailable(fmt.Errorf("%w: %w", errUnknown, cause))
	case !committed:
		tx.Tell(&tx.db.Signals, false)
		return unavailable(fmt.Errorf("commit: %w", cause))
	}
	tx.Tell(&tx.db.Signals, true)
	return nil
}

func (tx *Tx) resolveLate() {
	committed, err := tx.outcome(tx.db.closing)
	if err != nil || !committed {
		tx.Tell(&tx.db.Signals, false)
		return
	}
	tx.tellLate()
}

func (tx *Tx) tellLate() {
	for _, fn := range tx.late {
		fn(tx.db.closing)
	}
	tx.Tell(&tx.db.Signals, true)
}

// statusOf also says "in progress" on a standby, which may be behind.
const statusOf = `SELECT CASE WHEN pg_is_in_recovery() THEN 'in progress' ELSE pg_xact_status($1::text::xid8) END`

// outcome asks until the server says whether the transaction was committed, or ctx ends.
func (tx *Tx) outcome(ctx context.Context) (committed bool, err error) {
	for {
		var status *string
		err = tx.db.query(ctx, func(r pgx.Rows) error { return r.Scan(&status) }, statusOf, tx.xid)
		if err == nil && status != nil && *status == "committed" {
			if committed, err = tx.wrote(ctx); err == nil {
				return committed, nil
			}
		}
		switch {
		case err == nil && status == nil:
			return false, errors.New("the transaction is too old to be known")
		case err == nil && *status == "aborted", code(err) == codeWrongValue: // the server now runs from an older backup in the server's place
			return false, nil
		}
		if !pause(ctx, resolveEvery) {
			return false, errors.Join(ctx.Err(), err)
		}
	}
}

// proof looks for something that the transaction has written, by its ID. A server that crashed hands out again the transaction IDs
// that it had given and not yet written down, so another transaction may be committed under this one's ID.
type proof struct {
	sql  string
	args []any
}

const (
	wroteRecord = `SELECT EXISTS (SELECT 1 FROM records WHERE tenant_id = $2 AND stream = $3 AND version = $4 AND ` + isOfTx + `)`
	wroteEvent  = `SELECT EXISTS (SELECT 1 FROM events WHERE tenant_id = $2 AND event_id = $3 AND ` + isOfTx + `)`
	isOfTx      = `xmin::text::bigint = $1::text::bigint & 4294967295`
)

// proofOf makes the proof for what is about to be appended; nil when none of it has a key.
func proofOf(pending []appended) *proof {
	for _, a := range pending {
		if len(a.accepted) > 0 {
			return &proof{wroteEvent, []any{a.accepted[0].TenantID, a.accepted[0].ID}}
		}
		if a.Version > 0 {
			return &proof{wroteRecord, []any{a.Tenant, a.Stream, a.Version}}
		}
	}
	return nil
}

// wrote reports whether a commit was this transaction's. Without a proof it is believed: if the leases that it was to take are not
// there, their outcomes are refused.
func (tx *Tx) wrote(ctx context.Context) (found bool, err error) {
	if tx.proof == nil {
		return true, nil
	}
	err = tx.db.query(ctx, func(r pgx.Rows) error { return r.Scan(&found) }, tx.proof.sql, append([]any{tx.xid}, tx.proof.args...)...)
	return found, err
}

// whenLate calls fn when the transaction turns out to be committed after Commit failed for want of an answer: what its user
// did not learn of must be taken back.
func (tx *Tx) whenLate(fn func(ctx context.Context)) { tx.late = append(tx.late, fn) }
