package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/schema"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/migrations"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

func TestManyMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	results := make(chan error)
	for range 3 {
		db := openURL(t, postgres.Config{URL: url})
		go func() { results <- db.Migrate() }()
	}
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	db := openURL(t, postgres.Config{URL: url})
	current, newest, err := db.SchemaVersion()
	if err != nil || current != newest || newest != postgres.NewestSchema() {
		t.Errorf("version %d of %d, %v", current, newest, err)
	}
}

func TestMigrationsGoDownAndUpAgain(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: pgtest.Empty(t)})
	files, err := fs.Glob(migrations.PostgreSQL, "postgres/*.down.sql")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := db.Migrate(); err != nil {
			t.Fatal(err)
		}
		if err := db.MigrateDown(len(files) + 1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("only %d migrations", len(files))) {
			t.Fatalf("one more than there are: %v", err)
		}
		if current, newest, err := db.SchemaVersion(); err != nil || current != newest {
			t.Fatalf("what was refused left version %d of %d: %v", current, newest, err)
		}
		if err := db.MigrateDown(len(files)); err != nil {
			t.Fatal(err)
		}
		if left := count(t, db, `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'schema_migrations%'`); left != 0 {
			t.Errorf("%d relations are left after the last step down", left)
		}
	}
}

// TestAMigrationGoesByItsOwnSettings, whatever is the default: it sees what was committed before its lock, and takes the time that it needs.
func TestAMigrationGoesByItsOwnSettings(t *testing.T) {
	t.Parallel()
	for setting, c := range map[string]struct{ byDefault, own string }{
		"transaction_isolation": {"repeatable read", "read committed"},
		"statement_timeout":     {"1h", "0"},
	} {
		name := strings.Replace(setting, "transaction", "default_transaction", 1)
		db := openURL(t, postgres.Config{URL: withDefault(t, pgtest.Empty(t), name, c.byDefault)})
		pgtest.Check(t, execute(t.Context(), db, `DO $$ BEGIN
CREATE TABLE seen (value text);
CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO seen VALUES (current_setting('`+setting+`')); END $f$;
CREATE EVENT TRIGGER see ON ddl_command_start EXECUTE FUNCTION see();
END $$`))
		pgtest.Check(t, db.Migrate())
		if seen, other := count(t, db, `SELECT count(*) FROM seen`), count(t, db, `SELECT count(*) FROM seen WHERE value <> $1`, c.own); seen == 0 || other > 0 {
			t.Errorf("%d of %d statements ran under another %s", other, seen, setting)
		}
	}
}

// TestTheSecretsOfTheDeletedGo takes the database of a version that kept them; another tenant's subscription of the same ID is its own.
func TestTheSecretsOfTheDeletedGo(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	for sub, status := range map[string]string{"sub_1": "active", "sub_2": "deleted", "sub_3": "disabled"} {
		pgtest.Check(t, execute(t.Context(), db, `INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state) VALUES ('a', $1, $2, 1, 1, '{}')`, sub, status))
		pgtest.Check(t, execute(t.Context(), db, `INSERT INTO secrets (tenant_id, subscription_id, secret_id, sealed, created_at) VALUES ('a', $1, 'sec_1', '', 1), ('b', $1, 'sec_1', '', 1)`, sub))
	}
	takeBackFrom(t, db, "0028")
	pgtest.Check(t, db.Migrate())
	left := ""
	pgtest.Check(t, db.Query(t.Context(), func(r pgx.Rows) error { return r.Scan(&left) },
		`SELECT string_agg(tenant_id || ' ' || subscription_id, ', ' ORDER BY tenant_id, subscription_id) FROM secrets`))
	if want := "a sub_1, a sub_3, b sub_1, b sub_2, b sub_3"; left != want {
		t.Errorf("there are the secrets of %s, want those of %s", left, want)
	}
}

// queueLane is a subscription with a number of deliveries in the queue, each of the status.
func queueLane(t *testing.T, db *postgres.DB, sub, is, state, status string, n int) {
	t.Helper()
	pgtest.Check(t, execute(t.Context(), db, `INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state) VALUES ('a', $1, $2, 1, 1, $3)`, sub, is, []byte(state)))
	pgtest.Check(t, execute(t.Context(), db, `INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number,
		warnings, status, version, attempts, failures, abandonments, created_at, updated_at, due_at, accepted_at, traceparent)
		SELECT 'a', $1 || n, 'evt_1', '', $1, 1, 1, '[]', $2, 1, 0, 0, 0, 1, 1, CASE WHEN $2 <> 'parked' THEN 1 END, 1, '' FROM generate_series(1, $3) AS n`, sub, status, n))
}

