package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Store implements what the application needs from a database.
type Store struct {
	records.Streams
	db        *DB
	sealer    records.Sealer
	reserving reservations
	round     retention.Round
	closed    retention.Passed
	passed    sync.Map // tenant.ID to int64: the sequence up to which retention has looked, on the same day, for old events without deliveries
}

// NewStore makes the store on a migrated database.
func NewStore(db *DB, sealer records.Sealer) *Store {
	return &Store{Streams: db.stream, db: db, sealer: sealer, reserving: reservations{turn: make(chan struct{}, 1)}}
}

// InTx runs fn in a transaction that its context carries.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.db.Update(ctx, func(ctx context.Context, _ *Tx) error { return fn(ctx) })
}

// Ping checks that the database answers, that the service's tables are there, and that the file is where it was.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.inPlace(); err != nil {
		return err
	}
	_, err := one(ctx, s.db, value[int], `SELECT count(*) FROM (SELECT 1 FROM consumer_offsets LIMIT 1) AS any_row`)
	return err
}

// rows reads in the transaction that ctx carries, else from the last committed state.
func (db *DB) rows(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if tx, ok := ctx.Value(txKey{}).(*Tx); ok {
		return tx.Query(ctx, query, args...)
	}
	return db.Query(ctx, query, args...)
}

// query calls each for every row.
func (db *DB) query(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) (err error) {
	rows, err := db.rows(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, translate(rows.Close())) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return translate(rows.Err())
}

// all collects every row of a query.
func all[T any](ctx context.Context, from reader, scan func(*sql.Rows) (T, error), query string, args ...any) (list []T, err error) {
	err = from.query(ctx, func(r *sql.Rows) error {
		item, err := scan(r)
		if err == nil {
			list = append(list, item)
		}
		return err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// one is the first row of a query; sql.ErrNoRows when there is none.
func one[T any](ctx context.Context, from reader, scan func(*sql.Rows) (T, error), query string, args ...any) (T, error) {
	list, err := all(ctx, from, scan, query, args...)
	if err == nil && len(list) == 0 {
		err = sql.ErrNoRows
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// value scans a row of one column.
func value[T any](r *sql.Rows) (v T, err error) {
	err = r.Scan(&v)
	return v, err
}

// notFound turns sql.ErrNoRows into problem.NotFound.
func notFound(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return problem.New(problem.NotFound, "There is no such %s.", what)
	}
	return err
}

// change runs one statement in a transaction.
func (s *Store) change(ctx context.Context, query string, args ...any) (changed int64, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		changed, err = tx.Exec(ctx, query, args...)
		return err
	})
	return changed, err
}

// mustChange is a change that answers problem.NotFound when it changed nothing.
func (s *Store) mustChange(ctx context.Context, what, query string, args ...any) error {
	n, err := s.change(ctx, query, args...)
	if err == nil && n == 0 {
		err = problem.New(problem.NotFound, "There is no such %s.", what)
	}
	return err
}

// stamp is a time as it is stored: microseconds since 1970, NULL for the zero time.
func stamp(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UnixMicro()
}

// bound is the first stamp that is not before a time, which may lie between two of them.
func bound(at time.Time) int64 { return at.Add(time.Microsecond - time.Nanosecond).UnixMicro() }

func moment(micros sql.NullInt64) time.Time {
	if !micros.Valid {
		return time.Time{}
	}
	return time.UnixMicro(micros.Int64).UTC()
}

// list encodes a set for json_each, so that one prepared statement serves any size.
func list(items any) (string, error) {
	text, err := json.Marshal(items)
	return string(text), err
}

// SaveSecret stores a signing secret, sealed for this tenant, subscription and ID only.
func (s *Store) SaveSecret(ctx context.Context, lane dispatch.Lane, secretID string, plain secret.Secret, now time.Time) error {
	sealed, err := records.SealSecret(s.sealer, plain, lane, secretID)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, `INSERT INTO secrets (tenant_id, subscription_id, secret_id, sealed, created_at) VALUES (?, ?, ?, ?, ?)`,
		lane.Tenant, lane.SubscriptionID, secretID, sealed, stamp(now))
	return err
}

// OpenSecret reads and opens a signing secret.
func (s *Store) OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	sealed, err := one(ctx, s.db, value[[]byte],
		`SELECT sealed FROM secrets WHERE tenant_id = ? AND subscription_id = ? AND secret_id = ?`, owner, subscriptionID, secretID)
	lane := dispatch.Lane{Tenant: owner, SubscriptionID: subscriptionID}
	if errors.Is(err, sql.ErrNoRows) {
		if of, stateErr := s.CurrentSubscription(ctx, lane); stateErr == nil && !of.HasSecret(secretID) {
			err = dispatch.ErrDeleted
		}
	}
	if err != nil {
		return secret.Secret{}, fmt.Errorf("read a signing secret: %w", err)
	}
	return records.OpenSecret(s.sealer, sealed, lane, secretID)
}
