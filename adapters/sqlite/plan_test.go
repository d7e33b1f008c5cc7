package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// small are tables and lists that stay so: a scan or a sort of them costs nothing that matters.
// Of idempotency_keys it is the batch that is about to be deleted.
var (
	smallScan = regexp.MustCompile(`SCAN (k VIRTUAL TABLE|json_each VIRTUAL TABLE|lane|holder|next|sweeps|incarnations|CONSTANT ROW|2 CONSTANT ROWS|\(subquery-\d+\))`)
	smallSort = regexp.MustCompile(`FROM (sweeps|json_each|open_deliveries INDEXED BY open_deliveries_by_lease)`)
)

// walk is a search that meets all that a tenant has, or all that a lane or a source system has.
var walk = regexp.MustCompile(`SEARCH (open_deliveries|closed_deliveries|events|e|bodies|external_ids|x|customers|records|api_keys|gated_events) .*\(tenant_id=\?( AND source_system=\?)?\)`)

// walks are the calls that may: newest first, they end with the page, unless what is asked for is rare.
var walks = []string{
	"Deliveries, no filter", "Deliveries, type", "Deliveries, status succeeded",
	"Deliveries, status pending", "Deliveries, status retrying", "Deliveries, status parked",
	"AcceptedEvents, no filter", "AcceptedEvents, type", "AcceptedEvents, since", "AcceptedEvents, until",
	"CountOpen", // ends with its limit; that of all tenants, which reads a whole index, is rare by how long it takes
	"Purge",     // goes through what is old, as far as its limit
}

// eachTenant is what a call reads of all tenants, once a minute.
var eachTenant = map[string]string{"Purge": "SCAN tenants USING COVERING INDEX tenants_by_age"}

// trouble is what the plan of a call's statement must not hold.
func trouble(call, query string, plan []string) (found []string) {
	for _, line := range plan {
		if walk.MatchString(line) && !slices.Contains(walks, call) {
			found = append(found, line)
		}
		if strings.Contains(line, "SCAN") && !smallScan.MatchString(line) && line != eachTenant[call] ||
			strings.Contains(line, "TEMP B-TREE") && !smallSort.MatchString(query) || strings.Contains(line, "AUTOMATIC") {
			found = append(found, line)
		}
	}
	return found
}

