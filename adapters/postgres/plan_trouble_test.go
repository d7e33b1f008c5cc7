package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// seeTrouble proves that the check can fail.
func seeTrouble(t *testing.T, db *DB, columns map[string][]string) {
	t.Helper()
	if found := (node{Type: "Gather Merge"}).trouble(true, nil); len(found) == 0 {
		t.Error("processes of its own are no trouble")
	}
	for sql, want := range map[string]string{
		`SELECT * FROM records WHERE type = 'x'`:                            "scan",
		`SELECT position FROM records WHERE topic = 'events' ORDER BY data`: "sort",
		`SELECT * FROM open_deliveries ORDER BY due_at LIMIT 1`:             "scan",
		`SELECT position FROM records WHERE stream = 'x' AND version > 0`:   "without",
	} {
		if found := explain(t, db, sql).trouble(false, columns); !strings.Contains(strings.Join(found, ";"), want) {
			t.Errorf("%s: found %v, want a %s", sql, found, want)
		}
	}
}

// indexColumns is the columns of each index of a table that has rows, in their order; of the others, too, if they are asked for.
func indexColumns(t *testing.T, db *DB, empty bool) map[string][]string {
	t.Helper()
	columns := map[string][]string{}
	err := db.Query(t.Context(), func(r pgx.Rows) error {
		var index string
		var of []string
		err := r.Scan(&index, &of)
		columns[index] = of
		return err
	}, `SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_attribute a ON a.attrelid = i.indexrelid
WHERE c.relnamespace = 'public'::regnamespace AND ($1 OR pg_relation_size(i.indrelid) > 0) GROUP BY c.relname`, empty)
	if err != nil {
		t.Fatal(err)
	}
	return columns
}

// node is a step of a plan.
type node struct {
	Type      string  `json:"Node Type"`
	Relation  string  `json:"Relation Name"`
	Index     string  `json:"Index Name"`
	Condition string  `json:"Index Cond"`
	Filter    string  `json:"Filter"`
	Rows      float64 `json:"Plan Rows"`
	Plans     []node  `json:"Plans"`
}

// grows is what no query may read whole, beside the parts of what is kept by the week.
var grows = []string{"open_deliveries", "deferred_events", "circuits", "sweeps"}

// isPart says whether the table is of those that are kept by the week.
func isPart(table string) bool {
	return slices.ContainsFunc(byTheWeek, func(whole string) bool { return strings.HasPrefix(table, whole+"_") })
}

// few is what has so few rows in these tests that to read all of them is right.
var few = []string{"subscriptions", "consumer_offsets"}

// fromTheHead are indexes that are read from their first entry on, as far as it is asked for.
var fromTheHead = []string{"open_deliveries_waiting", "open_deliveries_by_lease", "sweeps_by_turn"}

func hold(t *testing.T, plan node, maySort bool, columns map[string][]string) {
	t.Helper()
	for _, trouble := range plan.trouble(maySort, columns) {
		t.Errorf("%s in\n%s", trouble, plan)
	}
}

// trouble is every scan of a table or of a whole index, or of more of an index than was asked for, every sort, and what begins processes.
func (n node) trouble(maySort bool, columns map[string][]string) (found []string) {
	switch {
	case n.Type == "Seq Scan" && (slices.Contains(grows, n.Relation) || isPart(n.Relation)):
		found = append(found, "a scan of "+n.Relation)
	case strings.HasPrefix(n.Type, "Gather"):
		found = append(found, "processes begun for it")
	case strings.HasSuffix(n.Type, "Sort") && !maySort:
		found = append(found, "a sort")
	case strings.HasPrefix(n.Type, "Index") && n.Condition == "" && !slices.Contains(few, n.Relation) && (n.Filter != "" || !slices.Contains(fromTheHead, n.Index)):
		found = append(found, "a scan of the whole index "+n.Index)
	}
	if !slices.ContainsFunc(few, func(table string) bool { return strings.HasPrefix(n.Index, table+"_") }) {
		found = append(found, n.skipped(columns[n.Index])...)
	}
	for _, child := range n.Plans {
		found = append(found, child.trouble(maySort, columns)...)
	}
	return found
}

// skipped is every search by a column behind one that is not known: it reads all that there is of those before it, and costs
// no more than the right index for a planner that takes the table for empty.
func (n node) skipped(columns []string) (found []string) {
	gap := ""
	for _, column := range columns {
		switch used := column == "expr" || strings.Contains(n.Condition, "("+column+" "); { // an expression is an index by itself
		case !used && gap == "":
			gap = column
		case used && gap != "":
			found = append(found, fmt.Sprintf("a search of %s by %s without %s", n.Index, column, gap))
		}
	}
	return found
}

func (n node) String() string { return n.indented("") }

func (n node) indented(by string) string {
	text := fmt.Sprintf("%s%s %s %s (%s) rows %.0f\n", by, n.Type, n.Relation, n.Index, n.Condition, n.Rows)
	for _, child := range n.Plans {
		text += child.indented(by + "  ")
	}
	return text
}

func explain(t *testing.T, db *DB, sql string, args ...any) node {
	t.Helper()
	return explainIn(t.Context(), t, db, sql, args...)
}

func explainIn(ctx context.Context, t *testing.T, db *DB, sql string, args ...any) node {
	t.Helper()
	var plans []struct{ Plan node }
	err := db.Query(ctx, func(r pgx.Rows) error {
		var text string
		return errors.Join(r.Scan(&text), json.Unmarshal([]byte(text), &plans))
	}, "EXPLAIN (FORMAT JSON) "+sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan
}

func explainKept(t *testing.T, db *DB, sql string, args int) (plan node) {
	t.Helper()
	given := ""
	if args > 0 {
		given = "(NULL" + strings.Repeat(", NULL", args-1) + ")"
	}
	err := db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		for _, statement := range []string{`SET LOCAL plan_cache_mode = force_generic_plan`, `PREPARE kept AS ` + sql} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		plan = explainIn(ctx, t, db, "EXECUTE kept"+given)
		_, err := tx.Exec(ctx, `DEALLOCATE kept`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}
