package e2e_test

import (
	"database/sql"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // database/sql's driver

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// A schema is taken back from under nobody: processes would go on failing with it and pass for ready.
func TestMigrateDownIsRefusedBesideProcesses(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	env := []string{"ORDINAVO_DATABASE_URL=" + url, "ORDINAVO_MASTER_KEY=" + masterKey(1)}
	down := func(wantCode int, says string) {
		t.Helper()
		if code, out, stderr := run(t, environment(t.TempDir(), env...), "", "migrate", "down", "1"); code != wantCode || !strings.Contains(out+stderr, says) {
			t.Errorf("exit code %d: %s%s", code, out, stderr)
		}
	}
	down(1, "only 0 migrations can be taken back") // a schema that knows of no processes
	one, other := start(t, t.TempDir(), env...), start(t, t.TempDir(), env...)
	down(1, "in the last 30 seconds: 2; stop every one")
	for _, s := range []*service{one, other} {
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}
	down(1, "in the last 30 seconds: 2; stop every one")
	db, err := sql.Open("pgx", url)
	pgtest.Check(t, err)
	defer func() { _ = db.Close() }()
	_, err = db.Exec(`UPDATE incarnations SET heartbeat_at = heartbeat_at - 30000000`)
	pgtest.Check(t, err)
	down(0, "schema version ")
}
