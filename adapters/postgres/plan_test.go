package postgres

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// million has a million rows in each table that grows: 500 lanes, of which one has half of what is open and due.
var million = pgtest.Template{Prepare: func(url string) error {
	db, err := Open(Config{URL: url})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := db.Migrate(); err != nil {
		return err
	}
	return db.Update(context.Background(), func(ctx context.Context, tx *Tx) error {
		for _, statement := range fill {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%.60s: %w", statement, err)
			}
		}
		return nil
	})
}}

const (
	rowsFilled = 1_000_000
	numbers    = `generate_series(1, 1000000) AS n`
	lane       = `(CASE WHEN n % 2 = 0 THEN 0 ELSE n % 500 END)`
	aTenant    = `'t' || ` + lane + ` % 100`
	aDelivery  = `'dlv_' || lpad(n::text, 26, '0')`
	anEvent    = `'evt_' || lpad(n::text, 26, '0')`
	aLane      = `'sub_' || lpad(` + lane + `::text, 26, '0')`
)

var fillQueue = `INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, due_at, accepted_at, traceparent, lease, leased_at, waiting)
SELECT ` + aTenant + `, ` + aDelivery + `, ` + anEvent + `, 'target.imported', ` + aLane + `, 1, 1, '[]', CASE WHEN n % 20 = 0 THEN 'parked' ELSE 'pending' END, 1, 0, 0, 0, n, n,
CASE WHEN n % 20 = 0 THEN NULL ELSE n END, n, '', CASE WHEN n % 50 = 1 THEN 'inc_' || n % 7 END, NULL, n % 20 IN (2, 3) AND n % 50 <> 1 FROM `

// fill leaves the indexes to the end, which takes a third of the time.
var fill = []string{
	`SET LOCAL maintenance_work_mem = '256MB'`,
	`SELECT make_week(whole, w) FROM unnest(ARRAY['records', 'closed_deliveries', 'events', 'bodies', 'gated_events']) AS whole, generate_series(1, 6) AS w`,
	`CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
AND (tablename LIKE 'records_%' OR tablename LIKE 'closed_deliveries_%' OR tablename LIKE 'events_%' OR tablename = 'open_deliveries') AND indexname NOT LIKE '%_pkey'`,
	`DO $$ DECLARE i text; BEGIN FOR i IN SELECT indexname FROM kept LOOP EXECUTE 'DROP INDEX ' || i; END LOOP; END $$`,
	`INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
SELECT n, CASE n % 10 WHEN 0 THEN 'events' WHEN 1 THEN 'subscriptions' ELSE 'deliveries' END, ` + aTenant + `, CASE n % 10 WHEN 0 THEN '' WHEN 1 THEN 'subscription/' || n ELSE 'delivery/' || ` + aDelivery + ` END,
CASE n % 10 WHEN 0 THEN 0 ELSE 1 END, 'm', '{}', '{}', n, CASE WHEN n % 10 = 1 OR n % 100 = 2 THEN 0 ELSE 1 + n / 180000 END FROM ` + numbers,
	fillQueue + numbers,
	`INSERT INTO closed_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, accepted_at, traceparent, week)
SELECT ` + aTenant + `, ` + aDelivery + `, ` + anEvent + `, 'target.imported', ` + aLane + `, 1, 1, '[]', CASE WHEN n % 100 = 0 THEN 'dead_letter' ELSE 'succeeded' END, 2, 1, 0, 0, n, n, n, '',
CASE WHEN n % 100 = 0 THEN 0 ELSE 1 + n / 180000 END FROM ` + numbers,
	`INSERT INTO events (tenant_id, event_id, sequence, event_type, occurred_at, accepted_at, fingerprint, content, traceparent, set_aside, week)
SELECT ` + aTenant + `, ` + anEvent + `, n, 'target.imported', n, n, '', '', '', CASE WHEN n % 1000 = 7 THEN '{}'::bytea END, CASE WHEN n % 100 = 0 THEN 0 ELSE 1 + n / 180000 END FROM ` + numbers,
	`INSERT INTO bodies (tenant_id, event_id, number, body, week) SELECT ` + aTenant + `, ` + anEvent + `, 1, '{}', CASE WHEN n % 100 = 0 THEN 0 ELSE 1 + n / 180000 END FROM ` + numbers,
	`INSERT INTO gated_events (tenant_id, event_id, subscription_id, feature, subscription_version, accepted_at, week)
SELECT ` + aTenant + `, ` + anEvent + `, ` + aLane + `, 'billing_webhooks', 1, n, CASE WHEN n % 5 = 0 THEN 0 ELSE 1 + n / 18000 END FROM ` + numbers + ` WHERE n <= 100000`,
	`INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state)
SELECT 't' || n % 100, 'sub_' || lpad(n::text, 26, '0'), CASE WHEN n < 500 THEN 'active' ELSE 'deleted' END, 1, 16, '{}' FROM generate_series(0, 9999) AS n`,
	`INSERT INTO rotation_notices SELECT 't' || n % 100, 'sub_' || n, n FROM generate_series(1, 100000) AS n`,
	`INSERT INTO tenants (tenant_id, name, created_at) SELECT 't' || n, 't', n FROM generate_series(0, 99) AS n`,
	`INSERT INTO disposition_hours (tenant_id, hour, events, expected, deliveries, not_matched, feature_gated, set_aside, first_position, last_position,
first_delivery, last_delivery, due_at, unbalanced)
SELECT ` + aTenant + `, n * 1000, 10, 10, 10, 0, 0, 0, n, n, 'dlv_' || lpad((n * 10)::text, 26, '0'), 'dlv_' || lpad((n * 10 + 9)::text, 26, '0'), n, n % 1000 = 7
FROM generate_series(0, 99999) AS n`,
	`INSERT INTO circuits (tenant_id, subscription_id, incarnation, since, attempts)
SELECT ` + aTenant + `, ` + aLane + ` || n, 'inc_' || n % 7, n, 1 FROM ` + numbers + ` WHERE n <= 100000`,
	`INSERT INTO deferred_events (tenant_id, sequence, events) SELECT 't' || n % 200, n, '[]' FROM generate_series(1, 100000) AS n`,
	`INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) SELECT 't' || n % 100, 'sub_' || n, 'park', n FROM generate_series(1, 10000) AS n`,
	`INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES ('fanout', 'events', 500000)`,
	`DO $$ DECLARE d text; BEGIN FOR d IN SELECT indexdef FROM kept LOOP EXECUTE d; END LOOP; END $$`,
	// As the server does it by itself, which leaves out what is empty, and what only has parts.
	`DO $$ DECLARE t text; BEGIN FOR t IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0
LOOP EXECUTE 'ANALYZE ' || t; END LOOP; END $$`,
}

