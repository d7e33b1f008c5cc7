package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

const (
	day       = 24 * time.Hour
	inRecords = "records"
	closed    = "closed_deliveries"
	bodies    = "bodies"
	gated     = "gated_events"
	events    = "events"
)

var (
	lane      = dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}
	succeeded = delivery.Outcome{Kind: delivery.KindSucceeded}
	failed    = delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 503}
	gone      = delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410}
)

// weeks is a database with a subscription and a retention of 20 days, 90 for dead letters. It is the first day of a
// week, a year from now, and nobody has made that week.
type weeks struct {
	*testing.T
	*postgres.Store
	db, direct *postgres.DB
	retention  *retention.Retention
	now        time.Time
	made       int
	waits      waits
	url        string // of the server itself
}

func newWeeks(t *testing.T, through func(direct string) string) *weeks {
	t.Helper()
	direct := migrated.Copy(t)
	w := &weeks{T: t, url: direct, direct: openURL(t, postgres.Config{URL: direct})}
	w.now = time.UnixMicro(0).UTC().Add(time.Now().AddDate(1, 0, 0).Sub(time.UnixMicro(0)).Truncate(7 * day)).Add(time.Hour)
	w.db = openURL(t, postgres.Config{URL: through(direct), DirectURL: direct, Logger: slog.New(slog.NewTextHandler(&w.waits, nil)), Now: func() time.Time { return w.now }})
	w.Store = postgres.NewStore(w.db, tagging{})
	w.retention = retention.New(w.Store, retention.Ages{Events: 20 * day, Attempts: 20 * day, DeadLetters: 90 * day}, func() time.Time { return w.now })
	w.ok(w.CreateTenant(t.Context(), access.Tenant{ID: "acme", Name: "Acme", Weight: 1, CreatedAt: w.now}))
	changes := subscription.Create(lane.SubscriptionID, lane.Tenant, subscription.Settings{Name: "n", URL: "https://example.com", EventTypes: subscription.Filter{"*"},
		Options: payload.DefaultOptions(), RetrySchedule: []time.Duration{time.Hour}, Timeout: time.Second, MaxInFlight: 16}, "sec_1", w.now)
	after, err := subscription.Fold(changes)
	w.ok(err)
	w.ok(w.AppendSubscription(t.Context(), subscription.Subscription{}, after, changes, subscriptions.Actor{}))
	return w
}

func straight(direct string) string { return direct }

func (w *weeks) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *weeks) id(prefix string) string {
	w.made++
	var id ulid.ULID
	w.ok(id.SetTime(uint64(w.now.UnixMilli())))
	w.ok(id.SetEntropy([]byte(fmt.Sprintf("%010d", w.made))))
	return prefix + id.String()
}

func (w *weeks) accept() intake.Accepted {
	w.Helper()
	e := intake.Accepted{Event: event.Sample(event.VisitReportApproved, "acme"), At: w.now}
	e.ID = w.id("evt_")
	w.ok(w.AppendEvents(w.Context(), []intake.Accepted{e}))
	return e
}

// deliver accepts an event and schedules its delivery.
func (w *weeks) deliver(outcomes ...delivery.Outcome) delivery.Delivery {
	w.Helper()
	e := w.accept()
	d := w.schedule(e, fanout.Plan{Bodies: []fanout.Body{{Tenant: "acme", EventID: e.ID, Number: 1, Bytes: []byte("{}")}},
		Gated: []fanout.Gated{{Tenant: "acme", EventID: e.ID, SubscriptionID: "sub_2", Feature: tenant.BillingWebhooks, SubscriptionVersion: 1, AcceptedAt: e.At}}})
	w.handled()
	return w.attempt(d, outcomes...)
}

// schedule adds a delivery of the event's first body to the plan.
func (w *weeks) schedule(e intake.Accepted, plan fanout.Plan) delivery.Delivery {
	w.Helper()
	changes := delivery.Schedule(delivery.Scheduled{At: w.now, ID: w.id("dlv_"), Tenant: "acme", EventID: e.ID, EventType: e.Type, SubscriptionID: "sub_1", SubscriptionVersion: 1, BodyNumber: 1})
	d, err := delivery.Fold(changes)
	w.ok(err)
	plan.Scheduled = []fanout.Scheduled{{Delivery: d, Changes: changes, AcceptedAt: e.At}}
	w.ok(w.InTx(w.Context(), func(ctx context.Context) error { return w.Schedule(ctx, plan, func(bool) {}) }))
	return d
}

