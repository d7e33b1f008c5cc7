package eventlogtest

import (
	"context"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/eventlog"
)

const (
	topic = "topic"
	group = "group"
)

// World is a log, and a table that handlers write their effects to.
type World struct {
	T
	Database
	ctx      context.Context
	log      *eventlog.Log
	patience time.Duration // bounds a wait for something that is to happen; nothing is timed by it
	closing  []func() error
}

// NewWorld is one on an empty database; close it.
func NewWorld(ctx context.Context, t T, db Database) *World {
	t.Helper()
	f := AnotherWorld(ctx, t, db)
	f.exec(ctx, "CREATE TABLE effects (name TEXT NOT NULL)")
	return f
}

// AnotherWorld is one on the database of another world, as another process has it.
func AnotherWorld(ctx context.Context, t T, db Database) *World {
	return &World{T: t, Database: db, ctx: ctx, log: newLog(db, eventlog.Options{}), patience: patience}
}

func newLog(db eventlog.Database, options eventlog.Options) *eventlog.Log {
	return eventlog.New(db, options, slog.New(slog.DiscardHandler), time.Now)
}

// Close closes the subscribers.
func (f *World) Close() {
	for _, closing := range f.closing {
		_ = closing()
	}
}

func (f *World) exec(ctx context.Context, statement string) {
	f.Helper()
	if err := f.Exec(ctx, statement); err != nil {
		f.Fatal(err)
	}
}

// insert writes a record as it is stored, behind the log's back.
func (f *World) insert(r eventlog.Record) {
	f.Helper()
	if err := f.Insert(f.ctx, topic, r); err != nil {
		f.Fatal(err)
	}
}

func (f *World) count(query string) int64 {
	f.Helper()
	n, err := f.Count(context.Background(), query)
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// Subscribe has a group read the topic of the world.
func (f *World) Subscribe(options eventlog.Options) (message.Subscriber, <-chan *message.Message) {
	f.Helper()
	return f.subscribe(group, options)
}

func (f *World) subscribe(group string, options eventlog.Options) (message.Subscriber, <-chan *message.Message) {
	f.Helper()
	s, err := newLog(f.Database, options).Subscriber(group)
	if err != nil {
		f.Fatal(err)
	}
	f.closing = append(f.closing, s.Close)
	messages, err := s.Subscribe(f.ctx, topic)
	if err != nil {
		f.Fatal(err)
	}
	return s, messages
}

// Publish appends messages with these names.
func (f *World) Publish(names ...string) {
	f.Helper()
	for _, name := range names {
		if err := f.log.Publisher().Publish(topic, message.NewMessage(name, nil)); err != nil {
			f.Fatal(err)
		}
	}
}

// effect is what a handler writes: the message's name.
func (f *World) effect(ctx context.Context, msg *message.Message) {
	f.Helper()
	f.exec(ctx, "INSERT INTO effects (name) VALUES ('"+msg.UUID+"')")
}

// Affect does what a handler does: it joins the message's transaction and writes the message's name.
func (f *World) Affect(msg *message.Message) context.Context {
	f.Helper()
	ctx, err := eventlog.Join(msg.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.effect(ctx, msg)

	return ctx
}

// Effects counts what handlers wrote.
func (f *World) Effects() int64 {
	f.Helper()
	return f.count("SELECT count(*) FROM effects")
}

// Offset is where the group of the world is in its topic.
func (f *World) Offset() int64 {
	f.Helper()
	return f.count("SELECT coalesce(max(position), 0) FROM consumer_offsets WHERE consumer_group = '" + group + "' AND topic = '" + topic + "'")
}

// nothingKept fails unless neither an effect nor an offset was kept.
func (f *World) nothingKept() {
	f.Helper()
	if effects, offset := f.Effects(), f.Offset(); effects != 0 || offset != 0 {
		f.Errorf("kept %d effects and offset %d, want neither", effects, offset)
	}
}

// Receive wants the message with that name next.
func (f *World) Receive(messages <-chan *message.Message, name string) *message.Message {
	f.Helper()
	select {
	case msg, ok := <-messages:
		if !ok || msg.UUID != name {
			f.Fatalf("received %v (open: %t), want %s", msg, ok, name)
		}
		return msg
	case <-time.After(f.patience):
		f.Fatalf("%s did not come", name)
		return nil
	}
}

// WaitForOffset polls until the acknowledgement is committed.
func (f *World) WaitForOffset(want int64) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, f.patience)
	defer cancel()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for f.Offset() != want {
		select {
		case <-often.C:
		case <-ctx.Done():
			f.Fatalf("offset is %d, want %d", f.Offset(), want)
		}
	}
}
