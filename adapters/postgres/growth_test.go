package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestPlansEndWhenTheirTablesHaveGrown has a connection plan its search for known events while the week has none, to be kept for a minute:
// in a table that is taken for empty, reading all events of the tenant costs as much as finding one. The week has other rows by then, as
// where receivers were away before it began.
func TestPlansEndWhenTheirTablesHaveGrown(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	db.growth.add(weekOf(time.Now()), weekRows{records: 100_000})
	empty, first := searchOfKnown(t, db)
	if strings.Contains(empty, "event_id") {
		t.Fatalf("without a row events are searched by %s, so this shows nothing", empty)
	}
	acceptThousand(t, db)
	if grown, second := searchOfKnown(t, db); !strings.Contains(grown, "event_id") || first != second {
		t.Errorf("with a thousand rows events are searched by %s, on connection %d, which was %d", grown, second, first)
	}
}

// TestPlansEndWhereEventsAreLoaded is the same for a process that accepts none, but fans them out.
func TestPlansEndWhereEventsAreLoaded(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	router := openAt(t, db.config.URL)
	_, first := searchOfKnown(t, router)
	_, err := NewStore(router, nil).Events(t.Context(), acceptThousand(t, db))
	pgtest.Check(t, err)
	if grown, second := searchOfKnown(t, router); !strings.Contains(grown, "event_id") || first != second {
		t.Errorf("with a thousand rows events are searched by %s, on connection %d, which was %d", grown, second, first)
	}
}

// TestPlansEndWithTheServersWeek: its week ends before the machine's does. A plan that was made for the next week while that was empty would
// be kept for up to a minute, however much came then.
func TestPlansEndWithTheServersWeek(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	db.growth.add(weekOf(db.Now()), weekRows{events: 100_000})
	_, first := searchOfKnown(t, db)
	db.clock.set(db.Now().Add(week), time.Now())
	pgtest.Check(t, db.Update(t.Context(), func(_ context.Context, tx *Tx) error {
		conn := tx.conn.Conn().PgConn()
		if kept := time.Until(conn.CustomData()[plansOf].(*plans).until); kept > firstPlans || conn.PID() != first {
			t.Errorf("in the new week plans of connection %d, which was %d, are kept for %s", conn.PID(), first, kept)
		}
		return nil
	}))
}

func acceptThousand(t *testing.T, db *DB) (keys []intake.EventKey) {
	t.Helper()
	events := make([]intake.Accepted, 1000)
	for i := range events {
		e := event.Sample(event.VisitReportApproved, "acme")
		e.ID = "evt_" + ulid.Make().String()
		events[i] = intake.Accepted{Event: e, At: time.Now()}
		keys = append(keys, intake.EventKey{Tenant: e.TenantID, ID: e.ID})
	}
	pgtest.Check(t, NewStore(db, nil).AppendEvents(t.Context(), events))
	return keys
}

// searchOfKnown has a connection search for known events, with plans that it would keep for a minute, and says by what it searches the week.
func searchOfKnown(t *testing.T, db *DB) (condition string, connection uint32) {
	t.Helper()
	pgtest.Check(t, db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		conn, week := tx.conn.Conn().PgConn(), weekOf(time.Now())
		kept := conn.CustomData()[plansOf].(*plans)
		kept.until, connection = time.Now().Add(lastPlans), conn.PID()
		if err := tx.query(ctx, func(pgx.Rows) error { return nil }, knownEvents, []string{"acme"}, []string{"evt_1"}, week); err != nil {
			return err
		}
		var name string
		err := tx.query(ctx, func(r pgx.Rows) error { return r.Scan(&name) }, `SELECT name FROM pg_prepared_statements WHERE statement = $1`, knownEvents)
		if err != nil {
			return err
		}
		plan := explainIn(ctx, t, db, fmt.Sprintf(`EXECUTE %q ('{}', '{}', %d::smallint)`, name, week))
		condition = conditionOn(plan, fmt.Sprintf("events_w%d", week))
		return nil
	}))
	return condition, connection
}

// conditionOn is that of the plan's search of a table.
func conditionOn(n node, table string) string {
	if n.Relation == table {
		return n.Condition
	}
	at := slices.IndexFunc(n.Plans, func(child node) bool { return conditionOn(child, table) != "" })
	if at < 0 {
		return ""
	}
	return conditionOn(n.Plans[at], table)
}
