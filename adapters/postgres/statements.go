package postgres

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxStatements bounds what a connection keeps. There are fewer statements, even counting lists by every combination of filters.
const maxStatements = 512

// After longestIdle the server ends a transaction whose process says nothing. A process that is frozen, or whose machine is gone, would
// otherwise keep a consumer group's turn, lanes and rows locked against all others, for hours or for good. The longest that a live process
// works between two statements is one event's fan-out to 10,000 subscriptions.
const (
	idleTimeout = "idle_in_transaction_session_timeout"
	longestIdle = "60s"
)

// keepStatements makes a connection to the server itself keep its prepared statements: parsing and planning them for every batch is a
// third of the server's work. Behind a PgBouncer, where the next transaction gets another connection, only descriptions of statements
// are cached here and the server keeps none.
func keepStatements(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := newEnough(ctx, conn); err != nil {
		return err
	}
	if direct(ctx, conn) == nil {
		config.DefaultQueryExecMode, config.StatementCacheCapacity = pgx.QueryExecModeCacheStatement, maxStatements
		maps.Copy(config.RuntimeParams, byIndex)
		config.RuntimeParams["plan_cache_mode"] = keptPlans
		if config.RuntimeParams[idleTimeout] == "" { // the database's URL may say another
			config.RuntimeParams[idleTimeout] = longestIdle
		}
	}
	return nil
}

// byIndex makes the planner search by index whatever size it takes tables to be: a plan that reads the whole of an empty table goes on doing
// so until it is renewed, even though thousands of rows arrive per second. The planner would also compile, or start parallel workers for,
// what it thinks expensive: a range unknown at planning time is assumed to be a fixed part of the whole table.
var byIndex = map[string]string{"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off", "max_parallel_workers_per_gather": "0"}

// keptPlans makes the server plan each statement once and not for every call. Left to itself it replans what reads tables that are kept by
// the week with each call, since a plan for one week looks cheaper.
const keptPlans = "force_generic_plan"

// plans tracks how long a connection's plans are kept. A plan is made for the table sizes of its time, and nobody tells a connection that
// they have grown: a plan made for an empty table would go on reading all that a tenant has in it.
type plans struct {
	until time.Time
	kept  time.Duration
	week  int16    // its parts of the tables were empty when it began
	rows  weekRows // that this process had counted when the plans were made
}

// weekRows are of two kinds, since a week may begin with the attempts of older events alone.
type weekRows struct{ records, events int64 }

// A new connection's plans are kept for a second, later ones twice as long each time, up to a minute, and none for longer than until this
// process's records or events of the week are twice as many and a few more. A new week starts over.
const (
	firstPlans = time.Second
	lastPlans  = time.Minute
	aFewRows   = 100
)

// tooOld reports whether the plans are to be thrown away, and then starts the time of their successors.
func (p *plans) tooOld(now time.Time, week int16, rows weekRows) bool {
	if week != p.week {
		*p = plans{week: week}
	}
	over := !now.Before(p.until)
	if !over && rows.records <= 2*p.rows.records+aFewRows && rows.events <= 2*p.rows.events+aFewRows {
		return false
	}
	if over {
		p.kept = min(max(firstPlans, 2*p.kept), lastPlans)
	}
	p.until, p.rows = now.Add(p.kept), rows
	return true
}

// growth counts what this process adds to a week's parts of the tables, and events that it loads.
type growth struct {
	mu   sync.Mutex
	week int16
	rows weekRows
}

// add counts so many rows more, and gives all of the week.
func (g *growth) add(week int16, more weekRows) weekRows {
	g.mu.Lock()
	defer g.mu.Unlock()
	if week != g.week {
		g.week, g.rows = week, weekRows{}
	}
	g.rows.records, g.rows.events = g.rows.records+more.records, g.rows.events+more.events
	return g.rows
}

// plansOf is the key of a connection's plans in its custom data.
const plansOf = "plans"

// renewPlans throws away plans that are too old, before a connection is used. It is false for a broken connection. A week begins by the
// server's clock, as rows go to its parts by that; plans age by the monotonic one, which nobody sets.
func (db *DB) renewPlans(ctx context.Context, conn *pgx.Conn) (usable bool, err error) {
	data := conn.PgConn().CustomData()
	kept, known := data[plansOf].(*plans)
	if !known {
		kept = &plans{}
		data[plansOf] = kept
	}
	if week := weekOf(db.Now()); kept.tooOld(time.Now(), week, db.growth.add(week, weekRows{})) && known {
		_, err = conn.Exec(ctx, "DISCARD PLANS")
	}
	return err == nil, nil
}
