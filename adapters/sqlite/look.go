package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/share"
)

// lookTimeout bounds the wait for a slot.
const lookTimeout = 5 * time.Second

// reader runs queries, in the transaction that the context carries if there is one.
type reader interface {
	// query calls each for every row.
	query(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error
}

// forUsers is for what the API's users look up and list, and what is reconciled. However slow or numerous those reads get, connections are
// left for delivering, for checking API keys and for what else the service reads; and however numerous a tenant's are, another's have their turn.
func (db *DB) forUsers() reader { return looker{db} }

// looker reads as the DB does, once it has one of the slots. A transaction needs none: it has its connection.
type looker struct{ *DB }

func (l looker) query(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error {
	if _, inTx := ctx.Value(txKey{}).(*Tx); !inTx {
		leave, err := l.enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
	}
	return l.DB.query(ctx, each, query, args...)
}

func (l looker) enter(ctx context.Context) (leave func(), err error) {
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leave, err = l.looking.Enter(bounded)
	if err != nil {
		err = fmt.Errorf("wait to look something up: %w", err)
	}
	if err != nil && ctx.Err() == nil {
		err = unavailable("does not answer", err)
	}
	return leave, err
}

// mayChange waits until a user's change may wait for the writer, which the service's own transactions do at once: however many changes a tenant
// asks for at a time, they have at most one of them before them.
func (db *DB) mayChange(ctx context.Context) (done func(), err error) {
	if _, asked := share.Of(ctx); !asked {
		return func() {}, nil
	}
	if done, err = db.changing.Enter(ctx); err != nil {
		return nil, fmt.Errorf("wait to change something: %w", err)
	}
	return done, nil
}
