package e2e_test

import (
	"database/sql"
	"strings"
	"syscall"
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

// A start whose migration waits for others ends when it is asked to.
func TestASignalWhileAMigrationWaits(t *testing.T) {
	t.Parallel()
	env := onDatabase(pgtest.Empty(t))
	for _, words := range [][]string{{"migrate", "up"}, {"migrate", "down", "1"}} {
		if code, out, stderr := run(t, environment(t.TempDir(), env...), "", words...); code != 0 {
			t.Fatalf("%s: exit code %d: %s%s", words, code, out, stderr)
		}
	}
	db, err := sql.Open("pgx", strings.TrimPrefix(env[0], "ORDINAVO_DATABASE_URL="))
	pgtest.Check(t, err)
	defer func() { _ = db.Close() }()
	user, err := db.Begin()
	pgtest.Check(t, err)
	defer func() { _ = user.Rollback() }()
	_, err = user.Exec(`LOCK TABLE schema_migrations IN SHARE MODE`)
	pgtest.Check(t, err)
	s, err := begin(t.TempDir(), env...) // which has yet to say where it listens
	pgtest.Check(t, err)
	t.Cleanup(s.kill)
	eventually(t, "the migration waits", func() bool { return s.log.says("the migration waits") })
	s.signal(t, syscall.SIGTERM)
	if code := s.exitCode(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.log)
	}
}