func notedSweeps(t *testing.T, db *postgres.DB) (sweeps string) {
	t.Helper()
	pgtest.Check(t, db.Query(t.Context(), func(r pgx.Rows) error { return r.Scan(&sweeps) },
		`SELECT coalesce(string_agg(subscription_id || ' ' || action, ', ' ORDER BY subscription_id), '') FROM sweeps WHERE tenant_id = 'a'`))
	return sweeps
}

// TestWhatSweepsMissedIsSwept takes the database of a version whose sweeps could end too soon. One that waits with its subscription is not swept,
// and a sweep that is noted stays as it is. What was to be skipped is skipped, whether or not the subscription's state can be read.
func TestWhatSweepsMissedIsSwept(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	for _, lane := range []struct{ sub, is, delivery string }{
		{"1", "active", "parked"}, {"2", "active", "pending"}, {"3", "paused", "retrying"}, {"4", "paused", "parked"}, {"5", "disabled", "pending"},
		{"6", "deleted", "pending"}, {"7", "deleted", "parked"}, {"8", "active", "parked"},
	} {
		queueLane(t, db, lane.sub, lane.is, "\x00damaged", lane.delivery, 2)
	}
	skipped, err := json.Marshal(subscription.Subscription{Status: subscription.StatusActive, SkippedParked: true})
	pgtest.Check(t, err)
	queueLane(t, db, "9", "active", string(skipped), "parked", 2)
	pgtest.Check(t, execute(t.Context(), db, `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES ('a', '8', 'skip', 0)`))
	takeBackFrom(t, db, "0031")
	pgtest.Check(t, db.Migrate())
	if sweeps, want := notedSweeps(t, db), "1 release, 3 park, 5 park, 6 cancel, 7 cancel, 8 skip, 9 skip"; sweeps != want {
		t.Errorf("the sweeps are %s, want %s", sweeps, want)
	}
}

// TestWhatSweepsMissedIsSweptAsItIsNow has older processes at work while it looks: one resumes a subscription and ends the sweep for that, or ends
// a sweep without what it missed.
func TestWhatSweepsMissedIsSweptAsItIsNow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ is, delivery, begin, end, want string }{
		"a subscription that is being resumed": {"paused", "pending", `SELECT pg_advisory_xact_lock(1330791500, 0); UPDATE subscriptions SET status = 'active';
			INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES ('a', '1', 'release', 0)`, `DELETE FROM sweeps`, ""},
		"a sweep that is being ended": {"active", "parked", `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES ('a', '1', 'release', 0);
			COMMIT; BEGIN; SELECT FROM sweeps FOR UPDATE`, `DELETE FROM sweeps`, "1 release"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := migrated.Copy(t)
			db := openURL(t, postgres.Config{URL: url})
			queueLane(t, db, "1", c.is, "{}", c.delivery, 2)
			takeBackFrom(t, db, "0031")
			user := locking(t, url, `subscriptions IN ACCESS SHARE MODE`)
			_, err := user.Exec(t.Context(), c.begin)
			pgtest.Check(t, err)
			done := make(chan error, 1)
			go func() { done <- db.Migrate() }()
			const waits = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
			for end := time.Now().Add(patience); count(t, db, waits) == 0 && len(done) == 0; {
				if time.Now().After(end) {
					t.Fatal("it neither waits nor ends")
				}
			}
			_, err = user.Exec(t.Context(), c.end+`; COMMIT`)
			pgtest.Check(t, err)
			pgtest.Check(t, <-done)
			if sweeps := notedSweeps(t, db); sweeps != c.want {
				t.Errorf("the sweeps are %q, want %q", sweeps, c.want)
			}
		})
	}
}

// takeBackFrom takes the migrations from that one on back.
func takeBackFrom(t *testing.T, db *postgres.DB, version string) {
	t.Helper()
	files, err := fs.Glob(migrations.PostgreSQL, "postgres/*.down.sql")
	pgtest.Check(t, err)
	first := slices.IndexFunc(files, func(f string) bool { return strings.HasPrefix(f, "postgres/"+version+"_") })
	if first < 0 {
		t.Fatalf("there is no migration %s", version)
	}
	pgtest.Check(t, db.MigrateDown(len(files)-first))
}

// TestAnOldVersionMakesItsWeeks goes back to the last version that had weeks of records alone.
func TestAnOldVersionMakesItsWeeks(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	takeBackFrom(t, db, "0021")
	pgtest.Check(t, execute(t.Context(), db, `SELECT make_records_week(7000)`))
	if n := count(t, db, `SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('records_w7000')`); n != 1 {
		t.Errorf("the week has %d parts", n)
	}
}

