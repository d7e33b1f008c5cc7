package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

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
	db     *DB
	sealer records.Sealer
	heads  laneHeads
	turns  turnHeads

	round  retention.Round
	closed retention.Passed
	usedAt atomic.Pointer[time.Time] // when others were last found using a table that retention needed for itself
}

// NewStore makes the store on a migrated database.
func NewStore(db *DB, sealer records.Sealer) *Store {
	return &Store{Streams: db.stream, db: db, sealer: sealer, heads: newLaneHeads(), turns: newTurnHeads()}
}

// InTx runs fn in a transaction that its context carries. fn may run more than once; see DB.Update.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.db.Update(ctx, func(ctx context.Context, _ *Tx) error { return fn(ctx) })
}

// Ping checks that the database answers and has the service's tables.
func (s *Store) Ping(ctx context.Context) error {
	return s.db.from(ctx).query(ctx, func(pgx.Rows) error { return nil }, `SELECT count(*) FROM (SELECT 1 FROM consumer_offsets LIMIT 1) AS any_row`)
}

// all collects every row of a query.
func all[T any](ctx context.Context, from reader, scan func(pgx.Rows) (T, error), sql string, args ...any) (list []T, err error) {
	err = from.query(ctx, func(r pgx.Rows) error {
		item, err := scan(r)
		if err == nil {
			list = append(list, item)
		}
		return err
	}, sql, args...)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// one is the first row of a query; pgx.ErrNoRows when there is none.
func one[T any](ctx context.Context, from reader, scan func(pgx.Rows) (T, error), sql string, args ...any) (T, error) {
	list, err := all(ctx, from, scan, sql, args...)
	if err == nil && len(list) == 0 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// value scans a row of one column.
func value[T any](r pgx.Rows) (v T, err error) {
	err = r.Scan(&v)
	return v, err
}

// mustChange changes a row, and fails with problem.NotFound when there is none.
func (s *Store) mustChange(ctx context.Context, what, sql string, args ...any) error {
	n, err := s.change(ctx, sql, args...)
	if err == nil && n == 0 {
		err = problem.New(problem.NotFound, "There is no such %s.", what)
	}
	return err
}

// change runs one statement in a transaction.
func (s *Store) change(ctx context.Context, sql string, args ...any) (changed int64, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		changed, err = tx.Exec(ctx, sql, args...)
		return err
	})
	return changed, err
}

// stamp stores a time as microseconds since 1970; NULL for the zero time.
func stamp(at time.Time) *int64 {
	if at.IsZero() {
		return nil
	}
	micros := at.UnixMicro()
	return &micros
}

// bound is the first stamp that is not before a time, which may lie between two of them.
func bound(at time.Time) int64 { return at.Add(time.Microsecond - time.Nanosecond).UnixMicro() }

// microsOrNone is for columns of many, where NULL would take a pointer each: 0 is no time.
func microsOrNone(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}

func moment(micros *int64) time.Time {
	if micros == nil {
		return time.Time{}
	}
	return time.UnixMicro(*micros).UTC()
}

// texts is an array parameter of named strings.
func texts[S ~string](items []S) []string {
	list := make([]string, len(items))
	for i, item := range items {
		list[i] = string(item)
	}
	return list
}

func jsonText(item any) (string, error) {
	text, err := json.Marshal(item)
	return string(text), err
}

// laneArrays are the array parameters for a set of lanes.
func laneArrays(lanes []dispatch.Lane) (tenants, subscriptions []string) {
	tenants, subscriptions = make([]string, len(lanes)), make([]string, len(lanes))
	for i, lane := range lanes {
		tenants[i], subscriptions[i] = string(lane.Tenant), lane.SubscriptionID
	}
	return tenants, subscriptions
}

// SaveSecret keeps a signing secret, sealed for this tenant, subscription and ID alone.
func (s *Store) SaveSecret(ctx context.Context, lane dispatch.Lane, secretID string, plain secret.Secret, now time.Time) error {
	sealed, err := records.SealSecret(s.sealer, plain, lane, secretID)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, `INSERT INTO secrets (tenant_id, subscription_id, secret_id, sealed, created_at) VALUES ($1, $2, $3, $4, $5)`,
		lane.Tenant, lane.SubscriptionID, secretID, sealed, stamp(now))
	return err
}

// OpenSecret reads and opens a signing secret.
func (s *Store) OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	sealed, err := one(ctx, s.db.from(ctx), value[[]byte],
		`SELECT sealed FROM secrets WHERE tenant_id = $1 AND subscription_id = $2 AND secret_id = $3`, owner, subscriptionID, secretID)
	lane := dispatch.Lane{Tenant: owner, SubscriptionID: subscriptionID}
	if errors.Is(err, pgx.ErrNoRows) {
		if of, stateErr := s.CurrentSubscription(ctx, lane); stateErr == nil && !of.HasSecret(secretID) {
			err = dispatch.ErrDeleted
		}
	}
	if err != nil {
		return secret.Secret{}, fmt.Errorf("read a signing secret: %w", err)
	}
	return records.OpenSecret(s.sealer, sealed, lane, secretID)
}
