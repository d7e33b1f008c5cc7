package topics

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// filled has a million records, spread over ten topics.
var filled = pgtest.Template{Prepare: func(url string) error {
	db, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		return err
	}
	return errors.Join(db.Migrate(), db.Update(context.Background(), func(ctx context.Context, tx *postgres.Tx) error {
		for _, statement := range []string{
			`SELECT make_week('records', w) FROM generate_series(1, 6) AS w`,
			`INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
				SELECT n, 't' || n % 10, '', '', 0, 'm', '', '{}', 0, n / 180000 FROM generate_series(1, 1000000) AS n`,
			`INSERT INTO consumer_offsets (consumer_group, topic, position) SELECT 'g', 't' || n, 500000 FROM generate_series(0, 9) AS n`,
			`ANALYZE`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	}), db.Close())
}}

// TestReadingIsASearch asks PostgreSQL how it reads on in the middle of a topic with 50,000 unread records.
func TestReadingIsASearch(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(postgres.Config{URL: filled.Shared(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for name, c := range map[string]struct {
		query string
		args  []any
		uses  string
	}{
		"records":      {selectRecords, []any{int64(1), "g", "t7", 100, "me", false, 1000}, "Index Scan using records_w4_topic_position_idx"},
		"claim":        {"SELECT " + claim, []any{int64(1), "g", "t7", int64(500000)}, "consumer_offsets"},
		"move offset":  {moveOffset, []any{"g", "t7", int64(1), int64(2), "me"}, "Update on consumer_offsets"},
		"begin offset": {beginOffset, []any{"g", "t7", int64(0), int64(2), "me"}, "Conflict Arbiter Indexes: consumer_offsets_pkey"},
	} {
		t.Run(name, func(t *testing.T) {
			var plan []string
			if err := db.Query(t.Context(), func(r pgx.Rows) error {
				var line string
				err := r.Scan(&line)
				plan = append(plan, line)
				return err
			}, "EXPLAIN "+c.query, c.args...); err != nil {
				t.Fatal(err)
			}
			text := strings.Join(plan, "\n")
			if !strings.Contains(text, c.uses) || strings.Contains(text, "Sort  (cost") || strings.Contains(text, "Seq Scan on records") {
				t.Errorf("want %q and neither a sort nor a scan in\n%s", c.uses, text)
			}
		})
	}
}

var errUndo = errors.New("nothing is to be kept")

// TestWhoStandsByLeavesTheLock reads with the group's offset moved last by nobody, by this process and by another one. If
// the latter took the lock to look, the other one would now and then not get it, and everybody would wait.
func TestWhoStandsByLeavesTheLock(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(postgres.Config{URL: filled.Shared(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for name, c := range map[string]struct {
		topic, holder string
		takeOver      bool
		locked        int
	}{
		"nobody": {"t1", "", false, 1}, "itself": {"t2", "me", false, 1}, "another": {"t3", "other", false, 0}, "another that is stuck": {"t4", "other", true, 1},
	} {
		var rows, locked int
		if err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE consumer_offsets SET holder = $1 WHERE topic = $2`, c.holder, c.topic); err != nil {
				return err
			}
			count := func(pgx.Rows) error { rows++; return nil }
			if err := db.Query(ctx, count, selectRecords, int64(1), "g", c.topic, 4, "me", c.takeOver, 1000); err != nil {
				return err
			}
			return errors.Join(errUndo, db.Query(ctx, func(r pgx.Rows) error { return r.Scan(&locked) },
				`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`))
		}); !errors.Is(err, errUndo) {
			t.Fatal(err)
		}
		if rows != 4 || locked != c.locked {
			t.Errorf("the offset was moved by %s: %d rows and %d locks, want 4 and %d", name, rows, locked, c.locked)
		}
	}
}
