package messages_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/sqlite/topics"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/ports/messages"
)

// patience bounds a wait for something that is to happen; nothing is timed by it.
const patience = 90 * time.Second

// world is a real log with a router on it, and the use case that it brings records to.
type world struct {
	*testing.T
	db  *sqlite.DB
	log *eventlog.Log
	// logger is the router's.
	logger *slog.Logger
	// handle is called with each record's events, inside the transaction.
	handle func(ctx context.Context, position int64, keys []intake.EventKey) error
	calls  chan call
}

type call struct {
	position int64
	keys     []intake.EventKey
	// unreadable is what the record says of its names.
	unreadable error
}

// unread is a log that nobody can subscribe to.
type unread struct {
	*eventlog.Log
	why error
}

func (u unread) Subscriber(string) (message.Subscriber, error) { return nil, u.why }

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "messages.db"))
	if err == nil {
		err = db.Migrate()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{T: t, db: db, log: eventlog.New(topics.Of(db), eventlog.Options{Batch: 10, MaxPause: time.Millisecond}, slog.New(slog.DiscardHandler), time.Now), logger: slog.New(slog.DiscardHandler), calls: make(chan call, 100)}
	w.handle = func(context.Context, int64, []intake.EventKey) error { return nil }
	return w
}

// Handle is fan-out.
func (w *world) Handle(ctx context.Context, records []fanout.Record) error {
	for _, r := range records {
		if err := w.handleOne(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// handleOne leaves a trace that the transaction takes back when it fails.
func (w *world) handleOne(ctx context.Context, r fanout.Record) error {
	err := w.db.Update(ctx, func(ctx context.Context, tx *sqlite.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO tenants (tenant_id, name, created_at) VALUES (?, 'n', 0)`, "effect-"+strconv.FormatInt(r.Position, 10))
		return err
	})
	if err != nil {
		return err
	}
	w.calls <- call{r.Position, r.Keys, r.Unreadable}
	return w.handle(ctx, r.Position, r.Keys)
}

// run starts the router, which ends with the test.
func (w *world) run() {
	w.Helper()
	router, err := messages.NewRouter(w.logger, w.log, w)
	if err != nil {
		w.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Run(context.Background()) }()
	w.Cleanup(func() {
		if err := errors.Join(router.Close(), <-ended); err != nil {
			w.Error(err)
		}
	})
	<-router.Running()
}

func (w *world) publish(payload string) {
	w.Helper()
	if err := w.log.Publisher().Publish(fanout.TopicEvents, message.NewMessage("m", message.Payload(payload))); err != nil {
		w.Fatal(err)
	}
}

func names(keys ...intake.EventKey) string {
	encoded, err := json.Marshal(keys)
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

func (w *world) next() call {
	w.Helper()
	select {
	case c := <-w.calls:
		return c
	case <-time.After(patience):
		w.Fatal("fan-out is not called")
		return call{}
	}
}

// count scans one number.
func (w *world) count(query string, args ...any) (n int64) {
	w.Helper()
	rows, err := w.db.Query(context.Background(), query, args...)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			w.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) offset() int64 {
	return w.count(`SELECT position FROM consumer_offsets WHERE consumer_group = ? AND topic = ?`, fanout.Group, fanout.TopicEvents)
}

func (w *world) effects() int64 {
	return w.count(`SELECT count(*) FROM tenants WHERE tenant_id LIKE 'effect-%'`)
}

func (w *world) reach(offset int64) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for w.offset() != offset {
		select {
		case <-often.C:
		case <-ctx.Done():
			w.Fatalf("the offset is %d, want %d", w.offset(), offset)
		}
	}
}

// poison reads what was set aside.
func (w *world) setAside() (reasons []string) {
	w.Helper()
	rows, err := w.db.Query(context.Background(), `SELECT metadata FROM records WHERE topic = ? ORDER BY position`, fanout.TopicPoison)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var metadata []byte
		var kept map[string]string
		if err := errors.Join(rows.Scan(&metadata), json.Unmarshal(metadata, &kept)); err != nil {
			w.Fatal(err)
		}
		reasons = append(reasons, kept["reason"])
	}
	return reasons
}

func TestAcceptedEventsGoToFanOut(t *testing.T) {
	w := newWorld(t)
	w.run()
	keys := []intake.EventKey{{Tenant: "acme", ID: "evt_1"}, {Tenant: "other", ID: "evt_2"}}
	for position := int64(1); position <= 3; position++ {
		w.publish(names(keys...))
		if got := w.next(); got.position != position || len(got.keys) != 2 || got.keys[0] != keys[0] || got.keys[1] != keys[1] {
			t.Errorf("called with %+v", got)
		}
	}
	w.reach(3)
	if w.effects() != 3 || len(w.setAside()) != 0 {
		t.Errorf("%d effects, set aside %v", w.effects(), w.setAside())
	}
}

// Names that are damaged are no poison: fan-out finds the events without them.
func TestARecordWhoseNamesCannotBeReadGoesToFanOut(t *testing.T) {
	for name, payload := range map[string]string{"no JSON": "{", "another form": `{"t": 1}`, "cut off": `[{"t":"acme","e":"evt_1"}`, "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			w.publish(payload)
			if got := w.next(); got.position != 1 || len(got.keys) != 0 || got.unreadable == nil {
				t.Errorf("called with %+v", got)
			}
			w.publish(names(intake.EventKey{Tenant: "acme", ID: "evt_good"}))
			if got := w.next(); got.position != 2 || len(got.keys) != 1 || got.unreadable != nil {
				t.Errorf("called with %+v", got)
			}
			w.reach(2)
			if reasons := w.setAside(); len(reasons) != 0 {
				t.Errorf("set aside %q", reasons)
			}
		})
	}
}

// What no repetition can handle is kept with the reason, and nobody waits for it.
func TestWhatCannotBeHandledIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.handle = func(_ context.Context, _ int64, keys []intake.EventKey) error {
		if keys[0].ID == "evt_bad" {
			panic("it fell")
		}
		return nil
	}
	w.run()
	payload := names(intake.EventKey{Tenant: "acme", ID: "evt_bad"})
	w.publish(payload)
	w.next()
	w.reach(1)
	// The next record's place in the log is behind the poison.
	w.publish(names(intake.EventKey{Tenant: "acme", ID: "evt_good"}))
	w.reach(w.next().position)
	reasons := w.setAside()
	if len(reasons) != 1 || !strings.Contains(reasons[0], "handling it panicked: it fell") {
		t.Errorf("set aside %q", reasons)
	}
	if kept := w.count(`SELECT count(*) FROM records WHERE topic = ? AND CAST(data AS TEXT) = ?`, fanout.TopicPoison, payload); kept != 1 {
		t.Error("its payload was not kept")
	}
	if w.effects() != 1 || len(w.calls) != 0 {
		t.Errorf("%d effects, and %d calls too many", w.effects(), len(w.calls))
	}
}

// Records are handled together; one that cannot be is found out and set aside alone, and what the others bring about is kept once.
func TestPoisonAmongOthersIsSetAsideAlone(t *testing.T) {
	w := newWorld(t)
	w.handle = func(_ context.Context, _ int64, keys []intake.EventKey) error {
		if keys[0].ID == "evt_bad" {
			panic("it fell")
		}
		return nil
	}
	for _, id := range []string{"evt_1", "evt_2", "evt_bad", "evt_3"} {
		w.publish(names(intake.EventKey{Tenant: "acme", ID: id}))
	}
	w.run()
	w.reach(4)
	if reasons := w.setAside(); len(reasons) != 1 || !strings.Contains(reasons[0], "it fell") {
		t.Errorf("set aside %q", reasons)
	}
	if kept := w.count(`SELECT count(*) FROM records WHERE topic = ? AND CAST(data AS TEXT) LIKE '%evt_bad%'`, fanout.TopicPoison); kept != 1 {
		t.Error("what was set aside is not what fell")
	}
	if w.effects() != 3 {
		t.Errorf("%d effects, want 3", w.effects())
	}
}

// Trouble that passes makes the record come again, without what the failed attempt wrote.
func TestTroubleThatPasses(t *testing.T) {
	w := newWorld(t)
	fails := 3
	w.handle = func(context.Context, int64, []intake.EventKey) error {
		if fails--; fails >= 0 {
			return errors.New("the database is away")
		}
		return nil
	}
	w.run()
	w.publish(names(intake.EventKey{Tenant: "acme", ID: "evt_1"}))
	for range 4 {
		if got := w.next(); got.position != 1 {
			t.Errorf("called with %+v", got)
		}
	}
	w.reach(1)
	if w.effects() != 1 || len(w.setAside()) != 0 {
		t.Errorf("%d effects, set aside %v", w.effects(), w.setAside())
	}
}

func TestARouterWithoutASubscriberIsNone(t *testing.T) {
	w := newWorld(t)
	away := errors.New("away")
	if _, err := messages.NewRouter(slog.New(slog.DiscardHandler), unread{w.log, away}, w); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}