func TestASchemaFromTheFutureIsRefused(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	if err := execute(t.Context(), db, `UPDATE schema_migrations SET version = version + 1`); err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(); !errors.Is(err, schema.ErrNewer) {
		t.Errorf("a newer schema gave %v", err)
	}
}

func TestAMigrationThatStoppedHalfWayIsTold(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	applied, _, err := db.SchemaVersion()
	if err == nil {
		err = execute(t.Context(), db, `UPDATE schema_migrations SET dirty = true`)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = db.SchemaVersion()
	for what, err := range map[string]error{"status": err, "up": db.Migrate(), "down": db.MigrateDown(1)} {
		if err == nil || !strings.Contains(err.Error(), schema.ErrHalfWay(applied).Error()) {
			t.Errorf("%s says %v", what, err)
		}
	}
}

// TestAMigrationLetsOthersThrough has one meet somebody who uses its table for longer than it waits.
func TestAMigrationLetsOthersThrough(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	user := locking(t, url, `jobs IN ACCESS SHARE MODE`)
	said := make(chan string, 100)
	db := openURL(t, postgres.Config{URL: url, Logger: slog.New(slog.NewTextHandler(channel(said), nil))})
	done := make(chan error, 1)
	files, err := fs.Glob(migrations.PostgreSQL, "postgres/*.down.sql")
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- db.MigrateDown(len(files)) }() // one of them drops the table
	awaitWaiting(t, said, done)
	if _, err := user.Exec(t.Context(), `SELECT count(*) FROM jobs; COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if current, newest, err := db.SchemaVersion(); err != nil || current != 0 { // no more and no less than asked for
		t.Errorf("version %d of %d, %v", current, newest, err)
	}
}

// TestAMigrationThatWaitsEndsWithItsProcess has one meet somebody who does not let go of a table that each writes.
func TestAMigrationThatWaitsEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	locking(t, url, `schema_migrations IN SHARE MODE`)
	said, done := make(chan string, 100), make(chan error, 1)
	starting, stop := context.WithCancel(t.Context())
	defer stop()
	db := openURL(t, postgres.Config{URL: url, Logger: slog.New(slog.NewTextHandler(channel(said), nil)), Starting: starting})
	go func() { done <- db.MigrateDown(1) }()
	awaitWaiting(t, said, done)
	stop()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it got the table")
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

// What a start reads and writes besides, others may hold, too, or a server that hangs.
func TestAStartThatWaitsForItsServerEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"schema_migrations", "log_shards"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			url := migrated.Copy(t)
			locking(t, url, table+` IN ACCESS EXCLUSIVE MODE`)
			starting, stop := context.WithCancel(t.Context())
			defer stop()
			db, done := openURL(t, postgres.Config{URL: url, Starting: starting}), make(chan error, 1)
			go func() { done <- db.Migrate() }()
			awaitLockWanted(t, db)
			stop()
			select {
			case err := <-done:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(patience):
				t.Error("it goes on")
			}
		})
	}
}

// TestNoMigrationBeginsOnceItsProcessIsToStop has two to be done, of which the first is under way then.
func TestNoMigrationBeginsOnceItsProcessIsToStop(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	watcher := openURL(t, postgres.Config{URL: url})
	takeBackFrom(t, watcher, "0029")
	user := locking(t, url, `api_keys IN ROW EXCLUSIVE MODE`)
	starting, stop := context.WithCancel(t.Context())
	defer stop()
	db, done := openURL(t, postgres.Config{URL: url, Starting: starting}), make(chan error, 1)
	go func() { done <- db.Migrate() }()
	awaitLockWanted(t, watcher)
	stop()
	_, err := user.Exec(t.Context(), `ROLLBACK`)
	pgtest.Check(t, err)
	if err := <-done; err == nil {
		t.Error("it says that all was done")
	}
	if current, newest, err := watcher.SchemaVersion(); err != nil || current == newest {
		t.Errorf("version %d of %d, %v", current, newest, err)
	}
}

// locking is a connection whose transaction has locked a table.
func locking(t *testing.T, url, table string) *pgx.Conn {
	t.Helper()
	user, err := pgx.Connect(t.Context(), url)
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = user.Close(context.Background()) })
	_, err = user.Exec(t.Context(), `BEGIN; LOCK TABLE `+table)
	pgtest.Check(t, err)
	return user
}

// awaitLockWanted waits until somebody waits for a lock in the database.
func awaitLockWanted(t *testing.T, db *postgres.DB) {
	t.Helper()
	const waits = `SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	for end := time.Now().Add(patience); count(t, db, waits) == 0; {
		if time.Now().After(end) {
			t.Fatal("nobody waits")
		}
	}
}

// awaitWaiting waits until a migration says that it waits.
func awaitWaiting(t *testing.T, said <-chan string, done <-chan error) {
	t.Helper()
	for line := ""; !strings.Contains(line, "the migration waits"); {
		select {
		case line = <-said:
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(patience):
			t.Fatal("it says nothing")
		}
	}
}

// The server goes on with what a process has sent that was killed. Who asks again for one step down wants one, and not two.
func TestAStepDownThatIsRepeatedIsTakenOnce(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	killed, err := pgx.Connect(t.Context(), url)
	pgtest.Check(t, err)
	defer func() { _ = killed.Close(context.Background()) }()
	lock, err := database.GenerateAdvisoryLockId(killed.Config().Database, "public", "schema_migrations")
	pgtest.Check(t, err)
	_, err = killed.Exec(t.Context(), `SELECT pg_advisory_lock($1::text::bigint)`, lock)
	pgtest.Check(t, err)
	said, done := make(chan string, 100), make(chan error, 1)
	db := openURL(t, postgres.Config{URL: url, Logger: slog.New(slog.NewTextHandler(channel(said), nil))})
	go func() { done <- db.MigrateDown(1) }()
	awaitWaiting(t, said, done)
	_, err = killed.Exec(t.Context(), `UPDATE schema_migrations SET version = version - 1`)
	pgtest.Check(t, err)
	_, err = killed.Exec(t.Context(), `SELECT pg_advisory_unlock_all()`) // apart: it would let go before the step is committed
	pgtest.Check(t, err)
	if err := <-done; !errors.Is(err, schema.ErrMoved) {
		t.Errorf("got %v", err)
	}
	if current, newest, err := db.SchemaVersion(); err != nil || current != newest-1 {
		t.Errorf("version %d of %d, %v", current, newest, err)
	}
}

// TestAMigrationWinsItsDeadlocks has it wait for one who waits for another who waits for the migration. PostgreSQL itself does not look.
func TestAMigrationWinsItsDeadlocks(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	db := openURL(t, postgres.Config{URL: url})
	pgtest.Check(t, execute(t.Context(), db, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = %L', current_database(), '1h'); END $$`))
	session := func(name, begin string) *pgx.Conn {
		config, err := pgx.ParseConfig(url)
		pgtest.Check(t, err)
		config.RuntimeParams["application_name"] = name
		conn, err := pgx.ConnectConfig(t.Context(), config)
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		_, err = conn.Exec(t.Context(), begin)
		pgtest.Check(t, err)
		return conn
	}
	blocks := session("ordinavo", `BEGIN; LOCK TABLE gated_events IN ACCESS SHARE MODE`)
	const holds = `BEGIN; SELECT pg_advisory_xact_lock_shared(1); SAVEPOINT before`
	stranger, closes := session("pg_dump", holds), session("ordinavo", holds)
	files, err := fs.Glob(migrations.PostgreSQL, "postgres/*.down.sql")
	pgtest.Check(t, err)
	down, passed := make(chan error, 1), make(chan error, 1)
	go func() {
		// Migration 22 takes bodies first, then gated_events.
		down <- db.MigrateDown(len(files) - slices.IndexFunc(files, func(f string) bool { return strings.HasPrefix(f, "postgres/0022_") }))
	}()
	go func() {
		_, err := blocks.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1); COMMIT`)
		passed <- err
	}()
	var canceled *pgconn.PgError
	who := stranger                        // whom it waits for in vain
	for try := 1; canceled == nil; try++ { // on a slow machine it may have given up first, and come again
		for end := time.Now().Add(patience); count(t, db, `SELECT count(*) FROM pg_locks WHERE relation = 'gated_events'::regclass AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == 0; {
			if try == 10 || time.Now().After(end) {
				t.Fatal("nobody gave way to the migration")
			}
		}
		if _, err := who.Exec(t.Context(), `SELECT count(*) FROM bodies; ROLLBACK TO before`); err != nil && (who == stranger || !errors.As(err, &canceled)) {
			t.Fatal(err)
		}
		if who == stranger {
			_, err := who.Exec(t.Context(), `ROLLBACK`)
			pgtest.Check(t, err)
			who = closes
		}
	}
	if canceled.Code != "57014" {
		t.Errorf("who closed the circle got %v", canceled)
	}
	_, err = closes.Exec(t.Context(), `ROLLBACK`)
	for _, err := range []error{err, <-passed, <-down} {
		pgtest.Check(t, err)
	}
}

// channel is written to, line by line.
type channel chan<- string

func (c channel) Write(line []byte) (int, error) {
	c <- string(line)
	return len(line), nil
}