// hot is every call of the store that runs often or meets large tables. Each may end in an error:
// what counts is which statements it runs.
var hot = map[string]func(ctx context.Context, s *Store) error{
	"Known": func(ctx context.Context, s *Store) error {
		_, err := s.Known(ctx, []intake.EventKey{{Tenant: "t1", ID: "evt_1"}})
		return err
	},
	"Events": func(ctx context.Context, s *Store) error {
		_, err := s.Events(ctx, []intake.EventKey{{Tenant: "t1", ID: "evt_no"}})
		return err
	},
	"AppendEvents": func(ctx context.Context, s *Store) error {
		return s.AppendEvents(ctx, []intake.Accepted{{Event: event.Sample(event.TargetImported, "t1"), At: time.Now()}})
	},
	"CountOpen":      func(ctx context.Context, s *Store) error { _, err := s.CountOpen(ctx, "t1", 100); return err },
	"OldestUnrouted": func(ctx context.Context, s *Store) error { _, err := s.OldestUnrouted(ctx); return err },
	"DeliveriesPerEvent": func(ctx context.Context, s *Store) error {
		_, err := s.DeliveriesPerEvent(ctx, []tenant.ID{"t1"})
		return err
	},
	"CountProcesses": func(ctx context.Context, s *Store) error { _, err := s.CountProcesses(ctx, time.Now()); return err },
	"CountDay": func(ctx context.Context, s *Store) error {
		_, err := s.CountDay(ctx, time.Now(), map[tenant.ID]int{"t1": 1})
		return err
	},
	"SubscriptionHistory": func(ctx context.Context, s *Store) error {
		_, err := s.SubscriptionHistory(ctx, aLane)
		return err
	},
	"GatedEvents":         func(ctx context.Context, s *Store) error { _, err := s.GatedEvents(ctx, aLane, 1, 9); return err },
	"CurrentSubscription": func(ctx context.Context, s *Store) error { _, err := s.CurrentSubscription(ctx, aLane); return err },
	"LoadSubscription":    func(ctx context.Context, s *Store) error { _, err := s.LoadSubscription(ctx, aLane); return err },
	"SubscriptionsAt": func(ctx context.Context, s *Store) error {
		_, _, err := s.SubscriptionsAt(ctx, []tenant.ID{"t1"}, 0)
		return err
	},
	"streams of the changed": func(ctx context.Context, _ *Store) error {
		return run(ctx, streamsOf, 9, `[["t1","subscription/sub_1"]]`)
	},
	"Governing": func(ctx context.Context, s *Store) error {
		_, _, err := s.Governing(ctx, 1, 2, 10, []tenant.ID{"t1"})
		return err
	},
	"CountSubscriptions": func(ctx context.Context, s *Store) error {
		_, err := s.CountSubscriptions(ctx, "t1")
		return err
	},
	"ListSubscriptions": func(ctx context.Context, s *Store) error {
		_, err := s.ListSubscriptions(ctx, "t1", "sub_5", 10)
		return err
	},
	"OpenSecret": func(ctx context.Context, s *Store) error {
		_, err := s.OpenSecret(ctx, "t1", "sub_1", "sec_1")
		return err
	},
	"Sealed, secrets": func(ctx context.Context, s *Store) error {
		_, err := s.Sealed(ctx, reseal.Secret, reseal.Key{"t1", "sub_1"}, 10)
		return err
	},
	"Sealed, answers": func(ctx context.Context, s *Store) error {
		_, err := s.Sealed(ctx, reseal.Answer, reseal.Key{"00ff"}, 10)
		return err
	},
	"Resolve": func(ctx context.Context, s *Store) error {
		_, err := s.Resolve(ctx, []fanout.Lookup{{Tenant: "t1", SourceSystem: "sap", References: []payload.Ref{
			{Kind: payload.KindCustomer, ID: 1}, {Kind: payload.KindLocation, ID: 1}, {Kind: payload.KindContact, ID: 1}}}})
		return err
	},
	"ExternalID": func(ctx context.Context, s *Store) error {
		_, err := s.ExternalID(ctx, "t1", "sap", payload.Ref{Kind: payload.KindTarget, ID: 1})
		return err
	},
	"Look": func(ctx context.Context, s *Store) error {
		_, err := s.Look(ctx, dispatch.LookRequest{Now: time.Now(), Lanes: 10})
		return err
	},
	"makeReady": func(ctx context.Context, s *Store) error { return run(ctx, makeReady, "t1", "dlv_1") },
	"LeaseReady": func(ctx context.Context, s *Store) error {
		_, err := s.LeaseReady(ctx, dispatch.LeaseRequest{Lease: "inc_9", Now: time.Now(), Lanes: []dispatch.Asked{{Lane: aLane, Slots: 10}}})
		return err
	},
	"takeLeases": func(ctx context.Context, s *Store) error { return run(ctx, takeLeases, "inc_9", 1, `[["t1","dlv_1"]]`) },
	"Save, open to open": func(ctx context.Context, s *Store) error {
		return saveAs(ctx, s, delivery.StatusPending, delivery.StatusRetrying)
	},
	"Save, open to closed": func(ctx context.Context, s *Store) error {
		return saveAs(ctx, s, delivery.StatusPending, delivery.StatusSucceeded)
	},
	"Save, closed to open": func(ctx context.Context, s *Store) error {
		return saveAs(ctx, s, delivery.StatusSucceeded, delivery.StatusPending)
	},
	"GiveBack": func(ctx context.Context, s *Store) error { return s.GiveBack(ctx, "inc_9", []dispatch.Leased{{}}) },
	"Orphans": func(ctx context.Context, s *Store) error {
		_, err := s.Orphans(ctx, time.Now(), time.Now(), 1)
		return err
	},
	"NoteHealth": func(ctx context.Context, s *Store) error {
		_, err := s.NoteHealth(ctx, map[dispatch.Lane]dispatch.Ended{aLane: {Succeeded: true}, {Tenant: "t2", SubscriptionID: "sub_2"}: {Failures: 3}}, time.Now())
		return err
	},
	"NextNotices": func(ctx context.Context, s *Store) error {
		_, err := s.NextNotices(ctx, subscriptions.Notice{Lane: aLane, At: time.Now()}, 10)
		return err
	},
	"EndNotice": func(ctx context.Context, s *Store) error {
		_, err := s.EndNotice(ctx, subscriptions.Notice{Lane: aLane, At: time.Now()})
		return err
	},
	"LaneStates": func(ctx context.Context, s *Store) error {
		_, err := s.LaneStates(ctx, []dispatch.Lane{aLane})
		return err
	},
	"NextSweep": func(ctx context.Context, s *Store) error { _, _, err := s.NextSweep(ctx); return err },
	"Swept, due": func(ctx context.Context, s *Store) error {
		_, _, err := s.Swept(ctx, aLane, []delivery.Status{delivery.StatusPending, delivery.StatusRetrying}, 10)
		return err
	},
	"Swept, parked": func(ctx context.Context, s *Store) error {
		_, _, err := s.Swept(ctx, aLane, []delivery.Status{delivery.StatusParked}, 10)
		return err
	},
	"Swept, all": func(ctx context.Context, s *Store) error {
		_, _, err := s.Swept(ctx, aLane, delivery.Statuses(), 10)
		return err
	},
	"CountDeliveries": func(ctx context.Context, s *Store) error { _, err := s.CountDeliveries(ctx, aLane, 9); return err },
	"Delivery":        func(ctx context.Context, s *Store) error { _, err := s.Delivery(ctx, "t1", "dlv_1"); return err },
	"DeliveryChanges": func(ctx context.Context, s *Store) error { _, err := s.DeliveryChanges(ctx, "t1", "no"); return err },
	"Body": func(ctx context.Context, s *Store) error {
		_, err := s.Body(ctx, delivery.Delivery{Tenant: "t1", EventID: "evt_1", BodyNumber: 1})
		return err
	},
	"Event": func(ctx context.Context, s *Store) error { _, err := s.Event(ctx, "t1", "evt_1"); return err },
	"AcceptedEvents, set aside": func(ctx context.Context, s *Store) error {
		_, err := s.AcceptedEvents(ctx, queries.EventFilter{Tenant: "t1", SetAside: true, Before: 1 << 40, Limit: 50})
		return err
	},
	"FanOutAgain": func(ctx context.Context, s *Store) error {
		return s.FanOutAgain(ctx, queries.Event{Tenant: "t1", ID: "evt_1", SetAside: &fanout.SetAside{}}, queries.Retried{At: time.Now()})
	},
	"moveEvent": func(ctx context.Context, s *Store) error { return run(ctx, moveEvent, 1, "{}", "t1", "evt_1") },
	"DeliveriesOf": func(ctx context.Context, s *Store) error {
		_, err := s.DeliveriesOf(ctx, "t1", []string{"evt_1"}, 10)
		return err
	},
	"GatedOf":     func(ctx context.Context, s *Store) error { _, err := s.GatedOf(ctx, "t1", "evt_1"); return err },
	"NextTurn":    func(ctx context.Context, s *Store) error { _, err := s.NextTurn(ctx, "t1"); return err },
	"WaitingFrom": func(ctx context.Context, s *Store) error { _, err := s.WaitingFrom(ctx); return err },
	"DeferredOf":  func(ctx context.Context, s *Store) error { _, err := s.DeferredOf(ctx, "t1", 20); return err },
	"FannedOut": func(ctx context.Context, s *Store) error {
		_, err := s.FannedOut(ctx, queries.Event{Tenant: "acme", Sequence: 1})
		return err
	},
	"KeyByHash": func(ctx context.Context, s *Store) error { _, err := s.KeyByHash(ctx, access.Hash{}); return err },
	"Keys of a tenant": func(ctx context.Context, s *Store) error {
		_, err := s.Keys(ctx, "t1", access.Page{After: "key_5", Limit: 1})
		return err
	},
	"Keys": func(ctx context.Context, s *Store) error {
		_, err := s.Keys(ctx, "", access.Page{After: "key_5", Limit: 1})
		return err
	},
	"RevokeKey": func(ctx context.Context, s *Store) error { return s.RevokeKey(ctx, "t1", "key_1", time.Now()) },
	"TouchKeys": func(ctx context.Context, s *Store) error {
		return s.TouchKeys(ctx, map[string]time.Time{"key_1": time.Now()})
	},
	"Tenants": func(ctx context.Context, s *Store) error { _, err := s.Tenants(ctx, access.Page{Limit: 1}); return err },
	"Tenants, on": func(ctx context.Context, s *Store) error {
		_, err := s.Tenants(ctx, access.Page{After: "t5", Limit: 1})
		return err
	},
	"Tenant":    func(ctx context.Context, s *Store) error { _, err := s.Tenant(ctx, "t5"); return err },
	"a feature": func(ctx context.Context, s *Store) error { _, err := s.TenantHasFeature(ctx, "t5", "f"); return err },
	"Reserve": func(ctx context.Context, s *Store) error {
		_, err := s.Reserve(ctx, idempotency.Reservation{}, time.Now())
		return err
	},
	"Answer": func(ctx context.Context, s *Store) error {
		_, err := s.Answer(ctx, idempotency.Key{}, "a", []byte{1})
		return err
	},
	"Release": func(ctx context.Context, s *Store) error { return s.Release(ctx, idempotency.Key{}, "a") },
	"NextJob": func(ctx context.Context, s *Store) error { _, _, _, err := s.NextJob(ctx, time.Now()); return err },
	"CreateJob": func(ctx context.Context, s *Store) error {
		return s.CreateJob(ctx, job.Job{Tenant: "t1", ID: "job_n"}, 1<<30)
	},
	"SaveJob": func(ctx context.Context, s *Store) error {
		return s.SaveJob(ctx, job.Job{Tenant: "t1", ID: "job_1"}, time.Now())
	},
	"Job":  func(ctx context.Context, s *Store) error { _, err := s.Job(ctx, "t1", "job_1"); return err },
	"Jobs": func(ctx context.Context, s *Store) error { _, err := s.Jobs(ctx, "t1", "job_5", 1); return err },
	"EventBodies": func(ctx context.Context, s *Store) error {
		_, err := s.EventBodies(ctx, "t1", []string{"evt_1"})
		return err
	},
	"NewestDeliveries": func(ctx context.Context, s *Store) error {
		_, err := s.NewestDeliveries(ctx, aLane, []string{"evt_1"}, "dlv_5", time.Time{})
		return err
	},
	"MetricsOffset": func(ctx context.Context, s *Store) error {
		_, _, err := s.MetricsOffset(ctx, metrics.Live)
		return err
	},
	"NextAttempts": func(ctx context.Context, s *Store) error { _, _, _, err := s.NextAttempts(ctx, 5, 10); return err },
	"MoveMetricsOffset": func(ctx context.Context, s *Store) error {
		_, err := s.MoveMetricsOffset(ctx, 1, 1, 2)
		return err
	},
	"AddAttempts": func(ctx context.Context, s *Store) error {
		return s.AddAttempts(ctx, 1, map[metrics.Key]int64{{Tenant: "t1"}: 1})
	},
	"BeginGeneration": func(ctx context.Context, s *Store) error { _, err := s.BeginGeneration(ctx); return err },
	"GoLive":          func(ctx context.Context, s *Store) error { _, err := s.GoLive(ctx, 1); return err },
	"EventsAfter":     func(ctx context.Context, s *Store) error { _, err := s.EventsAfter(ctx, "t1", 5, 10); return err },
	"WalkEvents":      walkEveryWay,
	"NoteCircuits": func(ctx context.Context, s *Store) error {
		return s.NoteCircuits(ctx, "inc_9", []dispatch.CircuitReport{{Lane: aLane, Report: circuit.Report{Since: time.UnixMicro(1), Window: 1}},
			{Lane: dispatch.Lane{Tenant: "t2", SubscriptionID: "sub_2"}}})
	},
	"Circuits": func(ctx context.Context, s *Store) error {
		_, err := s.Circuits(ctx, "t1", []string{"sub_1"}, time.UnixMicro(1))
		return err
	},
	"NewestOf": func(ctx context.Context, s *Store) error {
		_, err := s.NewestOf(ctx, aLane, []string{"evt_1"})
		return err
	},
	"DeliveryHead": func(ctx context.Context, s *Store) error { _, err := s.DeliveryHead(ctx); return err },
	"DeliveryRecords": func(ctx context.Context, s *Store) error {
		_, err := s.DeliveryRecords(ctx, 5, 10)
		return err
	},
	"TenantDeliveryRecords": func(ctx context.Context, s *Store) error {
		_, err := s.TenantDeliveryRecords(ctx, "t1", 5, 10)
		return err
	},
	"DeliveryStreams": func(ctx context.Context, s *Store) error {
		_, err := s.DeliveryStreams(ctx, map[live.Key]int64{{Tenant: "t1", DeliveryID: "dlv_2001"}: 1})
		return err
	},
	"LastAttempts": func(ctx context.Context, s *Store) error {
		_, err := s.LastAttempts(ctx, "t1", map[string]int64{"dlv_2001": 1})
		return err
	},
	"CountKeys": func(ctx context.Context, s *Store) error { _, err := s.CountKeys(ctx, "t1", time.Now()); return err },
	"EndedKeys": func(ctx context.Context, s *Store) error {
		_, err := s.EndedKeys(ctx, []string{"key_1"}, time.Now())
		return err
	},
	"Purge": func(ctx context.Context, s *Store) error {
		_, err := s.Purge(ctx, retention.Cutoffs{Events: time.Now(), Attempts: time.Now(), DeadLetters: time.Now()}, 10)
		return err
	},
	"Purge, a delivery": func(ctx context.Context, _ *Store) error {
		return errors.Join(run(ctx, deleteClosed, "t1", "old_1", 1, 1), run(ctx, deleteStream, "t1", "old_1"))
	},
	"Purge, an event": func(ctx context.Context, _ *Store) error {
		return errors.Join(run(ctx, deleteEvent, "t1", "evt_1", 1), run(ctx, deleteBodies, "t1", "evt_1"), run(ctx, deleteGated, "t1", "evt_1"))
	},
	"DeleteExpired": func(ctx context.Context, s *Store) error {
		_, err := s.DeleteExpired(ctx, time.UnixMicro(1), 10)
		return err
	},
}