type hotQuery struct {
	sql  string
	args []any
	// sorts allows a sort of what the query was given, or of a page: never of what a table has.
	sorts bool
}

// hot is every query that runs for each batch, lease or page, with arguments as they are in life.
func hot() map[string]hotQuery {
	tenants, ids, subs := make([]string, 100), make([]string, 100), make([]string, 100)
	ones, statuses, leases, due := make([]int64, 100), make([]string, 100), make([]string, 100), make([]int64, 100)
	small, endpoints := make([]int32, 100), make([][]byte, 100)
	for i := range tenants {
		tenants[i], subs[i], ones[i], small[i], statuses[i] = fmt.Sprintf("t%d", i), fmt.Sprintf("sub_%026d", i), 1, int32(i+1), "retrying"
		ids[i], endpoints[i] = fmt.Sprintf("dlv_%026d", i+100), []byte(`"url":"https://example.com"`)
	}
	save := []any{tenants, subs, ids, ones, leases, statuses, ones, small, small, small, ones, due, small}
	list := func(f queries.DeliveryFilter) hotQuery {
		f.Tenant, f.Limit = "t7", 50
		sql, args := listDeliveries(f)
		return hotQuery{sql, args, true}
	}
	walk := func(f job.Filter) hotQuery {
		sql, args := walkDeliveries(jobs.Walk{Tenant: "t7", Filter: f, After: ids[1], UpTo: "dlv_~", Limit: 250})
		return hotQuery{sql, args, true}
	}
	walkOver := func(w jobs.EventWalk) hotQuery {
		w.Tenant, w.After, w.UpTo, w.Limit = "t7", 5, 500_000, 250
		sql, args := walkEvents(w)
		return hotQuery{sql, args, true}
	}
	asideSQL, asideArgs := listEvents(queries.EventFilter{Tenant: "t7", SetAside: true, Before: 1 << 40, Limit: 50})
	return map[string]hotQuery{
		"make ready":              {makeReady, []any{int64(rowsFilled / 2), maxFallen}, false},
		"due next":                {nextDue, nil, false},
		"ready lanes":             {readyLanes, []any{"", afterAll, 256}, false},
		"ready lanes, further on": {readyLanes, []any{subs[50], subs[90], 256}, false},
		"ready in a long lane":    {readyInLane, []any{subs[50], int64(rowsFilled / 2)}, false},
		"take what is ready":      {takeReady, []any{tenants, subs, small, small, ones, "inc_9", int64(rowsFilled)}, false},
		"walk: all":               walk(job.Filter{Statuses: delivery.Statuses()}),
		"walk: what failed":       walk(job.Filter{Statuses: []delivery.Status{delivery.StatusRetrying, delivery.StatusDeadLetter}}),
		"walk: a subscription":    walk(job.Filter{SubscriptionID: subs[7], Statuses: delivery.Statuses()}),
		"walk: an event":          walk(job.Filter{EventID: "evt_00000000000000000000000007", Statuses: delivery.Statuses()}),
		"walk: events":            walkOver(jobs.EventWalk{}),
		"walk: events since":      walkOver(jobs.EventWalk{Since: time.UnixMicro(1)}),
		"walk: events of a time":  walkOver(jobs.EventWalk{Since: time.UnixMicro(1), Until: time.Unix(3600, 0)}),
		"a delivery":              {selectDelivery, []any{"t7", ids[7]}, false},
		"newest deliveries":       {newestDeliveries, []any{"t7", subs[7], "dlv_~", ids, int64(rowsFilled)}, false},
		"bodies of events":        {eventBodies, []any{"t7", ids}, true},
		"next job":                {nextJob, []any{int64(1000)}, true},
		"open jobs":               {countOpenJobs, []any{"t7"}, false},
		"what lanes still have":   {restOfLanes, []any{tenants, subs, ones}, false},
		"states of lanes":         {selectStates, []any{tenants, subs}, false},
		"lane states":             {laneStates, []any{tenants, subs}, false},
		"health: hold":            {holdEnded, []any{tenants, subs, endpoints, small, make([]bool, 100), make([]bool, 100), 10, int64(5)}, true},
		"health: what ended":      {noteEnded, []any{tenants, subs, endpoints, small, make([]bool, 100), int64(5), 10}, false},
		"health":                  {selectHealth, []any{tenants, subs, endpoints}, false},
		"next notices":            {nextNotices, []any{int64(7), "t7", subs[7], 100}, true},
		"save: move":              {moveOpen, save, false},
		"save: close":             {closeOpen, save, false},
		"save: reopen":            {reopenClosed, save, false},
		"give back":               {giveBack, []any{tenants, subs, ids, ones, "inc_9"}, false},
		"note circuits":           {noteCircuits, []any{tenants, subs, "inc_9", ones, due, small}, false},
		"drop circuits":           {dropCircuits, []any{tenants, subs, "inc_9"}, false},
		"find circuits":           {findCircuits, []any{"t7", subs, int64(5)}, true},
		"orphans":                 {orphans, []any{int64(5), int64(8), 500, "ordinavo 9", int64(1) << 60}, false},
		"fingerprints":            {knownEvents, []any{tenants, ids, 5}, false},
		"accepted beside":         {acceptedBeside, []any{tenants, ids, 5, 6}, false},
		"open of a tenant":        {countOpenOf, []any{1000, "t7"}, false},
		"deliveries per event":    {perEvent, []any{tenants, 100}, false},
		"next to fan out":         {nextUnrouted, nil, false},
		"events of a day":         {addToDay, []any{int64(0), tenants, ones}, true},
		"accepted events":         {acceptedEvents, []any{tenants, ids, 5}, true},
		"a stream":                {selectStream, []any{"t7", "delivery/dlv_1"}, false},
		"events set aside":        {asideSQL, asideArgs, false},
		"an event to retry":       {holdEvent, []any{"t7", "evt_00000000000000000000000007"}, false},
		"take back a tally":       {takeBackTally, []any{int64(1), int64(1), int64(0), int64(0), "t7", int64(7000)}, false},
		"forget what was gated":   {forgetGated, []any{"t7", "evt_00000000000000000000000007"}, false},
		"deliveries of events":    {deliveriesOf, []any{"t7", []string{"evt_00000000000000000000000007"}, 20}, true},
		"history":                 {selectStream, []any{"t7", "subscription/7"}, false},
		"kept back":               {countGated, []any{"t7", subs[7], int64(1), int64(9)}, false},
		"list: subscriptions":     {listSubscriptions, []any{"t7", "sub_~", 50}, true},
		"subscriptions counted":   {countSubscriptions, []any{"t7"}, false},
		"live subscriptions":      {liveStates, []any{[]string{"t7", "t8"}}, false},
		"changed since":           {changedSince, []any{"subscriptions", int64(500_000), 1000}, false},
		"streams of the changed":  {streamsOf, []any{[]string{"t7", "t8"}, []string{"subscription/7", "subscription/8"}, int64(600_000)}, true},
		"streams of tenants":      {allStreams, []any{[]string{"t7", "t8"}, int64(600_000)}, true},
		"subscription changes":    {subscriptionChanges, []any{"subscriptions", int64(500_000), int64(600_000), 1000}, false},
		"swept: due":              {sweptBy([]delivery.Status{"pending", "retrying"}), []any{"t0", subs[0], []string{"pending", "retrying"}, 500}, false},
		"swept: any":              {sweptBy([]delivery.Status{"pending", "parked"}), []any{"t0", subs[0], []string{"pending", "parked"}, 500}, false},
		"swept: parked":           {sweptBy([]delivery.Status{"parked"}), []any{"t0", subs[0], []string{"parked"}, 500}, false},
		"sweeps: the next":        {nextSweep, nil, false},
		"counts of a lane":        {countDeliveries, []any{"t7", subs[7], int64(1001)}, true},
		"an event":                {selectEvent, []any{"t7", "evt_00000000000000000000000007"}, false},
		"locations":               {findLocations, []any{tenants, ones}, false},
		"contacts":                {findContacts, []any{tenants, ones}, false},
		"customers":               {findCustomers, []any{tenants, ones}, false},
		"external IDs":            {findExternalIDs, []any{tenants, tenants, tenants, ones}, false},
		"list: all":               list(queries.DeliveryFilter{}),
		"list: a page":            list(queries.DeliveryFilter{Before: ids[50]}),
		"list: of an event":       list(queries.DeliveryFilter{EventID: "evt_00000000000000000000000007"}),
		"list: of a subscription": list(queries.DeliveryFilter{SubscriptionID: subs[7]}),
		"list: dead letters":      list(queries.DeliveryFilter{Status: delivery.StatusDeadLetter}),
		"list: dead of a lane":    list(queries.DeliveryFilter{Status: delivery.StatusDeadLetter, SubscriptionID: subs[7]}),
		"list: since":             list(queries.DeliveryFilter{Since: time.Unix(1, 0)}),
		"catch-up: events":        {eventsAfter, []any{"t7", int64(5), 100}, true},
		"turns: who waits":        {deferring, []any{tenants, ones}, false},
		"turns: for how long":     {waitingFrom, nil, false},
		"turns: who knows them":   {mayDefer, []any{int64(5)}, false},
		"turns: the next":         {nextTurn, []any{"t7", int64(5), "t9"}, true},
		"turns: what waits":       {deferredOf, []any{"t7", int64(5), 20}, false},
		"turns: taken":            {takeDeferred, []any{tenants[:2], ones[:2], 2}, false},
		"turns: fanned out":       {isFannedOut, []any{"t7", int64(5)}, false},
		"turns: before them":      {beforeDeferred, []any{"t7", int64(5)}, false},
		"catch-up: deliveries":    {laneDeliveries, []any{[]string{"evt_00000000000000000000000007"}, "t7", subs[7]}, true},
		"metrics: records":        {nextRecords, []any{"deliveries", int64(500_000), 1000}, false},
		"metrics: attempts":       {recordedAttempts, []any{"deliveries", int64(500_000), int64(501_000), delivery.EndTypes()}, true},
		"metrics: offset":         {metricsOffset, []any{int64(0), "deliveries"}, false},
		"metrics: purge":          {oldMetrics, []any{"t7", int64(10), 500}, true},
		"reconciliation":          {reconciled, []any{"t7", int64(7000), int64(8000)}, true},
		"reconciliation: size":    {countWithin, []any{"t7", int64(7000), int64(8000)}, false},
		"reconciliation: open":    {selectUnsettled, []any{"t7", int64(7000), int64(8000), 201}, true},
		"reconciliation: a turn":  {takeCheck, []any{int64(10), int64(20)}, false},
		"live: head":              {deliveryHead, []any{"deliveries"}, false},
		"live: records":           {deliveryRecords, []any{"deliveries", int64(500_000), 1000}, false},
		"live: a tenant's":        {tenantRecords, []any{"deliveries", int64(500_000), int64(505_000), "t7"}, true},
		"live: streams":           {deliveryStreams, []any{tenants, ids, ones}, false},
		"last attempts":           {lastAttempts, []any{"t7", ids, ones, delivery.EndTypes()}, true},
		"purge: deliveries":       {oldDeliveries, []any{"t7", "", ids[0], int64(10), true, 500}, false},
		"purge: events":           {oldEvents, []any{"t7", int64(1000), int64(1000), 500}, false},
		"purge: what is old":      {haveOld, []any{[]string{"t7", "t8"}, ids[:2], ids[:2], int64(1000), ids[0], ids[1], int64(1000), "job_1", int64(1)}, false},
		"purge: records":          {oldRecords, []any{"events", int64(1000), int64(1000), 500}, false},
		"weeks: newest":           {newestOfWeek, []any{[]string{"events", "deliveries", "tests"}, 2}, false},
		"weeks: what is lost":     {lostStreams, []any{"deliveries", int64(1000), 500}, true},
		"weeks: what waits":       {waitsOfWeek, []any{"t7", 2}, false},
		"weeks: lost bodies":      {fmt.Sprintf(lostOfEvents, inBodies), []any{"t7", "evt_", 500}, true},
		"weeks: what stays":       {keepOfWeek, []any{2, "t7", ids[0], "dlv_~", 500}, true},
		"weeks: what is late":     {keepLate, []any{2, "t7", ids}, false},
	}
}