func (w *weeks) attempt(d delivery.Delivery, outcomes ...delivery.Outcome) delivery.Delivery {
	w.Helper()
	for _, o := range outcomes {
		changes, err := d.Record(o, []time.Duration{time.Hour, time.Hour}, 0, w.now)
		w.ok(err)
		moved, err := dispatch.Move(d, changes)
		w.ok(err)
		stale, err := w.Save(w.Context(), []dispatch.Saved{moved})
		if w.ok(err); len(stale) > 0 {
			w.Fatal("stale")
		}
		d = moved.After
	}
	return d
}

// handled moves fan-out's offset to the end of the log.
func (w *weeks) handled() {
	w.Helper()
	w.ok(execute(w.Context(), w.db, `INSERT INTO consumer_offsets (consumer_group, topic, position) SELECT $1, $2, max(position) FROM records
		ON CONFLICT (consumer_group, topic) DO UPDATE SET position = excluded.position`, fanout.Group, records.TopicEvents))
}

// purge lets the retention work until it rests.
func (w *weeks) purge() {
	w.Helper()
	for range 100 {
		next, err := w.retention.Step(w.Context())
		w.ok(err)
		if next.Sub(w.now) >= time.Second {
			return
		}
	}
	w.Fatal("it does not rest")
}

// partOf is the part of a table that has what is of the time.
func partOf(table string, at time.Time) string {
	return fmt.Sprintf("%s_w%d", table, at.Unix()/(7*86400))
}

func (w *weeks) exists(part string) bool {
	w.Helper()
	return count(w, w.direct, `SELECT count(*) FROM pg_inherits WHERE inhrelid = to_regclass('`+part+`')`) == 1
}

func (w *weeks) rows(part string) int64 {
	w.Helper()
	return count(w, w.direct, `SELECT count(*) FROM `+part)
}

// changes counts those of the delivery, which lead to its version.
func (w *weeks) changes(d delivery.Delivery) int {
	w.Helper()
	changes, err := w.DeliveryChanges(w.Context(), "acme", d.ID)
	w.ok(err)
	if len(changes) > 0 {
		folded, err := delivery.Fold(changes)
		if w.ok(err); folded.Version != int64(len(changes)) {
			w.Errorf("%s: %d changes lead to version %d", d.ID, len(changes), folded.Version)
		}
	}
	return len(changes)
}

func TestRecordsGoByTheWeek(t *testing.T) {
	t.Parallel()
	for name, through := range map[string]func(*testing.T) func(string) string{
		"direct":           func(*testing.T) func(string) string { return straight },
		"behind pgbouncer": func(t *testing.T) func(string) string { return pgtest.StartBouncer(t, pgtest.URL(t)).URL },
	} {
		t.Run(name, func(t *testing.T) { recordsGoByTheWeek(newWeeks(t, through(t))) })
	}
}

func recordsGoByTheWeek(w *weeks) {
	first := partOf(inRecords, w.now)
	done, dead, open := w.deliver(succeeded), w.deliver(gone), w.deliver(failed)
	if n := w.rows("records_default"); n != 3+2+3+2 {
		w.Fatalf("a week that nobody made gave %d records to the default", n)
	}
	w.purge()
	if !w.exists(first) || !w.exists(partOf(inRecords, w.now.Add(14*day))) || w.rows("records_default") != 0 || w.rows(first) != 10 {
		w.Fatalf("%s was not made with what is its own, or not those after it", first)
	}
	later := w.deliver(succeeded)
	if w.rows(first) != 13 || w.changes(later) != 2 {
		w.Error("what comes then does not go to the week")
	}
	started := w.now

	w.now = started.Add(20*day + time.Hour)
	w.purge()
	if !w.exists(first) {
		w.Error("it is dropped before it is old")
	}
	w.now = started.Add(34 * day)
	w.purge()
	if w.exists(first) {
		w.Error("it stays although it is old")
	}
	if d, e, f := w.changes(done), w.changes(dead), w.changes(open); d != 0 || e != 3 || f != 2 {
		w.Errorf("%d changes are left of the one that is done, %d of the dead letter, %d of the open one", d, e, f)
	}
	if s, err := w.LoadSubscription(w.Context(), lane); err != nil || s.Version != 1 {
		w.Errorf("the subscription is %+v, %v", s, err)
	}
	if history, err := w.SubscriptionHistory(w.Context(), lane); err != nil || len(history) != 1 {
		w.Errorf("its history has %d changes, %v", len(history), err)
	}
	open = w.attempt(open, succeeded)
	if w.changes(open) != 3 || w.rows(partOf(inRecords, w.now)) == 0 {
		w.Error("the stream does not go on in the new week")
	}

	w.now = started.Add(91 * day)
	w.purge()
	if w.changes(dead) != 0 || w.changes(open) != 0 || w.rows("records_kept") != 1 {
		w.Errorf("%d records are kept for good, want the subscription's alone", w.rows("records_kept"))
	}
}

