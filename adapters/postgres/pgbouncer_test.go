package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/storetest"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestStoreBehindPgBouncer runs the contract through a pgbouncer in transaction mode with fewer connections to the
// server than the service has to it, so that each transaction has another one.
func TestStoreBehindPgBouncer(t *testing.T) {
	bouncer := pgtest.StartBouncer(t, pgtest.URL(t))
	for _, name := range []string{
		"intake/events come back as they were appended", "intake/a rollback leaves nothing", "schedule/a plan is stored whole",
		"lease/brings all that an attempt takes", "lease/two lessees never share one", "save/from open to open to closed to open again",
		"deliveries/every filter, alone and with others", "directory/the same IDs in two tenants and two source systems",
		"subscriptions/the stored state is the fold of the stream after every change", "idempotency/of many at once, one gets the key",
		"failures/cancelled in the middle of a transaction", "failures/reads that are cancelled do not panic",
	} {
		t.Run(name, func(t *testing.T) {
			direct := migrated.Copy(t)
			db := openURL(t, postgres.Config{URL: bouncer.URL(direct), DirectURL: direct, Now: later})
			for _, found := range storetest.Probe(t, name, storetest.Database{Store: postgres.NewStore(db, tagging{}), Close: db.Close}) {
				t.Error(found)
			}
		})
	}
}

// TestBehindPgBouncerAlone has no URL of the server itself: what a session would be for is left alone, and it says so.
func TestBehindPgBouncerAlone(t *testing.T) {
	direct := migrated.Copy(t)
	bouncer := pgtest.StartBouncer(t, pgtest.URL(t))
	var log syncedBuffer
	db := openURL(t, postgres.Config{URL: bouncer.URL(direct), Recheck: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := db.Migrate(); err != nil {
		t.Errorf("an up-to-date schema: %v", err)
	}
	for end := time.Now().Add(patience); !strings.Contains(log.String(), "ORDINAVO_DATABASE_DIRECT_URL"); {
		if time.Now().After(end) {
			t.Fatalf("it does not say that it polls: %s", log.String())
		}
	}
	store := postgres.NewStore(db, tagging{})
	if err := store.BeginIncarnation(t.Context(), "inc_1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `SELECT count(*) FROM incarnations WHERE session IS NOT NULL`); n != 0 {
		t.Error("others would take this process for dead: its session is not to be seen behind PgBouncer")
	}
	watch := db.WatchTopic("t")
	defer watch.Stop()
	<-watch.C // by looking
	empty := openURL(t, postgres.Config{URL: bouncer.URL(pgtest.Empty(t))})
	if err := empty.Migrate(); !errors.Is(err, postgres.ErrPooler) {
		t.Errorf("a schema that is to be migrated: %v", err)
	}
	if n := strings.Count(log.String(), "ORDINAVO_DATABASE_DIRECT_URL"); n != 1 {
		t.Errorf("it says it %d times", n)
	}
}

// syncedBuffer is a log to look into while it is written.
type syncedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *syncedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestManyThroughFewConnections has transactions of one kind of statement meet those of another on the same connections.
func TestManyThroughFewConnections(t *testing.T) {
	direct := migrated.Copy(t)
	db := openURL(t, postgres.Config{URL: pgtest.StartBouncer(t, direct).URL(direct), DirectURL: direct})
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 50 {
				err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
					if _, err := tx.Exec(ctx, fmt.Sprintf(`SELECT $1::int + %d`, (w+i)%7), i); err != nil {
						return err
					}
					return tx.Publish(ctx, message(w, i))
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if n := count(t, db, `SELECT count(*) FROM records`); n != 400 {
		t.Errorf("%d records, want 400", n)
	}
}
