package postgres

import (
	"slices"
	"strings"
	"testing"
)

// TestCountsStopWhereTheyAreCutOff has a plan made before the server knows more of the rows than their number. One that gathers and sorts what
// a lane has may be as cheap to it then, and reads all of it before it stops.
func TestCountsStopWhereTheyAreCutOff(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	run := runs(t, db)
	run(`ALTER TABLE open_deliveries SET (autovacuum_enabled = off)`)
	run(`ALTER TABLE closed_deliveries_kept SET (autovacuum_enabled = off)`)
	run(ofLane, "sub_1", 1, 60_000)
	run(`INSERT INTO closed_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, accepted_at, traceparent, week)
SELECT tenant_id, delivery_id, event_id, event_type, subscription_id, 1, 1, '[]', 'dead_letter', 2, 1, 0, 0, 1, 1, 1, '', 0 FROM open_deliveries`)
	run(`UPDATE pg_class SET reltuples = 1000000, relpages = pg_relation_size(oid) / 8192 WHERE relname IN ('open_deliveries', 'closed_deliveries_kept')`)
	if kept := explainKept(t, db, countDeliveries, 3); sortsBelowALimit(kept) {
		t.Errorf("it sorts before it stops:\n%s", kept)
	}
}

func sortsBelowALimit(n node) bool {
	return slices.ContainsFunc(n.Plans, func(child node) bool {
		return n.Type == "Limit" && strings.HasSuffix(child.Type, "Sort") || sortsBelowALimit(child)
	})
}
