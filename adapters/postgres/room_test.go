package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestIndexesOfTheLogStayFull has each delivery recorded once when it is scheduled and once when it has ended, as they come in
// life, and holds what the indexes of both take to what their entries do, and a fifth.
func TestIndexesOfTheLogStayFull(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: pgtest.Empty(t)})
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	const deliveries, behind, batch = 20_000, 2_000, 200
	week := time.Now().Unix() / (7 * 86400)
	record := func(from, version int) {
		t.Helper()
		err := execute(t.Context(), db, fmt.Sprintf(`INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
SELECT nextval('log_numbers'), 'deliveries', 'tenant-1', 'delivery/dlv_' || lpad(n::text, 26, '0'), %[1]d, 't', ''::bytea, ''::bytea, 0, %[2]d FROM generate_series(%[3]d, %[4]d) AS n
UNION ALL SELECT nextval('log_numbers'), 'events', 'tenant-1', '', 0, 't', ''::bytea, ''::bytea, 0, %[2]d`, version, week, from, from+batch-1))
		if err != nil {
			t.Fatal(err)
		}
	}
	for from := 0; from < deliveries+behind; from += batch {
		if from < deliveries {
			record(from, 1)
		}
		if from >= behind {
			record(from-behind, 2)
		}
	}
	for columns, entries := range map[string]int{
		`(topic DESC, "position")`: 2 * (8 + 16 + 8 + 4), // header, topic, position, pointer from the page's beginning
		"(tenant_id, stream)":      8 + 56 + 16 + 4,      // the same with tenant and stream, and two places in the table
	} {
		size := count(t, db, fmt.Sprintf(`SELECT coalesce(sum(pg_relation_size(indexrelid)), 0)::bigint FROM pg_index
WHERE indrelid = 'records_w%d'::regclass AND pg_get_indexdef(indexrelid) LIKE '%%' || '%s' || '%%'`, week, columns))
		if size == 0 || int(size) > deliveries*entries*6/5 {
			t.Errorf("the index by %s takes %d bytes a delivery, its entries %d", columns, int(size)/deliveries, entries)
		}
	}
}
