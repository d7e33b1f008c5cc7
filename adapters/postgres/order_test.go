package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// holdsBack has the first writer wait for a lock within its transaction, when its record is in the log and is not committed.
const holdsBack = `DO $$ BEGIN
CREATE FUNCTION hold_back() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $f$;
CREATE TRIGGER hold_back AFTER INSERT ON records FOR EACH ROW WHEN (NEW.data LIKE '0/%') EXECUTE FUNCTION hold_back();
END $$`

// TestAReaderMissesNothing has a writer draw its positions and then be slow to commit, others that come behind it, and a reader that
// goes on from the last position that it saw. Without the lock of the log it skips what commits late.
func TestAReaderMissesNothing(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"t", records.TopicDeliveries} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			db := openDB(t)
			pgtest.Check(t, execute(t.Context(), db, holdsBack))
			r := logReader{db: db, topic: topic, seen: map[string]int{}}
			const rounds, writers = 3, 4 // the first of which is slow
			for i := range rounds {
				r.readWhileHeld(t, i, writers)
			}
			for i := range rounds {
				for w := range writers {
					if name := fmt.Sprintf("%d/%d", w, i); r.seen[name] != 2 {
						t.Errorf("the reader saw %s %d times, want twice", name, r.seen[name])
					}
				}
			}
		})
	}
}

// logReader reads a topic as subscribers do.
type logReader struct {
	db       *postgres.DB
	topic    string
	seen     map[string]int
	position int64
}

func (r *logReader) readOn(t *testing.T) {
	t.Helper()
	err := r.db.Query(t.Context(), func(rows pgx.Rows) error {
		var name string
		err := rows.Scan(&r.position, &name)
		r.seen[name]++
		return err
	}, `SELECT position, convert_from(data, 'UTF8') FROM records WHERE topic = $1 AND position > $2 ORDER BY position`, r.topic, r.position)
	pgtest.Check(t, err)
}

// readWhileHeld reads when the first writer is in the log and cannot commit, and the others have committed or wait for it; and
// again when all are done.
func (r *logReader) readWhileHeld(t *testing.T, round, writers int) {
	t.Helper()
	var done atomic.Int64
	var wait sync.WaitGroup
	defer wait.Wait()
	holder, err := r.db.Begin(t.Context())
	pgtest.Check(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.Exec(t.Context(), `SELECT pg_advisory_xact_lock(4711)`)
	pgtest.Check(t, err)
	write := func(w int) {
		m := message(w, round)
		m.Topic = r.topic
		if err := r.db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			return tx.Publish(ctx, m, m)
		}); err != nil {
			t.Error(err)
		}
		done.Add(1)
	}
	wait.Go(func() { write(0) })
	r.until(t, "the first writer is held", func() bool { return r.waiting(t) == 1 })
	for w := 1; w < writers; w++ {
		wait.Go(func() { write(w) })
	}
	r.until(t, "the others are done or wait", func() bool { return done.Load()+r.waiting(t) == int64(writers) })
	r.readOn(t)
	pgtest.Check(t, holder.Rollback())
	wait.Wait()
	r.readOn(t)
}

// waiting is how many wait for a lock in this database.
func (r *logReader) waiting(t *testing.T) int64 {
	t.Helper()
	return count(t, r.db, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
}

func (r *logReader) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("it is not so that %s", what)
		}
	}
}

func message(w, i int) records.Record {
	return records.Record{Topic: "t", Type: "m", Data: []byte(strconv.Itoa(w) + "/" + strconv.Itoa(i)), Metadata: []byte("{}"), At: time.Unix(0, 0)}
}

// TestAnOpenTransactionStopsNobody holds a transaction that has written, in this database and in another of the server.
func TestAnOpenTransactionStopsNobody(t *testing.T) {
	t.Parallel()
	db, elsewhere := openDB(t), openDB(t)
	for _, of := range []*postgres.DB{db, elsewhere} {
		open, err := of.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = open.Rollback() }()
		if _, err := open.Exec(t.Context(), `INSERT INTO tenants (tenant_id, name, created_at) VALUES ('open', '', 0)`); err != nil {
			t.Fatal(err)
		}
		if err := open.Publish(t.Context(), message(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	publish(ctx, t, db)
	if n := count(t, db, `SELECT count(*) FROM records`); n != 1 {
		t.Errorf("%d records are visible, want the one that was committed", n)
	}
}

func publish(ctx context.Context, t *testing.T, db *postgres.DB) {
	t.Helper()
	if err := db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		return tx.Publish(ctx, message(1, 1))
	}); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, db *postgres.DB, sql string, args ...any) (n int64) {
	t.Helper()
	if err := db.Query(context.Background(), func(r pgx.Rows) error { return r.Scan(&n) }, sql, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPositionsGoOnWhereTheSequenceDoesNot has the tables of another server, without its sequence: nothing is accepted behind what was read.
func TestPositionsGoOnWhereTheSequenceDoesNot(t *testing.T) {
	t.Parallel()
	for what, there := range map[string]string{
		"what was read": `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES ('fanout', 'events', 700), ('metrics/1', 'deliveries', 650)`,
		"the log": `INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
			VALUES (700, 'tests', 'acme', '', 0, 't', '', '', 1, 0), (600, 'events', '', '', 0, 't', '', '', 1, 0)`,
		"one record": `INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
			VALUES (1, 'events', '', '', 0, 't', '', '', 1, 0)`,
	} {
		db := openDB(t)
		pgtest.Check(t, execute(t.Context(), db, there))
		last := count(t, db, `SELECT greatest((SELECT max(position) FROM records), (SELECT max(position) FROM consumer_offsets))`)
		for _, want := range []int64{last + 1, last + 2} { // a sequence that has come as far is left alone
			pgtest.Check(t, db.Migrate())
			if got := count(t, db, `SELECT nextval('log_numbers')`); got != want {
				t.Errorf("%s ends at %d, and position %d comes next, want %d", what, last, got, want)
			}
		}
	}
}

// TestAStartMayDoNoMoreWithTheSequenceThanDraw: a user who was given the tables may have been granted no more than that. The server is its own,
// since users are those of a whole server.
func TestAStartMayDoNoMoreWithTheSequenceThanDraw(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start("fsync=off")
	pgtest.Check(t, err)
	defer func() { _ = server.Stop() }()
	owner := openURL(t, postgres.Config{URL: server.URL})
	pgtest.Check(t, owner.Migrate())
	publish(t.Context(), t, owner)
	for _, statement := range []string{`CREATE ROLE drawer LOGIN`, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO drawer`,
		`GRANT USAGE ON SEQUENCE log_numbers TO drawer`} {
		pgtest.Check(t, execute(t.Context(), owner, statement))
	}
	db := openURL(t, postgres.Config{URL: strings.Replace(server.URL, "ordinavo@", "drawer@", 1)})
	if n := count(t, db, `SELECT count(*) FROM pg_roles WHERE rolname = current_user AND rolname = 'drawer'`); n != 1 {
		t.Fatal("it is another user, so this shows nothing")
	}
	pgtest.Check(t, db.Migrate())
	publish(t.Context(), t, db)
}