// seldom is what is not run for each batch, but by retention, by people, when a receiver recovers, and around the beginning of a
// week: the planner may take a table of few rows by another index.
var seldom = []string{"a delivery", "purge: deliveries", "purge: what is old", "weeks: what stays", "weeks: what is lost", "reconciliation", "drop circuits", "accepted beside"}

// TestPlans asks PostgreSQL how it runs each hot query over a million rows. It is one test, so that of those that run side by side only
// one waits for the rows.
func TestPlans(t *testing.T) {
	t.Parallel()
	db := openMillion(t)
	known := indexColumns(t, db, false)
	t.Run("the check sees trouble", func(t *testing.T) { seeTrouble(t, db, known) })
	t.Run("dead letters by their index", func(t *testing.T) { searchesBy(t, db, hot()["list: dead letters"], "status = 'dead_letter'") })
	for _, name := range []string{"list: of an event", "walk: an event", "newest deliveries", "deliveries of events", "catch-up: deliveries"} {
		t.Run(name+", by its index", func(t *testing.T) { searchesBy(t, db, hot()[name], "event_id = ") })
	}
	for _, name := range []string{"counts of a lane", "list: dead of a lane"} {
		t.Run(name+", by their index", func(t *testing.T) { searchesBy(t, db, hot()[name], "subscription_id = ") })
	}
	t.Run("no week from before since", func(t *testing.T) { searchesBy(t, db, hot()["list: since"], "delivery_id >= ") })
	t.Run("live subscriptions by their index", func(t *testing.T) { passesTheDeleted(t, db) })
	t.Run("events of a time by their weeks", func(t *testing.T) { readsWeeks(t, db) })
	for name, q := range hot() {
		columns := known
		if slices.Contains(seldom, name) {
			columns = nil
		}
		t.Run(name, func(t *testing.T) {
			hold(t, explain(t, db, q.sql, q.args...), q.sorts, columns)
		})
		// A connection keeps plans that are made before the arguments are known.
		t.Run(name+", kept", func(t *testing.T) {
			hold(t, explainKept(t, db, q.sql, len(q.args)), q.sorts, columns)
		})
	}
}

