package topics_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/eventlogtest"
	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/postgres/topics"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

func TestLog(t *testing.T) { eventlogtest.Run(t, newDatabase) }

func TestSuiteFindsPlantedBugs(t *testing.T) { eventlogtest.FindPlantedBugs(t, newDatabase) }

func TestConformance(t *testing.T) { eventlogtest.Conform(t, newDatabase) }

var migrated = pgtest.Template{Prepare: func(url string) error {
	db, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		return err
	}
	return errors.Join(db.Migrate(), db.Close())
}}

func openURL(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(postgres.Config{URL: url, MaxConns: 32})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newDatabase(t *testing.T) eventlogtest.Database {
	t.Helper()
	url := migrated.Copy(t)
	return database(t, url, openURL(t, url))
}

func database(t *testing.T, url string, db *postgres.DB) eventlogtest.Database {
	t.Helper()
	exec := func(ctx context.Context, statement string, args ...any) error {
		return db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error {
			_, err := tx.Exec(ctx, statement, args...)
			return err
		})
	}
	return eventlogtest.Database{
		Database: topics.Of(db),
		Exec:     func(ctx context.Context, statement string) error { return exec(ctx, statement) },
		Count: func(ctx context.Context, query string) (n int64, err error) {
			err = db.Query(ctx, func(r pgx.Rows) error { return r.Scan(&n) }, query)
			return n, err
		},
		Begin: func(ctx context.Context) (func() error, error) {
			tx, err := db.Begin(ctx)
			if err != nil {
				return nil, err
			}
			return tx.Commit, nil
		},
		Insert: func(ctx context.Context, topic string, r eventlog.Record) error {
			return exec(ctx, `INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at)
				VALUES (nextval('log_numbers'), $1, $2, $3, $4, $5, $6, coalesce($7::bytea, ''), 0)`, topic, r.TenantID, r.Stream, r.Version, r.Type, r.Data, r.Metadata)
		},
		Another: func() eventlogtest.Database { return database(t, url, openURL(t, url)) },
		Ended:   pgx.ErrTxClosed,
	}
}

// TestAProcessTakesOverFromOneThatIsGone lets the process that acknowledged last disappear with a message in hand.
func TestAProcessTakesOverFromOneThatIsGone(t *testing.T) {
	t.Parallel()
	one := eventlogtest.NewWorld(t.Context(), t, newDatabase(t))
	defer one.Close()
	two := eventlogtest.AnotherWorld(t.Context(), t, one.Another())
	defer two.Close()
	one.Publish("a", "b", "c")
	first, ones := one.Subscribe(eventlog.Options{})
	one.Receive(ones, "a").Ack()
	one.Affect(one.Receive(ones, "b")) // so that the group's lock is held
	_, twos := two.Subscribe(eventlog.Options{Recheck: 10 * time.Millisecond})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	two.Affect(two.Receive(twos, "b"))
	if effects := two.Effects(); effects != 0 {
		t.Errorf("%d effects of messages that nobody acknowledged", effects)
	}
}

// TestWhoHasTheTurnKeepsOthersOut has two processes with the same message in hand, of which one has begun.
func TestWhoHasTheTurnKeepsOthersOut(t *testing.T) {
	t.Parallel()
	one := eventlogtest.NewWorld(t.Context(), t, newDatabase(t))
	defer one.Close()
	two := eventlogtest.AnotherWorld(t.Context(), t, one.Another())
	defer two.Close()
	one.Publish("a")
	_, ones := one.Subscribe(eventlog.Options{})
	_, twos := two.Subscribe(eventlog.Options{})
	first, second := one.Receive(ones, "a"), two.Receive(twos, "a")
	one.Affect(first)
	two.Superseded(second)
}

// TestTheTurnOfAProcessThatHasEndedIsFree has the next one begin at once, and not when it has waited for the other.
func TestTheTurnOfAProcessThatHasEndedIsFree(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	ended, db := openURL(t, url), openURL(t, url)
	one := eventlogtest.NewWorld(t.Context(), t, database(t, url, ended))
	two := eventlogtest.AnotherWorld(t.Context(), t, database(t, url, db))
	defer two.Close()
	one.Publish("a", "b")
	first, ones := one.Subscribe(eventlog.Options{})
	one.Receive(ones, "a").Ack()
	one.Receive(ones, "b")
	until(t, "the first process is seen", func() bool { return db.Gone(t.Context(), "nobody") && !db.Gone(t.Context(), ended.Name()) })
	_ = first.Close()
	_ = ended.Close()
	until(t, "the first process is seen to be gone", func() bool { return db.Gone(t.Context(), ended.Name()) })
	_, twos := two.Subscribe(eventlog.Options{Recheck: time.Hour})
	two.Receive(twos, "b")
}

// until asks again and again.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for end := time.After(90 * time.Second); !is(); {
		select {
		case <-often.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}