var aLane = dispatch.Lane{Tenant: "t1", SubscriptionID: "sub_1"}

func run(ctx context.Context, query string, args ...any) error {
	_, err := ctx.Value(txKey{}).(*Tx).Exec(ctx, query, args...)
	return err
}

func saveAs(ctx context.Context, s *Store, before, after delivery.Status) error {
	_, err := s.Save(ctx, []dispatch.Saved{{Before: delivery.Delivery{Tenant: "t1", ID: "no", Status: before}, After: delivery.Delivery{Status: after}}})
	return err
}

// listFilters is every filter of the lists alone, and none.
func listFilters() map[string]func(context.Context, *Store) error {
	calls := map[string]func(context.Context, *Store) error{}
	deliveries := map[string]queries.DeliveryFilter{
		"no filter": {}, "subscription": {SubscriptionID: "sub_1"}, "event": {EventID: "evt_1"}, "type": {EventType: event.TargetImported},
		"since": {Since: time.UnixMicro(1)}, "until": {Until: time.Now()}, "before": {Before: "dlv_5"},
	}
	for _, status := range delivery.Statuses() {
		deliveries["status "+string(status)] = queries.DeliveryFilter{Status: status}
	}
	for name, f := range deliveries {
		f.Tenant, f.Limit = "t1", 10
		calls["Deliveries, "+name] = func(ctx context.Context, s *Store) error { _, err := s.Deliveries(ctx, f); return err }
	}
	for name, f := range map[string]job.Filter{
		"all": {Statuses: delivery.Statuses()}, "failed": {Statuses: []delivery.Status{delivery.StatusRetrying, delivery.StatusDeadLetter}},
		"subscription": {SubscriptionID: "sub_1", Statuses: delivery.Statuses()}, "event": {EventID: "evt_1", Statuses: delivery.Statuses()},
	} {
		walk := jobs.Walk{Tenant: "t1", Filter: f, After: "dlv_1", UpTo: "dlv_5", Limit: 10}
		calls["WalkDeliveries, "+name] = func(ctx context.Context, s *Store) error { _, err := s.WalkDeliveries(ctx, walk); return err }
	}
	for name, f := range map[string]queries.EventFilter{
		"no filter": {}, "type": {Type: event.TargetImported}, "since": {Since: time.UnixMicro(1)}, "until": {Until: time.Now()}, "before": {Before: 5},
	} {
		f.Tenant, f.Limit = "t1", 10
		calls["AcceptedEvents, "+name] = func(ctx context.Context, s *Store) error { _, err := s.AcceptedEvents(ctx, f); return err }
	}
	return calls
}