// filledPart is a part that has rows: of several indexes of an empty one the planner takes any.
var filledPart = regexp.MustCompile(`_(kept|w[1-6])$`)

// searchesBy holds every search of what is closed to the condition, in a plan that is kept: one that is made while the arguments are known
// may have it and the kept one not.
func searchesBy(t *testing.T, db *DB, q hotQuery, condition string) {
	t.Helper()
	var look func(n node) int
	look = func(n node) (found int) {
		if isPart(n.Relation) && filledPart.MatchString(n.Relation) && strings.HasPrefix(n.Type, "Index") {
			if found++; !strings.Contains(n.Condition, condition) {
				t.Errorf("%s is searched by %s, without %s", n.Index, n.Condition, condition)
			}
		}
		for _, child := range n.Plans {
			found += look(child)
		}
		return found
	}
	if look(explainKept(t, db, q.sql, len(q.args))) == 0 {
		t.Error("nothing is searched")
	}
}

// passesTheDeleted holds what reads a tenant's subscriptions to the index that deleted ones are not in.
func passesTheDeleted(t *testing.T, db *DB) {
	for _, name := range []string{"live subscriptions", "list: subscriptions", "subscriptions counted"} {
		q := hot()[name]
		if plan := explainKept(t, db, q.sql, len(q.args)); !uses(plan, "subscriptions_live") {
			t.Errorf("%s: %+v", name, plan)
		}
	}
}