// TestDeliveriesGoByTheWeek has a week in which no row may be deleted.
func TestDeliveriesGoByTheWeek(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	first := partOf(closed, w.now)
	done, dead, open := w.deliver(succeeded), w.deliver(gone), w.deliver(failed)
	if n, kept := w.rows(closed+"_default"), w.rows(closed+"_kept"); n != 1 || kept != 1 {
		w.Fatalf("a week that nobody made gave %d deliveries to the default, and %d are kept", n, kept)
	}
	w.purge()
	if !w.exists(first) || !w.exists(partOf(closed, w.now.Add(14*day))) || w.rows(closed+"_default") != 0 || w.rows(first) != 1 {
		w.Fatalf("%s was not made with what is its own, or not those after it", first)
	}
	w.forbidDeletes(first, "true")
	later := w.deliver(succeeded)
	if w.rows(first) != 2 {
		w.Error("what comes then does not go to the week")
	}
	started := w.now

	w.now = started.Add(27*day - 2*time.Hour)
	w.purge()
	if got := w.list(); !slices.Equal(got, []string{done.ID, dead.ID, open.ID, later.ID}) {
		w.Errorf("before the week is old there are %v", got)
	}
	w.now = started.Add(27 * day)
	w.purge()
	if got := w.list(); w.exists(first) || !slices.Equal(got, []string{dead.ID, open.ID}) {
		w.Errorf("after the week there are %v", got)
	}
	w.now = started.Add(34 * day)
	w.purge()
	if n := w.rows(events); n != 2 {
		w.Errorf("%d events are left, want those of the dead letter and of the open one", n)
	}
	open = w.attempt(open, succeeded)
	if d, err := w.Delivery(w.Context(), "acme", open.ID); err != nil || d.Status != delivery.StatusSucceeded || w.changes(open) != 3 || w.changes(dead) != 3 {
		w.Errorf("the one that was open for long is %+v, %v", d, err)
	}
	w.now = started.Add(91 * day)
	w.purge()
	if got := w.list(); len(got) != 0 || w.rows(closed+"_kept") != 0 || w.rows("records_kept") != 1 {
		w.Errorf("there are %v in the end, and %d records", got, w.rows("records_kept"))
	}
}

// TestAcceptedEventsGoByTheWeek has weeks in which no row may be deleted, save what is kept and put elsewhere.
func TestAcceptedEventsGoByTheWeek(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	started := w.now
	w.deliver(succeeded)
	aside := w.accept()
	replayed, dead, open := w.deliver(succeeded), w.deliver(gone), w.deliver(failed)
	made := map[string]int64{events: 5, bodies: 4, gated: 4}
	for _, table := range []string{events, bodies, gated} {
		if n := w.rows(table + "_default"); n != made[table] {
			t.Fatalf("a week that nobody made gave %d rows of %s to the default", n, table)
		}
	}
	w.purge()
	for _, table := range []string{events, bodies, gated} {
		if part := partOf(table, started); !w.exists(part) || w.rows(part) != made[table] {
			t.Fatalf("%s was not made with what is its own", part)
		}
		w.forbidDeletes(partOf(table, started), fmt.Sprintf("OLD.event_id NOT IN ('%s', '%s', '%s', '%s')", aside.ID, replayed.EventID, dead.EventID, open.EventID))
	}
	has := func(when string, of int64, ds ...delivery.Delivery) {
		t.Helper()
		for _, d := range ds {
			if body, err := w.Body(t.Context(), d); err != nil || string(body) != "{}" {
				t.Errorf("%s %s has the body %q, %v", when, d.ID, body, err)
			}
			if found, err := w.GatedOf(t.Context(), "acme", d.EventID); err != nil || len(found) != 1 {
				t.Errorf("%s %s was kept back from %v, %v", when, d.EventID, found, err)
			}
		}
		if e, n, m := w.rows(events), w.rows(bodies), w.rows(gated); e != of || n != of || m != of {
			t.Errorf("%s there are %d events, %d bodies and %d that were gated, want %d", when, e, n, m, of)
		}
	}

	w.now = started.Add(19 * day)
	again := w.schedule(intake.Accepted{Event: event.Event{ID: replayed.EventID, Type: replayed.EventType}, At: started}, fanout.Plan{})
	w.retry(aside)
	w.now = started.Add(34 * day)
	w.purge()
	if found, err := w.Events(t.Context(), []intake.EventKey{aside.Key()}); err != nil || len(found) != 1 {
		t.Errorf("what is to be fanned out again has gone: %v, %v", found, err)
	}
	w.handled()
	w.purge()
	if w.exists(partOf(events, started)) || w.exists(partOf(bodies, started)) || w.exists(partOf(gated, started)) {
		t.Error("it stays although it is old")
	}
	has("after the week", 3, again, dead, open)

	_, err := w.Look(t.Context(), dispatch.LookRequest{Now: w.now, Lanes: 9})
	w.ok(err)
	answer, err := w.LeaseReady(t.Context(), dispatch.LeaseRequest{Lease: "inc_1", Now: w.now, Lanes: []dispatch.Asked{{Lane: lane, Slots: 9}}})
	w.ok(err)
	for _, l := range answer.Leased {
		if string(l.Body) != "{}" {
			t.Errorf("%s is leased with the body %q", l.Delivery.ID, l.Body)
		}
	}
	if len(answer.Leased) != 2 {
		t.Errorf("%d are leased, want the one that was open for long, and the replay", len(answer.Leased))
	}
	w.ok(w.GiveBack(t.Context(), "inc_1", answer.Leased))

	w.attempt(again, succeeded)
	w.now = started.Add(62 * day)
	w.purge()
	has("when the replay is old", 2, dead, open)
	w.now = started.Add(91 * day)
	w.purge()
	has("without the dead letter", 1, open)
}

