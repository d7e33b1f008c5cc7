package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestWhoIsNotLetInIsToldSoAtOnce asks a server that has passwords, and some whom it lets in from nowhere.
func TestWhoIsNotLetInIsToldSoAtOnce(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start("fsync=off")
	pgtest.Check(t, err)
	defer func() { _ = server.Stop() }()
	pgtest.Check(t, server.Guard("host all guarded all scram-sha-256", "host all banned all reject"))
	owner := openURL(t, postgres.Config{URL: server.URL})
	for _, role := range []string{"guarded", "banned", "barred"} {
		pgtest.Check(t, execute(t.Context(), owner, `CREATE ROLE `+role+` LOGIN PASSWORD 'righteous'`))
	}
	pgtest.Check(t, execute(t.Context(), owner, `DO $$ BEGIN
		EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
		EXECUTE format('GRANT CONNECT ON DATABASE %I TO guarded', current_database()); END $$`))
	as := func(user string) *postgres.DB {
		return openURL(t, postgres.Config{URL: strings.Replace(server.URL, "ordinavo@", user+"@", 1)})
	}
	pgtest.Check(t, as("guarded:righteous").Await(t.Context(), func(err error) { t.Logf("the server is busy: %v", err) }))
	for user, reason := range map[string]string{
		"guarded:hushhush": `password authentication failed for user "guarded"`,
		"guarded":          `password authentication failed for user "guarded"`,
		"banned:righteous": `pg_hba.conf rejects connection for host "127.0.0.1", user "banned"`,
		"barred:righteous": `permission denied for database`,
		"unheard:hushhush": `role "unheard" does not exist`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := as(user).Await(ctx, func(err error) {
			if strings.Contains(err.Error(), reason) {
				cancel() // rather than for ever
				t.Errorf("%s was waited for, which does not mend it: %v", user, err)
			}
		})
		cancel()
		said := fmt.Sprint(err)
		if !strings.HasPrefix(said, "connect to the database: ") || !strings.Contains(said, reason) ||
			strings.Contains(said, "hushhush") || strings.Contains(said, "righteous") {
			t.Errorf("%s was told %v", user, err)
		}
	}
}
