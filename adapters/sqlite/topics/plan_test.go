package topics

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/sqlite"
)

// TestQueryPlans asks SQLite how it runs each query over 100,000 records.
func TestQueryPlans(t *testing.T) {
	db := filled(t, 100_000)
	cases := map[string]struct {
		query string
		args  []any
		uses  string // "" when the statement needs no search
	}{
		"offset":        {selectOffset, []any{"g", "t7"}, "SEARCH consumer_offsets USING PRIMARY KEY (consumer_group=? AND topic=?)"},
		"records":       {selectRecords, []any{"t7", 50_000, 100}, "SEARCH records USING INDEX records_by_topic (topic=? AND position>?)"},
		"update offset": {updateOffset, []any{9, "g", "t7", 8}, "SEARCH consumer_offsets USING PRIMARY KEY (consumer_group=? AND topic=?)"},
		"insert offset": {insertOffset, []any{"g", "t7", 9}, ""},
		"insert record": {insertRecord, []any{"t", "", "", "m", []byte{}, "{}", 0}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			plan := explain(t, db, c.query, c.args...)
			if !strings.Contains(plan, c.uses) {
				t.Errorf("plan is %q, want %q", plan, c.uses)
			}
			for _, bad := range []string{"SCAN", "TEMP B-TREE"} {
				if strings.Contains(plan, bad) {
					t.Errorf("plan has a %s: %q", bad, plan)
				}
			}
		})
	}
}

// TestPlanCheckSeesTrouble proves that the check can fail.
func TestPlanCheckSeesTrouble(t *testing.T) {
	db := filled(t, 10)
	for query, want := range map[string]string{
		"SELECT position FROM records WHERE type = 'x'":                       "SCAN",
		"SELECT position FROM records WHERE topic = 't' ORDER BY recorded_at": "TEMP B-TREE",
	} {
		if plan := explain(t, db, query); !strings.Contains(plan, want) {
			t.Errorf("plan of %s is %q, want a %s", query, plan, want)
		}
	}
}

// TestReadingTakesNoWriter would stand still if it did, with something to read or with nothing.
func TestReadingTakesNoWriter(t *testing.T) {
	db := filled(t, 10)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for topic, want := range map[string]int{"t1": 1, "empty": 0} {
		found, err := source{db, eventlog.GroupTopic{Group: "g", Topic: topic}}.Read(ctx, eventlog.Look{Limit: 10, Bytes: 10})
		if err != nil || len(found.Records) != want {
			t.Errorf("%s has %d records (%v), want %d", topic, len(found.Records), err, want)
		}
	}
}

// filled has n records, spread over ten topics.
func filled(t *testing.T, n int) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
		_, err := tx.Exec(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO records (topic, tenant_id, stream, version, type, data, metadata, recorded_at)
SELECT 't' || (i % 10), '', '', 0, 'm', x'', '{}', 0 FROM n`, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func explain(t *testing.T, db *sqlite.DB, query string, args ...any) string {
	t.Helper()
	rows, err := db.Query(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "; ")
}