// retry names the event again, as if it had been set aside.
func (w *weeks) retry(e intake.Accepted) {
	w.Helper()
	w.ok(w.InTx(w.Context(), func(ctx context.Context) error {
		held, err := w.HoldEvent(ctx, "acme", e.ID)
		if err != nil {
			return err
		}
		held.SetAside = &fanout.SetAside{}
		return w.FanOutAgain(ctx, held, queries.Retried{At: w.now})
	}))
}

// forbidDeletes has the deletion of the table's rows fail, if the condition holds.
func (w *weeks) forbidDeletes(table, condition string) {
	w.Helper()
	w.ok(execute(w.Context(), w.direct, `CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a row is deleted'; END $$`))
	w.ok(execute(w.Context(), w.direct, `CREATE TRIGGER refuse BEFORE DELETE ON `+table+` FOR EACH ROW WHEN (`+condition+`) EXECUTE FUNCTION refuse()`))
}

// list is all deliveries there are, oldest first.
func (w *weeks) list() (ids []string) {
	w.Helper()
	found, err := w.Deliveries(w.Context(), queries.DeliveryFilter{Tenant: "acme", Limit: 100})
	w.ok(err)
	for _, d := range slices.Backward(found) {
		ids = append(ids, d.ID)
	}
	return ids
}

// TestOldBinariesCloseDeliveriesToo has one of a process that does not know of weeks.
func TestOldBinariesCloseDeliveriesToo(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	d := w.deliver(succeeded)
	w.ok(execute(w.Context(), w.direct, `UPDATE closed_deliveries SET week = DEFAULT`))
	w.purge()
	if got := w.list(); !slices.Equal(got, []string{d.ID}) || w.rows(closed+"_kept") != 1 {
		t.Fatalf("there are %v, %d of them in week 0", got, w.rows(closed+"_kept"))
	}
	w.now = w.now.Add(20*day + time.Hour)
	w.purge()
	if got := w.list(); len(got) != 0 {
		t.Errorf("it stays although it is old: %v", got)
	}
}

// TestAWeekIsDroppedWhenNobodyLooks has a reader who stays, like a backup.
func TestAWeekIsDroppedWhenNobodyLooks(t *testing.T) {
	t.Parallel()
	for _, table := range []string{inRecords, closed, events, bodies, gated} {
		t.Run(table, func(t *testing.T) {
			w := newWeeks(t, straight)
			w.deliver(succeeded)
			w.purge()
			first := partOf(table, w.now)
			reader, err := w.direct.Begin(w.Context())
			w.ok(err)
			_, err = reader.Exec(w.Context(), `SELECT count(*) FROM `+table)
			w.ok(err)
			w.now = w.now.Add(50 * day)
			w.purge()
			if !w.exists(first) || table == closed && !w.exists(partOf(inRecords, w.now.Add(-50*day))) {
				t.Error("it is dropped under its reader, or what the deliveries need is")
			}
			w.deliver(succeeded)
			w.ok(reader.Rollback())
			w.now = w.now.Add(10 * time.Minute)
			w.purge()
			if w.exists(first) {
				t.Error("it stays although nobody reads it")
			}
		})
	}
}

// TestManyMakeAndDropWeeks has three processes do it at once.
func TestManyMakeAndDropWeeks(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	open := w.deliver(failed)
	for range 3 {
		w.now = w.now.Add(50 * day)
		results := make(chan error)
		for range 3 {
			go func() {
				_, err := w.retention.Step(w.Context())
				results <- err
			}()
		}
		for range 3 {
			w.ok(<-results)
		}
		w.deliver(succeeded)
	}
	w.purge()
	if w.changes(open) != 2 {
		t.Error("what is open lost its records")
	}
}
