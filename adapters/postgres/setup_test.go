package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/storetest"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// migrated is a database with the schema.
var migrated = pgtest.Template{Prepare: func(url string) error {
	db, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		return err
	}
	return errors.Join(db.Migrate(), db.Close())
}}

// openURL opens a database and closes it with the test.
func openURL(t testing.TB, config postgres.Config) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func openDB(t testing.TB) *postgres.DB {
	t.Helper()
	return openURL(t, postgres.Config{URL: migrated.Copy(t)})
}

// openStore makes a migrated store in a new database.
func openStore(t *testing.T) storetest.Database {
	t.Helper()
	t.Parallel() // they wait for the disk most of the time
	return migratedStore(t)
}

// later is a machine's clock of which no time of a check is ahead.
func later() time.Time { return time.Now().AddDate(10, 0, 0) }

func migratedStore(t *testing.T) storetest.Database {
	t.Helper()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t), Now: later})
	return storetest.Database{
		Store: postgres.NewStore(db, tagging{}),
		ReachFanOut: func(ctx context.Context, position int64) error {
			return execute(ctx, db, `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES ($1, $2, $3)
				ON CONFLICT (consumer_group, topic) DO UPDATE SET position = excluded.position`, fanout.Group, records.TopicEvents, position)
		},
		MoveSecret: func(ctx context.Context, from, to dispatch.Lane, secretID string) error {
			return execute(ctx, db, `UPDATE secrets SET tenant_id = $1, subscription_id = $2 WHERE tenant_id = $3 AND subscription_id = $4 AND secret_id = $5`,
				to.Tenant, to.SubscriptionID, from.Tenant, from.SubscriptionID, secretID)
		},
		Damage: func(ctx context.Context, d delivery.Delivery, what storetest.Damage) (bool, error) {
			sql := map[storetest.Damage]string{
				storetest.NoBody: `DELETE FROM bodies WHERE tenant_id = $1::text AND event_id = $2::text AND $3::text <> $4::text`,
				storetest.Body:   `UPDATE bodies SET body = '\x02'::bytea WHERE tenant_id = $1::text AND event_id = $2::text AND $3::text <> $4::text`,
				storetest.Event:  `UPDATE events SET content = '\x02'::bytea WHERE tenant_id = $1::text AND event_id = $2::text AND $3::text <> $4::text`,
				storetest.Record: `UPDATE records SET data = '\x02'::bytea WHERE tenant_id = $1::text AND stream = 'delivery/' || $4::text AND $2::text <> $3::text
					AND version = (SELECT max(version) FROM records WHERE tenant_id = $1::text AND stream = 'delivery/' || $4::text)`,
				storetest.Jobs:     `UPDATE jobs SET state = '\x02'::bytea WHERE tenant_id = $1::text AND $2::text <> $3::text || $4::text`,
				storetest.Waits:    `UPDATE deferred_events SET events = '['::bytea WHERE tenant_id = $1::text AND $2::text <> $3::text || $4::text`,
				storetest.WaitsNot: `UPDATE deferred_events SET events = '[]'::bytea WHERE tenant_id = $1::text AND $2::text <> $3::text || $4::text`,
				storetest.State:    `UPDATE subscriptions SET state = '\x02'::bytea WHERE tenant_id = $1::text AND subscription_id = $3::text AND $2::text <> $4::text`,
				storetest.NoState:  `DELETE FROM subscriptions WHERE tenant_id = $1::text AND subscription_id = $3::text AND $2::text <> $4::text`,
				storetest.Stream:   `UPDATE records SET data = '\x02'::bytea WHERE tenant_id = $1::text AND stream = 'subscription/' || $3::text AND $2::text <> $4::text`,
				storetest.Status:   `UPDATE open_deliveries SET status = 'frozen' WHERE tenant_id = $1::text AND delivery_id = $4::text AND $2::text <> $3::text`,
				storetest.Warnings: `UPDATE open_deliveries SET warnings = '[' WHERE tenant_id = $1::text AND delivery_id = $4::text AND $2::text <> $3::text`,
			}[what]
			return true, execute(ctx, db, sql, d.Tenant, d.EventID, d.SubscriptionID, d.ID)
		},
		CountRecords: func(ctx context.Context, topic string) (n int, err error) {
			err = db.Query(ctx, func(r pgx.Rows) error { return r.Scan(&n) }, `SELECT count(*) FROM records WHERE topic = $1`, topic)
			return n, err
		},
		Close: db.Close,
	}
}

func execute(ctx context.Context, db *postgres.DB, sql string, args ...any) error {
	return db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	})
}

// tagging is a sealer that hides nothing, but opens only what was sealed for the same.
type tagging struct{}

var errTag = errors.New("sealed for something else")

func tag(associated []string) []byte { return []byte(strings.Join(associated, "\x00") + "\x01") }

func (tagging) Seal(plain []byte, associated ...string) ([]byte, error) {
	return append(tag(associated), plain...), nil
}

func (tagging) Open(sealed []byte, associated ...string) ([]byte, error) {
	plain, found := bytes.CutPrefix(sealed, tag(associated))
	if !found {
		return nil, errTag
	}
	return plain, nil
}
