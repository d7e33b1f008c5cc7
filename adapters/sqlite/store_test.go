package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/storetest"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/delivery"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database { return openStore(t) })
}

func TestSuiteFindsPlantedBugs(t *testing.T) { storetest.FindPlantedBugs(t, openStore) }

// openStore makes a migrated store in a new file.
func openStore(t *testing.T) storetest.Database {
	t.Helper()
	db := openMigrated(t)
	return storetest.Database{
		Store: sqlite.NewStore(db, tagging{}),
		ReachFanOut: func(ctx context.Context, position int64) error {
			return exec(ctx, db, `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES (?1, ?2, ?3)
				ON CONFLICT DO UPDATE SET position = ?3`, fanout.Group, records.TopicEvents, position)
		},
		MoveSecret: func(ctx context.Context, from, to dispatch.Lane, secretID string) error {
			return exec(ctx, db, `UPDATE secrets SET tenant_id = ?, subscription_id = ? WHERE tenant_id = ? AND subscription_id = ? AND secret_id = ?`,
				to.Tenant, to.SubscriptionID, from.Tenant, from.SubscriptionID, secretID)
		},
		Damage: func(ctx context.Context, d delivery.Delivery, what storetest.Damage) (bool, error) {
			sql := map[storetest.Damage]string{
				storetest.NoBody: `DELETE FROM bodies WHERE tenant_id = ?1 AND event_id = ?2 AND ?3 <> ?4`,
				storetest.Body:   `UPDATE bodies SET body = x'02' WHERE tenant_id = ?1 AND event_id = ?2 AND ?3 <> ?4`,
				storetest.Event:  `UPDATE events SET content = x'02' WHERE tenant_id = ?1 AND event_id = ?2 AND ?3 <> ?4`,
				storetest.Record: `UPDATE records SET data = x'02' WHERE tenant_id = ?1 AND stream = 'delivery/' || ?4 AND ?2 <> ?3
					AND version = (SELECT max(version) FROM records WHERE tenant_id = ?1 AND stream = 'delivery/' || ?4)`,
				storetest.Jobs:     `UPDATE jobs SET state = x'02' WHERE tenant_id = ?1 AND ?2 <> ?3 || ?4`,
				storetest.Waits:    `UPDATE deferred_events SET events = '[' WHERE tenant_id = ?1 AND ?2 <> ?3 || ?4`,
				storetest.WaitsNot: `UPDATE deferred_events SET events = '[]' WHERE tenant_id = ?1 AND ?2 <> ?3 || ?4`,
				storetest.State:    `UPDATE subscriptions SET state = x'02' WHERE tenant_id = ?1 AND subscription_id = ?3 AND ?2 <> ?4`,
				storetest.NoState:  `DELETE FROM subscriptions WHERE tenant_id = ?1 AND subscription_id = ?3 AND ?2 <> ?4`,
				storetest.Stream:   `UPDATE records SET data = x'02' WHERE tenant_id = ?1 AND stream = 'subscription/' || ?3 AND ?2 <> ?4`,
				storetest.Status:   `UPDATE open_deliveries SET status = 'frozen' WHERE tenant_id = ?1 AND delivery_id = ?4 AND ?2 <> ?3`,
				storetest.Warnings: `UPDATE open_deliveries SET warnings = '[' WHERE tenant_id = ?1 AND delivery_id = ?4 AND ?2 <> ?3`,
			}[what]
			return true, exec(ctx, db, sql, d.Tenant, d.EventID, d.SubscriptionID, d.ID)
		},
		CountRecords: func(ctx context.Context, topic string) (n int, err error) {
			rows, err := db.Query(ctx, `SELECT count(*) FROM records WHERE topic = ?`, topic)
			if err != nil {
				return 0, err
			}
			defer func() { _ = rows.Close() }()
			rows.Next()
			return n, errors.Join(rows.Scan(&n), rows.Err())
		},
		Close: db.Close,
	}
}

// openDB opens a new file, without tables.
func openDB(t *testing.T) *sqlite.DB {
	t.Helper()
	return openFile(t, filepath.Join(t.TempDir(), "store.db"))
}

// openMigrated opens a new file with the schema.
func openMigrated(t *testing.T) *sqlite.DB {
	t.Helper()
	file := filepath.Join(t.TempDir(), "store.db")
	schema, err := migrated()
	if err := errors.Join(err, os.WriteFile(file, schema, 0o600)); err != nil {
		t.Fatal(err)
	}
	return openFile(t, file)
}

// migrated is a file with the schema, which is made once: to migrate takes longer than most tests do afterwards.
var migrated = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ordinavo-migrated-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "store.db")
	db, err := sqlite.Open(context.Background(), file)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(db.Migrate(), db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

func openFile(t *testing.T, file string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func exec(ctx context.Context, db *sqlite.DB, query string, args ...any) error {
	return db.Update(ctx, func(ctx context.Context, tx *sqlite.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
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
