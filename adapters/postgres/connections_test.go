package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
)

// TestSlowListsLeaveConnections has more lists wait for a lock than there are connections.
func TestSlowListsLeaveConnections(t *testing.T) {
	t.Parallel()
	const conns = 8
	url := migrated.Copy(t)
	db := openURL(t, postgres.Config{URL: url, MaxConns: conns})
	blocker, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blocker.Close(context.Background()) }()
	if _, err := blocker.Exec(t.Context(), `BEGIN; LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	store := postgres.NewStore(db, tagging{})
	var lists sync.WaitGroup
	defer lists.Wait()
	defer cancel()
	for range 4 * conns {
		lists.Go(func() {
			_, _ = store.Jobs(ctx, "acme", "", 1)
		})
	}
	waiting := func() (n int) {
		row := blocker.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'jobs'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for end := time.Now().Add(patience); waiting() < conns/2; {
		if time.Now().After(end) {
			t.Fatalf("%d lists wait", waiting())
		}
	}
	for range 200 {
		if err := execute(t.Context(), db, `SELECT count(*) FROM tenants`); err != nil {
			t.Fatalf("a transaction found no connection: %v", err)
		}
	}
	if n := waiting(); n > conns/2 {
		t.Errorf("lists have %d of %d connections", n, conns)
	}
}
