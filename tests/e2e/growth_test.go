package e2e_test

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// envGrowth names the variable with the number of deliveries that growth is measured with.
const envGrowth = "ORDINAVO_TEST_GROWTH"

// What a delivery with a body of 1 KB may leave behind, all tables and indexes together but the queue, which done rows leave.
var maxBytesPerDelivery = map[string]float64{"PostgreSQL": 3000, "SQLite": 3000}

// Relations of a partitioned table count as one.
const (
	postgresSizes = `SELECT t.name || coalesce(': ' || i.name, ''), sum(pg_relation_size(c.oid) + CASE WHEN c.relkind = 'r' THEN pg_table_size(c.oid) - pg_relation_size(c.oid) ELSE 0 END)::float
FROM pg_class c LEFT JOIN pg_index x ON x.indexrelid = c.oid
CROSS JOIN LATERAL (SELECT coalesce(p.relname, r.relname) AS name FROM pg_class r LEFT JOIN pg_inherits h ON h.inhrelid = r.oid LEFT JOIN pg_class p ON p.oid = h.inhparent
    WHERE r.oid = coalesce(x.indrelid, c.oid)) t
LEFT JOIN LATERAL (SELECT coalesce(p.relname, c.relname) AS name FROM (SELECT 1) one LEFT JOIN pg_inherits h ON h.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = h.inhparent
    WHERE c.relkind = 'i') i ON true
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i') GROUP BY 1`
	sqliteSizes = `SELECT s.tbl_name || iif(s.type = 'index', ': ' || s.name, ''), sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name GROUP BY 1`
)

// TestBytesPerDelivery sends events with bodies of 1 KB and looks what they leave in the database.
func TestBytesPerDelivery(t *testing.T) {
	n := 2000
	if more, err := strconv.Atoi(os.Getenv(envGrowth)); err == nil {
		n = more
	}
	for kind, c := range map[string]struct {
		driver, sizes string
		place         func(t *testing.T, dir string) (url string, env []string)
	}{
		"PostgreSQL": {"pgx", postgresSizes, func(t *testing.T, _ string) (string, []string) {
			url := pgtest.Empty(t)
			return url, []string{"ORDINAVO_DATABASE_URL=" + url, "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
		}},
		"SQLite": {"sqlite", sqliteSizes, func(_ *testing.T, dir string) (string, []string) {
			return "file:" + databasePath(dir) + "?mode=ro", nil
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			url, env := c.place(t, dir)
			s := start(t, dir, env...)
			db, err := sql.Open(c.driver, url)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			acme, hook := newTenant(t, s), receive(t, nil)
			acme.subscribe(hook, "*", object{"payloadOptions": object{"summaryPreview": true}, "maxInFlight": 64})
			before := sizesOf(t, db, c.sizes)
			acme.deliver(hook, n)
			if total := growth(t, n, before, sizesOf(t, db, c.sizes)); total > maxBytesPerDelivery[kind] {
				t.Errorf("a delivery leaves %.0f bytes, %.0f are allowed", total, maxBytesPerDelivery[kind])
			}
		})
	}
}

// deliver has n events with different texts delivered.
func (n tenant) deliver(hook *receiver, count int) {
	n.t.Helper()
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for sent := 0; sent < count; {
		events := make([]object, min(100, count-sent))
		for i := range events {
			events[i] = n.visit("visit_report.approved", object{"visitReport": object{
				"id": 10_000 + sent + i, "title": "Maintenance visit - " + sentence(random, 2), "status": "Approved", "result": "Successful", "followUpRequired": false,
				"isBillable": true, "billingStatus": "NotReady", "attachmentCount": i % 5, "summary": sentence(random, 45),
			}})
		}
		n.post("/v1/events", object{"events": events}).want(http.StatusAccepted)
		sent += len(events)
	}
	hook.wait(count)
	eventually(n.t, "all outcomes are recorded", func() bool {
		return len(into[page[delivery]](n.get("/v1/deliveries?status=delivering").want(http.StatusOK)).Data) == 0
	})
	n.t.Logf("bodies of %d bytes", len(hook.all()[0].body))
}

func sentence(random *mathrand.Rand, words int) string {
	const spoken = "the pump was leaking at its seal and we changed it then pressure held for an hour valve replaced filter cleaned oil topped up belt worn " +
		"customer informed next service due gauge reads bar motor noise bearing greased cable loose fixed panel opened photo taken report signed by manager on site"
	list := strings.Fields(spoken)
	text := make([]string, words)
	for i := range text {
		text[i] = list[random.IntN(len(list))]
	}
	return strings.Join(text, " ")
}

func sizesOf(t *testing.T, db *sql.DB, query string) map[string]float64 {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	found := map[string]float64{}
	for rows.Next() {
		var name string
		var size float64
		if err := rows.Scan(&name, &size); err != nil {
			t.Fatal(err)
		}
		found[name] = size
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// growth reports what each table and index has got for a delivery; the sum leaves out the queue.
func growth(t *testing.T, n int, before, after map[string]float64) (total float64) {
	t.Helper()
	var report strings.Builder
	for _, name := range slices.Sorted(maps.Keys(after)) {
		each := (after[name] - before[name]) / float64(n)
		if each >= 1 {
			fmt.Fprintf(&report, "%-60s %6.0f\n", name, each)
		}
		if !strings.HasPrefix(name, "open_deliveries") {
			total += each
		}
	}
	t.Logf("bytes per delivery\n%s%-60s %6.0f", &report, "all but the queue", total)
	return total
}