// TestQueryPlans asks SQLite how it runs every statement of the hot calls, over rowsInPlans rows a table.
func TestQueryPlans(t *testing.T) {
	db := filled(t, rowsInPlans)
	s := NewStore(db, nil)
	calls := listFilters()
	maps.Copy(calls, hot)
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			statements := statementsOf(t, db, func(ctx context.Context) error { return call(ctx, s) })
			if len(statements) == 0 {
				t.Error("it ran no statement")
			}
			for _, query := range statements {
				plan := explain(t, db, query)
				if found := trouble(name, query, plan); len(found) > 0 {
					t.Errorf("%s\nhas %q in its plan %q", query, found, plan)
				}
			}
		})
	}
}

// TestPlanCheckSeesTrouble proves that the check can fail.
func TestPlanCheckSeesTrouble(t *testing.T) {
	db := filled(t, 10)
	for _, query := range []string{
		`SELECT * FROM open_deliveries WHERE event_type = ?`,
		`SELECT * FROM open_deliveries WHERE tenant_id = ? AND event_type = ?`,
		`SELECT * FROM open_deliveries WHERE tenant_id = ? ORDER BY due_at`,
		`SELECT count(*) FROM records WHERE type = ?`,
	} {
		if plan := explain(t, db, query); len(trouble("", query, plan)) == 0 {
			t.Errorf("no trouble is seen in %q, the plan of %s", plan, query)
		}
	}
}

