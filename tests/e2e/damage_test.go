package e2e_test

import (
	"database/sql"
	"encoding/base64"
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// What was acknowledged is sent, though the records that name the events are damaged before anybody has read them.
func TestEventsOfADamagedRecordAreDelivered(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct {
		driver, damage string
		place          func(t *testing.T, dir string) (url string, env []string)
	}{
		"SQLite": {"sqlite", `UPDATE records SET data = x'5b7b' WHERE topic = 'events'`, func(_ *testing.T, dir string) (string, []string) {
			return "file:" + databasePath(dir) + "?_pragma=busy_timeout(10000)", nil
		}},
		"PostgreSQL": {"pgx", `UPDATE records SET data = '\x02'::bytea WHERE topic LIKE 'events%'`, func(t *testing.T, _ string) (string, []string) {
			url := pgtest.Empty(t)
			return url, []string{"ORDINAVO_DATABASE_URL=" + url, "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			url, env := c.place(t, dir)
			accepting := start(t, dir, append(env, "ORDINAVO_ROLES=api")...)
			acme, hook := newTenant(t, accepting), receive(t, nil)
			sub := acme.subscribe(hook, "*", nil)
			ids := []string{acme.emit(acme.visit("visit_report.approved", nil)), acme.emit(acme.visit("visit_report.rejected", nil))}
			if err := accepting.stop(); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open(c.driver, url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			damaged, err := db.Exec(c.damage)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := damaged.RowsAffected(); err != nil || n == 0 {
				t.Fatalf("damaged %d records: %v", n, err)
			}

			s := start(t, dir, env...)
			later := tenant{s.platform(t).as(acme.id), acme.id}
			for _, id := range ids {
				later.settled(id, sub.ID, "succeeded")
			}
			if arrived := hook.wait(len(ids)); len(arrived) != len(ids) {
				t.Errorf("%d requests for %d events", len(arrived), len(ids))
			}
		})
	}
}