func uses(n node, index string) bool {
	return n.Index == index || slices.ContainsFunc(n.Plans, func(child node) bool { return uses(child, index) })
}

// readsWeeks holds a list of events to the weeks in which any of them can have been accepted.
func readsWeeks(t *testing.T, db *DB) {
	at := func(week int) time.Time { return time.Unix(int64(week)*7*24*3600, 0) }
	sql, args := listEvents(queries.EventFilter{Tenant: "t7", Since: at(3), Until: at(4).Add(-1), Limit: 50})
	var read []string
	var look func(n node)
	look = func(n node) {
		if n.Relation != "" {
			read = append(read, n.Relation)
		}
		for _, child := range n.Plans {
			look(child)
		}
	}
	look(explain(t, db, sql, args...))
	slices.Sort(read)
	if want := []string{"events_kept", "events_w3"}; !slices.Equal(read, want) {
		t.Errorf("it reads %v, want %v", read, want)
	}
}

// TestPlansOfEmptyTables holds plans to the same rule that are made while there is nothing: they are kept, and rows come fast.
func TestPlansOfEmptyTables(t *testing.T) {
	t.Parallel()
	holdEmpty(t, openEmpty(t))
}

// TestPlansOfAQueueThatWasEmpty has it vacuumed while it had room and no row, and what waits for turns as well. Until the next
// vacuum the planner takes them for empty however much there is in them.
func TestPlansOfAQueueThatWasEmpty(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	for _, statement := range []string{
		fillQueue + `generate_series(1, 2000) AS n`, `DELETE FROM open_deliveries`,
		`INSERT INTO deferred_events (tenant_id, sequence, events) SELECT 't', n, '[]' FROM generate_series(1, 2000) AS n`, `DELETE FROM deferred_events`,
	} {
		runs(t, db)(statement)
	}
	vacuumed := func() bool {
		for _, statement := range []string{vacuumQueue, `VACUUM (TRUNCATE false) deferred_events`} {
			if _, err := db.pool.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		return countOf(t, db, `SELECT count(*) FROM pg_class WHERE relname IN ('open_deliveries', 'deferred_events') AND reltuples = 0 AND relpages > 0`) == 2 &&
			countOf(t, db, `SELECT count(*) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
				WHERE i.indrelid IN ('open_deliveries'::regclass, 'deferred_events'::regclass) AND c.reltuples > 0`) == 0
	}
	for end := time.Now().Add(time.Minute); !vacuumed(); { // a vacuum leaves what somebody may still see
		if time.Now().After(end) {
			t.Fatal("the tables are not as they are to be")
		}
	}
	holdEmpty(t, db)
}

func openEmpty(t *testing.T) *DB {
	t.Helper()
	db := openAt(t, pgtest.Empty(t))
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	return db
}

func holdEmpty(t *testing.T, db *DB) {
	t.Helper()
	queries, columns := hot(), indexColumns(t, db, true)
	for _, name := range seldom {
		delete(queries, name)
	}
	for name, q := range queries {
		t.Run(name, func(t *testing.T) {
			hold(t, explain(t, db, q.sql, q.args...), true, columns)
			hold(t, explainKept(t, db, q.sql, len(q.args)), true, columns)
		})
	}
}

func openMillion(t *testing.T) *DB {
	t.Helper()
	return openAt(t, million.Shared(t))
}

func openAt(t *testing.T, url string) *DB {
	t.Helper()
	db, err := Open(Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
