package eventlogtest

import (
	"context"
	"errors"
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
	logger   *slog.Logger  // of those that subscribe
	patience time.Duration // bounds a wait for something that must happen; nothing is timed by it
	closing  []func() error
}

// NewWorld is one on an empty database; close it.
func NewWorld(ctx context.Context, t T, db Database) *World {
	t.Helper()
	w := AnotherWorld(ctx, t, db)
	w.exec(ctx, "CREATE TABLE effects (name TEXT NOT NULL)")
	return w
}

// AnotherWorld is a world on another one's database, as in a second process.
func AnotherWorld(ctx context.Context, t T, db Database) *World {
	return &World{T: t, Database: db, ctx: ctx, log: newLog(db, eventlog.Options{}), logger: slog.New(slog.DiscardHandler), patience: patience}
}

func newLog(db eventlog.Database, options eventlog.Options) *eventlog.Log {
	return eventlog.New(db, options, slog.New(slog.DiscardHandler), time.Now)
}

// Close closes the subscribers.
func (w *World) Close() {
	for _, closing := range w.closing {
		_ = closing()
	}
}

func (w *World) exec(ctx context.Context, statement string) {
	w.Helper()
	if err := w.Exec(ctx, statement); err != nil {
		w.Fatal(err)
	}
}

// insert writes a record in its stored form, behind the log's back.
func (w *World) insert(r eventlog.Record) {
	w.Helper()
	if err := w.Insert(w.ctx, topic, r); err != nil {
		w.Fatal(err)
	}
}

func (w *World) count(query string) int64 {
	w.Helper()
	n, err := w.Count(context.Background(), query)
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// Subscribe has a group read the topic of the world.
func (w *World) Subscribe(options eventlog.Options) (message.Subscriber, <-chan *message.Message) {
	w.Helper()
	return w.subscribe(group, options)
}

func (w *World) subscribe(group string, options eventlog.Options) (message.Subscriber, <-chan *message.Message) {
	w.Helper()
	s, err := eventlog.New(w.Database, options, w.logger, time.Now).Subscriber(group)
	if err != nil {
		w.Fatal(err)
	}
	w.closing = append(w.closing, s.Close)
	messages, err := s.Subscribe(w.ctx, topic)
	if err != nil {
		w.Fatal(err)
	}
	return s, messages
}

// Publish appends messages with these names.
func (w *World) Publish(names ...string) {
	w.Helper()
	for _, name := range names {
		if err := w.log.Publisher().Publish(topic, message.NewMessage(name, nil)); err != nil {
			w.Fatal(err)
		}
	}
}

// effect is what a handler writes: the message's name.
func (w *World) effect(ctx context.Context, msg *message.Message) {
	w.Helper()
	if err := w.tryEffect(ctx, msg); err != nil {
		w.Fatal(err)
	}
}

func (w *World) tryEffect(ctx context.Context, msg *message.Message) error {
	return w.Exec(ctx, "INSERT INTO effects (name) VALUES ('"+msg.UUID+"')")
}

// Affect does what a handler does: it joins the message's transaction and writes the message's name.
func (w *World) Affect(msg *message.Message) context.Context {
	w.Helper()
	ctx, err := eventlog.Join(msg.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.effect(ctx, msg)
	return ctx
}

// AffectInTime receives the message, however often it is taken back first, and does what a handler does.
func (w *World) AffectInTime(messages <-chan *message.Message, uuid string) *message.Message {
	w.Helper()
	for {
		msg := w.Receive(messages, uuid)
		ctx, err := eventlog.Join(msg.Context())
		if err == nil {
			err = w.tryEffect(ctx, msg)
		}
		switch {
		case err == nil:
			return msg
		case msg.Context().Err() == nil:
			w.Fatal(err)
		}
	}
}

// Superseded does what a handler does, and reports a failure unless that is refused.
func (w *World) Superseded(msg *message.Message) {
	w.Helper()
	ctx, err := eventlog.Join(msg.Context())
	if err == nil {
		err = w.tryEffect(ctx, msg)
	}
	if !errors.Is(err, eventlog.ErrSuperseded) {
		w.Errorf("what a handler does gave %v, want %v", err, eventlog.ErrSuperseded)
	}
}

// Effects counts what handlers wrote.
func (w *World) Effects() int64 {
	w.Helper()
	return w.count("SELECT count(*) FROM effects")
}

// Offset is the offset of the world's group in its topic.
func (w *World) Offset() int64 {
	w.Helper()
	return w.count("SELECT coalesce(max(position), 0) FROM consumer_offsets WHERE consumer_group = '" + group + "' AND topic = '" + topic + "'")
}

// nothingKept fails unless neither an effect nor an offset was kept.
func (w *World) nothingKept() {
	w.Helper()
	if effects, offset := w.Effects(), w.Offset(); effects != 0 || offset != 0 {
		w.Errorf("kept %d effects and offset %d, want neither", effects, offset)
	}
}

// Receive wants the message with that name next.
func (w *World) Receive(messages <-chan *message.Message, name string) *message.Message {
	w.Helper()
	select {
	case msg, ok := <-messages:
		if !ok || msg.UUID != name {
			w.Fatalf("received %v (open: %t), want %s", msg, ok, name)
		}
		return msg
	case <-time.After(w.patience):
		w.Fatalf("%s did not come", name)
		return nil
	}
}

// WaitForOffset polls until the acknowledgement is committed.
func (w *World) WaitForOffset(want int64) {
	w.Helper()
	w.acknowledgeUntil(want, nil)
}

// acknowledgeUntil also acknowledges what comes again until the offset is as wanted: an acknowledgement may miss its deadline.
func (w *World) acknowledgeUntil(want int64, messages <-chan *message.Message) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, w.patience)
	defer cancel()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for w.Offset() != want {
		select {
		case <-often.C:
		case msg := <-messages:
			msg.Ack()
		case <-ctx.Done():
			w.Fatalf("offset is %d, want %d", w.Offset(), want)
		}
	}
}
