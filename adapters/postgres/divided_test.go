package postgres_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/migrations"
)

// TestTheLogIsDividedAndJoined has records from before there were weeks, and goes back there.
func TestTheLogIsDividedAndJoined(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	read := func() (list []string) {
		t.Helper()
		err := db.Query(t.Context(), func(r pgx.Rows) error {
			var line string
			err := r.Scan(&line)
			list = append(list, line)
			return err
		}, `SELECT concat_ws(' ', position, topic, stream, version, convert_from(data, 'UTF8')) FROM records WHERE topic = 'deliveries' AND position > 1 ORDER BY position`)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const add = `INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at%s)
		SELECT n, 'deliveries', 'acme', 'delivery/dlv_' || n, 1, 't', convert_to('d' || n, 'UTF8'), '', n%s FROM generate_series(%d, %d) AS n`
	since := stepsBack(t, "_weeks_of_records")
	do(db.MigrateDown(since))
	do(execute(t.Context(), db, fmt.Sprintf(add, "", "", 1, 10)))
	before := read()
	do(db.Migrate())
	if after := read(); len(before) != 9 || !slices.Equal(after, before) {
		t.Errorf("divided: %v, before %v", after, before)
	}
	do(execute(t.Context(), db, fmt.Sprintf(add, "", "", 11, 12))) // as a process of the version before does
	week := time.Now().Unix() / (7 * 86400)
	do(execute(t.Context(), db, fmt.Sprintf(add, ", week", fmt.Sprintf(", %d + n %% 3", week), 13, 20)))
	do(execute(t.Context(), db, fmt.Sprintf(add, ", week", ", 1", 21, 22)))
	if rows := count(t, db, fmt.Sprintf(`SELECT count(*) FROM records_w%d`, week)); rows != 2 {
		t.Errorf("this week has %d records", rows)
	}
	before = read()
	if len(before) != 21 || !strings.HasSuffix(before[20], "d22") {
		t.Errorf("read over all weeks: %v", before)
	}
	do(db.MigrateDown(since))
	if after := read(); !slices.Equal(after, before) {
		t.Errorf("joined: %v, before %v", after, before)
	}
	if err := execute(t.Context(), db, fmt.Sprintf(add, "", "", 5, 5)); err == nil {
		t.Error("a position can be taken twice")
	}
	do(db.Migrate())
}

// stepsBack is how many migrations lead back to before the one that is named so.
func stepsBack(t *testing.T, name string) int {
	t.Helper()
	files, err := fs.Glob(migrations.PostgreSQL, "postgres/*.down.sql")
	at := slices.IndexFunc(files, func(file string) bool { return strings.Contains(file, name) })
	if err != nil || at < 0 {
		t.Fatalf("there is no migration %s: %v", name, err)
	}
	return len(files) - at
}

// TestTablesAreDividedAndJoined has rows from before there were weeks, and goes back there.
func TestTablesAreDividedAndJoined(t *testing.T) {
	t.Parallel()
	for migration, tables := range map[string][]string{"_weeks_of_deliveries": {closed}, "_weeks_of_bodies": {bodies, gated}, "_weeks_of_events": {events}} {
		t.Run(migration, func(t *testing.T) { dividedAndJoined(newWeeks(t, straight), stepsBack(t, migration), tables) })
	}
}

func dividedAndJoined(w *weeks, since int, tables []string) {
	var ids []string
	for range 3 {
		ids = append(ids, w.deliver(succeeded).ID)
	}
	w.purge()
	ids = append(ids, w.deliver(gone).ID, w.deliver(succeeded).ID)
	for range 2 {
		w.ok(w.direct.MigrateDown(since))
		for _, table := range tables {
			if n := w.rows(table); n != 5 {
				w.Fatalf("joined there are %d in %s", n, table)
			}
			if err := execute(w.Context(), w.direct, `INSERT INTO `+table+` SELECT * FROM `+table+` LIMIT 1`); err == nil {
				w.Errorf("a row of %s can be there twice", table)
			}
		}
		w.ok(w.direct.Migrate())
		for _, table := range tables {
			if n := w.rows(table + "_kept"); n != 5 {
				w.Errorf("divided there are %d in %s", n, table)
			}
		}
		if got := w.list(); !slices.Equal(got, ids) {
			w.Errorf("divided they are %v, before %v", got, ids)
		}
	}
	w.now = w.now.Add(91 * day)
	w.purge()
	for _, table := range append(tables, closed) {
		if n := w.rows(table); n != 0 {
			w.Errorf("%d rows of %s are kept for ever", n, table)
		}
	}
}
