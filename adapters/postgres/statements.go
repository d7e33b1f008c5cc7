package postgres

import (
	"context"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxStatements bounds what a connection keeps: more than there are, lists by every combination of filters included.
const maxStatements = 512

// After longestIdle the server ends a transaction whose process says nothing: one that stands still, or whose machine is gone, would
// keep a consumer group's turn, the lanes and rows that it has locked from all other processes, for hours or for good. The longest that
// a process works between two statements is an event's fan-out to 10,000 subscriptions.
const (
	idleTimeout = "idle_in_transaction_session_timeout"
	longestIdle = "60s"
)

// keepStatements has a connection to the server itself keep its statements there. To parse and to plan them for every
// batch is a third of the server's work. Behind a PgBouncer, where the next transaction has another connection,
// descriptions of statements are cached here and the server keeps none.
func keepStatements(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
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

// byIndex has the planner search by index whatever it takes the sizes of tables for: a plan that reads the whole of an empty one
// does so until it is made anew, though thousands of rows come in a second. It would also have what it thinks dear compiled, or begin
// processes for it: a range that is not known when the statement is planned is thought to be a part of the whole table.
var byIndex = map[string]string{"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off", "max_parallel_workers_per_gather": "0"}

// keptPlans has each statement planned once and not for every call. Left to the server, what reads tables kept by the week is
// planned with each, since a plan for one week looks cheaper.
const keptPlans = "force_generic_plan"

// plans is how long those of a connection are kept. A plan is made for the sizes that tables have then, and nobody
// tells a connection that they have grown: planned for an empty table, it would go on reading the whole of it.
type plans struct {
	until time.Time
	kept  time.Duration
	week  int16 // its parts of tables were empty when it began
}

// Plans of a new connection are kept for a second, later ones for twice as long each time, up to a minute. A week begins anew.
const (
	firstPlans = time.Second
	lastPlans  = time.Minute
)

// tooOld says whether they are to be thrown away, and begins the time of those that come after them.
func (p *plans) tooOld(now time.Time) bool {
	if week := weekOf(now); week != p.week {
		*p = plans{week: week}
	}
	if now.Before(p.until) {
		return false
	}
	p.kept = min(max(firstPlans, 2*p.kept), lastPlans)
	p.until = now.Add(p.kept)
	return true
}

// plansOf is where a connection has its plans.
const plansOf = "plans"

// renewPlans throws plans away that are too old, before a connection is used. It is false for one that has broken.
func renewPlans(ctx context.Context, conn *pgx.Conn) (usable bool, err error) {
	data := conn.PgConn().CustomData()
	kept, known := data[plansOf].(*plans)
	if !known {
		kept = &plans{}
		data[plansOf] = kept
	}
	if kept.tooOld(time.Now()) && known {
		_, err = conn.Exec(ctx, "DISCARD PLANS")
	}
	return err == nil, nil
}
