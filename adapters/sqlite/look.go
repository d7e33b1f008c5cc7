package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// lookTimeout bounds the wait for a slot.
const lookTimeout = 5 * time.Second

// reader runs queries, in the transaction that the context carries if there is one.
type reader interface {
	// query calls each for every row.
	query(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error
}

// forUsers is for what the API's users look up and list, and what is reconciled. However slow or numerous those reads get, connections are
// left for delivering, for checking API keys and for what else the service reads.
func (db *DB) forUsers() reader { return looker{db} }

// looker reads as the DB does, once it has one of the slots. A transaction needs none: it has its connection.
type looker struct{ *DB }

func (l looker) query(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error {
	if _, inTx := ctx.Value(txKey{}).(*Tx); !inTx {
		if err := l.enter(ctx); err != nil {
			return err
		}
		defer l.leave()
	}
	return l.DB.query(ctx, each, query, args...)
}

func (l looker) enter(ctx context.Context) error {
	timer := time.NewTimer(lookTimeout)
	defer timer.Stop()
	select {
	case l.looking <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to look something up: %w", context.Cause(ctx))
	case <-timer.C:
		return unavailable("does not answer", fmt.Errorf("wait to look something up: %w", context.DeadlineExceeded))
	}
}

func (l looker) leave() { <-l.looking }
