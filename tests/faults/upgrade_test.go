package faults_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// upgradeScenarios are about binaries and data of different ages.
var upgradeScenarios = []scenario{
	{name: "rolling upgrade", does: "at load, one process after the other is replaced by a newer binary, whose migration widens every table; an old one that starts too late refuses",
		on: onlyPostgreSQL, run: upgrade},
	{name: "older backup restored", does: "a backup is taken with attempts out, more is accepted and delivered, the backup is restored, and all is emitted again under its IDs", on: both,
		run: restoreBackup},
}

// widen is a migration that changes each table, beside processes that do not know of it.
const widen = `DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition AND c.relname <> 'schema_migrations' ORDER BY c.oid
    LOOP
        EXECUTE 'ALTER TABLE ' || name || ' ADD COLUMN newer text DEFAULT ''n''';
    END LOOP;
END $$`

// newer builds this source with one migration more.
func newer(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for name, sql := range map[string]string{"9999_newer.up.sql": widen, "9999_newer.down.sql": "SELECT 1"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(sql), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, "migrations/postgres", name)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := build("newer", "-overlay", file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func upgrade(t *testing.T, k kind) string {
	next := newer(t)
	s := open(t, fresh(t, k), nil, manyTurns...).prepare()
	older := s.binary
	stop := s.load(20 * time.Millisecond)
	moving := func() {
		before := s.receiver.count()
		eventually(t, "deliveries move", func() bool { return s.receiver.count() >= before+inFull(50, 2000) })
	}
	moving()
	s.binary = next
	for n := range s.slots {
		s.retire(n)
		s.start(n)
		moving()
		if n == 0 {
			refuses(t, older, environment(s.database))
		}
	}
	stop()
	return s.check().String()
}

// retire asks a process to end, and waits for it.
func (s *site) retire(n int) {
	s.Helper()
	p := s.slots[n].Load()
	p.signal(syscall.SIGTERM)
	eventually(s.T, "it ends", p.hasEnded)
	if code := p.command.ProcessState.ExitCode(); code != 0 {
		s.Errorf("process %d ended with %d", n, code)
	}
}

// refuses has a binary meet a schema that is newer than it.
func refuses(t *testing.T, binary string, env []string) {
	t.Helper()
	p, err := launch(binary, env)
	if err == nil {
		eventually(t, "it ends", p.hasEnded) // it listens while it waits for the database
	}
	if code := p.command.ProcessState.ExitCode(); code != 1 || !p.log.says("newer than this binary knows") {
		t.Errorf("the old binary ended with %d on a newer schema:\n%s", code, tail(p.log.String(), 10))
	}
}