var errUndo = errors.New("undo")

// statementsOf gathers what a call prepares, and undoes what it did.
func statementsOf(t *testing.T, db *DB, call func(context.Context) error) []string {
	t.Helper()
	var statements []string
	err := db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		before := tx.writer.statements
		defer func() { tx.writer.statements = before }()
		tx.writer.statements = map[string]*sql.Stmt{}
		_ = call(ctx)
		statements = slices.Sorted(maps.Keys(tx.writer.statements))
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	return statements
}

func explain(t *testing.T, db *DB, query string) (plan []string) {
	t.Helper()
	rows, err := db.Query(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, 40)...)
	if err != nil {
		t.Fatalf("explain %s: %v", query, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// fill makes n rows of each large table, over ten tenants with a hundred subscriptions each. They are
// the generator's, not the application's: only their number and spread matter here.
var fill = []string{
	`CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT i FROM n`,
	`INSERT INTO tenants (tenant_id, name, created_at) SELECT 't' || (i - 1), 'name', i FROM n WHERE i <= 1000`,
	`INSERT INTO subscriptions SELECT 't' || (i % 10), 'sub_' || i, 'active', 1, '{"status":"active","maxInFlight":9}', NULL, 0 FROM n WHERE i <= 1000`,
	`INSERT INTO rotation_notices SELECT 't' || (i % 10), 'sub_' || i, i FROM n WHERE i <= 1000`,
	`INSERT INTO records (topic, tenant_id, stream, version, type, data, metadata, recorded_at)
		SELECT iif(i <= 1000, 'subscriptions', 'deliveries'), 't' || (i % 10), iif(i <= 1000, 'subscription/sub_', 'delivery/dlv_') || i, 1, 'c', x'', '{}', i FROM n`,
	`INSERT INTO events SELECT 't' || (i % 10), 'evt_' || i, i, 'visit_report.approved', i, i, zeroblob(32), x'', '', CASE WHEN i % 1000 = 7 THEN '{}' END, NULL FROM n`,
	`INSERT INTO bodies SELECT 't' || (i % 10), 'evt_' || i, 1, x'' FROM n`,
	`INSERT INTO open_deliveries SELECT 't' || (i % 10), 'dlv_' || i, 'evt_' || i, 'visit_report.approved', 'sub_' || (i % 1000), 1, 1, '[]',
		'pending', 1, 0, 0, 0, i, i, iif(i % 3 = 0, NULL, i), i, '', iif(i % 50 = 0, 'inc_' || (i % 3), NULL), NULL, i % 50 > 0 AND i % 3 = 1 FROM n`,
	`INSERT INTO closed_deliveries SELECT 't' || (i % 10), 'old_' || i, 'evt_' || i, 'visit_report.approved', 'sub_' || (i % 1000), 1, 1, '[]',
		iif(i % 100 = 0, 'dead_letter', 'succeeded'), 1, 0, 0, 0, i, i, i, '' FROM n`,
	`INSERT INTO external_ids SELECT 't' || (i % 10), 'sap', 'target', i, 'x' FROM n`,
	`INSERT INTO customers SELECT 't' || (i % 10), i, NULL, NULL FROM n`,
	`INSERT INTO api_keys SELECT 't' || (i % 10), 'key_' || i, zeroblob(28) || i, '', '', '[]', '', i, NULL, NULL, NULL FROM n`,
	`INSERT INTO idempotency_keys SELECT zeroblob(28) || i, zeroblob(32), '', i, i, NULL FROM n`,
	`INSERT INTO gated_events SELECT 't' || (i % 10), 'evt_' || i, 'sub_1', 'f', 1, i FROM n`,
	`INSERT INTO jobs SELECT 't' || (i % 10), 'job_' || i, iif(i % 2 = 0, NULL, i), '{}' FROM n`,
	`INSERT INTO circuits SELECT 't' || (i % 10), 'sub_' || i, 'inc_' || (i % 3), i, NULL, 1 FROM n`,
	`INSERT INTO sweeps SELECT 't1', 'sub_' || i, 'park', i FROM n WHERE i <= 10`,
	`DROP TABLE n`,
}

func filled(t *testing.T, n int) *DB {
	t.Helper()
	db := openEmpty(t)
	err := db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		for i, statement := range fill {
			args := []any{n}
			if i > 0 {
				args = nil
			}
			if _, err := tx.Exec(ctx, statement, args...); err != nil {
				return errors.Join(errors.New(statement), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}
