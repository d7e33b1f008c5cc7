package e2e_test

import (
	"database/sql"
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// damageable opens the database of a service that keeps it in dir and runs with env.
func damageable(t *testing.T, kind, dir string) (db *sql.DB, env []string) {
	t.Helper()
	driver, url := "sqlite", "file:"+databasePath(dir)+"?_pragma=busy_timeout(10000)"
	if kind == "PostgreSQL" {
		driver, url = "pgx", pgtest.Empty(t)
		env = []string{"ORDINAVO_DATABASE_URL=" + url, "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, env
}

func damage(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	damaged, err := db.Exec(statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := damaged.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("damaged %d rows: %v", n, err)
	}
}

// What was acknowledged is sent, though the records that name the events are damaged before anybody has read them.
func TestEventsOfADamagedRecordAreDelivered(t *testing.T) {
	t.Parallel()
	for kind, statement := range map[string]string{
		"SQLite":     `UPDATE records SET data = x'5b7b' WHERE topic = 'events'`,
		"PostgreSQL": `UPDATE records SET data = '\x02'::bytea WHERE topic LIKE 'events%'`,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db, env := damageable(t, kind, dir)
			accepting := start(t, dir, append(env, "ORDINAVO_ROLES=api")...)
			acme, hook := newTenant(t, accepting), receive(t, nil)
			sub := acme.subscribe(hook, "*", nil)
			ids := []string{acme.emit(acme.visit("visit_report.approved", nil)), acme.emit(acme.visit("visit_report.rejected", nil))}
			if err := accepting.stop(); err != nil {
				t.Fatal(err)
			}
			damage(t, db, statement)

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

// An event of which the database has a part already, as after a restore of some tables, keeps nobody else's from being delivered.
func TestAnEventThatTheDatabaseRefusesIsSetAside(t *testing.T) {
	t.Parallel()
	for kind, statement := range map[string]string{"SQLite": `DELETE FROM events WHERE event_id = ?`, "PostgreSQL": `DELETE FROM events WHERE event_id = $1`} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db, env := damageable(t, kind, dir)
			s := start(t, dir, env...)
			acme, hook := newTenant(t, s), receive(t, nil)
			sub := acme.subscribe(hook, "*", nil)
			half := "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV"
			visit := acme.visit("visit_report.approved", object{"eventId": half})
			acme.settled(acme.emit(visit), sub.ID, "succeeded")
			damage(t, db, statement, half)

			acme.emit(visit)
			other := newTenant(t, s)
			later := other.subscribe(hook, "*", nil)
			other.settled(other.emit(other.visit("visit_report.approved", nil)), later.ID, "succeeded")
			type shown struct {
				EventID  string
				SetAside struct{ Reason string }
			}
			var got []shown
			eventually(t, "an event set aside", func() bool {
				got = into[struct{ Data []shown }](acme.get("/v1/events?setAside=true").want(http.StatusOK)).Data
				return len(got) == 1
			})
			if got[0].EventID != half || got[0].SetAside.Reason != "what it comes to cannot be stored" {
				t.Errorf("set aside: %+v", got)
			}
			acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "succeeded")
		})
	}
}
