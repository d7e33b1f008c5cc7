package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// TestUsersLeaveConnections has more lists and changes of users wait for a lock than there are connections.
func TestUsersLeaveConnections(t *testing.T) {
	const conns = 8
	for name, c := range map[string]struct {
		table  string
		most   int // of the connections, for two tenants
		ofOne  int
		called func(ctx context.Context, s *postgres.Store) error
	}{
		"lists": {"jobs", conns / 2, conns/2 - 1, func(ctx context.Context, s *postgres.Store) error {
			_, err := s.Jobs(ctx, "acme", "", 1)
			return err
		}},
		"changes": {"api_keys", conns / 4, conns/4 - 1, func(ctx context.Context, s *postgres.Store) error {
			return s.RevokeKey(ctx, "acme", "key_1", time.Now())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := migrated.Copy(t)
			db := openURL(t, postgres.Config{URL: url, MaxConns: conns})
			store, waiting := postgres.NewStore(db, tagging{}), lockTable(t, url, c.table)
			ctx, cancel := context.WithCancel(t.Context())
			var calls sync.WaitGroup
			defer calls.Wait()
			defer cancel()
			come := func(owner tenant.ID) {
				for range 4 * conns {
					calls.Go(func() { _ = c.called(share.For(ctx, owner), store) })
				}
			}
			leave := func(most int) {
				t.Helper()
				for end := time.Now().Add(patience); waiting() < most; {
					if time.Now().After(end) {
						t.Fatalf("%d wait, want %d", waiting(), most)
					}
				}
				for range 100 {
					if err := execute(t.Context(), db, `SELECT count(*) FROM tenants`); err != nil {
						t.Fatalf("a transaction of the service found no connection: %v", err)
					}
				}
				if n := waiting(); n > most {
					t.Errorf("they have %d of %d connections, want %d", n, conns, most)
				}
			}
			come("noisy")
			leave(c.ofOne)
			come("quiet")
			leave(c.most)
		})
	}
}

// Each event that is sent with an Idempotency-Key needs one.
func TestAReservationWaitsForNoChangesOfUsers(t *testing.T) {
	t.Parallel()
	const conns = 8
	url := migrated.Copy(t)
	store, waiting := postgres.NewStore(openURL(t, postgres.Config{URL: url, MaxConns: conns}), tagging{}), lockTable(t, url, "api_keys")
	ctx, cancel := context.WithCancel(share.For(t.Context(), "acme"))
	var calls sync.WaitGroup
	defer calls.Wait()
	defer cancel()
	for range conns {
		calls.Go(func() { _ = store.RevokeKey(ctx, "acme", "key_1", time.Now()) })
	}
	for end := time.Now().Add(patience); waiting() < conns/4-1; {
		if time.Now().After(end) {
			t.Fatalf("%d wait", waiting())
		}
	}
	now := time.Now()
	if _, err := store.Reserve(ctx, idempotency.Reservation{Token: "token", ReservedAt: now, ExpiresAt: now.Add(time.Hour)}, now); err != nil {
		t.Error(err)
	}
}

// lockTable locks the table, and counts those who wait for it.
func lockTable(t *testing.T, url, table string) (waiting func() int) {
	t.Helper()
	blocker, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blocker.Close(context.Background()) })
	if _, err := blocker.Exec(t.Context(), `BEGIN; LOCK TABLE `+table+` IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	return func() (n int) {
		row := blocker.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`, table)
		if err := row.Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
}
