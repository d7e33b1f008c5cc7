package eventlogtest

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/eventlog"
)

var answerChecks = []Check{
	{"answers/what the handler wrote is kept", keepsWhatTheHandlerWrote},
	{"answers/a failed handler is settled in a new transaction", settledAnew},
	{"answers/effects and offset commit together", commitTogether},
	{"answers/closing in the middle of a handler", closeInTheMiddle},
	{"answers/a nack leaves nothing and comes again", nackLeavesNothing},
	{"answers/the deadline takes a message back", deadlineTakesBack},
	{"answers/the offset is never beyond what was acknowledged", neverBeyond},
	{"answers/a failure is logged with its cause and position", causeLogged},
	{"groups/independent", independentGroups},
	{"groups/a moved offset is respected", movedOffset},
	{"groups/two processes keep a message once", twoProcesses},
	{"groups/another's turn is no failure", anothersTurn},
}

var errHandler = errors.New("the handler failed")

// failing writes an effect and fails.
func (w *World) failing() message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		w.effect(msg.Context(), msg)
		return nil, errHandler
	}
}

// toPoison publishes the message to another topic within the message's transaction.
func (w *World) toPoison(msg *message.Message) ([]*message.Message, error) {
	poison := msg.CopyWithContext()
	poison.Metadata.Set("reason", "because")
	return nil, w.log.Publisher().Publish("poison", poison)
}

func keepsWhatTheHandlerWrote(w *World) {
	w.Publish("a")
	_, messages := w.Subscribe(eventlog.Options{})
	msg := w.Receive(messages, "a")
	_, err := w.log.InTransaction(func(msg *message.Message) ([]*message.Message, error) {
		w.effect(msg.Context(), msg)
		return nil, nil
	})(msg)
	if err != nil {
		w.Fatal(err)
	}
	w.nothingKept()
	msg.Ack()
	w.WaitForOffset(1)
	if got := w.Effects(); got != 1 {
		w.Errorf("%d effects, want 1", got)
	}
}

func settledAnew(w *World) {
	w.Publish("a", "b")
	_, messages := w.Subscribe(eventlog.Options{})
	msg := w.Receive(messages, "a")
	if _, err := w.log.InTransaction(w.failing())(msg); !errors.Is(err, errHandler) {
		w.Fatalf("got %v, want the handler's error", err)
	}
	w.exec(w.ctx, "DELETE FROM effects WHERE name = 'nothing is locked'")
	if _, err := w.log.InTransaction(w.toPoison)(msg); err != nil {
		w.Fatal(err)
	}
	msg.Ack()
	w.Receive(messages, "b")
	if effects, offset := w.Effects(), w.Offset(); effects != 0 || offset != 1 {
		w.Errorf("kept %d effects and offset %d, want 0 and 1", effects, offset)
	}
	if n := w.count("SELECT count(*) FROM records WHERE topic = 'poison'"); n != 1 {
		w.Errorf("%d messages on the poison topic, want 1", n)
	}
}

func commitTogether(w *World) {
	w.Publish("a", "b")
	_, messages := w.Subscribe(eventlog.Options{})
	msg := w.Receive(messages, "a")
	w.Affect(msg)
	w.nothingKept()
	msg.Ack()
	w.Receive(messages, "b") // comes only after the commit
	if effects, offset := w.Effects(), w.Offset(); effects != 1 || offset != 1 {
		w.Errorf("kept %d effects and offset %d, want 1 and 1", effects, offset)
	}
}

func closeInTheMiddle(w *World) {
	w.Publish("a")
	s, messages := w.Subscribe(eventlog.Options{})
	msg := w.Receive(messages, "a")
	ctx := w.Affect(msg)
	if err := s.Close(); err != nil {
		w.Fatal(err)
	}
	w.nothingKept()
	if msg.Context().Err() == nil {
		w.Error("the handler's context outlives the subscriber")
	}
	// A handler that ignores its context can no longer write, not even into somebody else's transaction.
	commit, err := w.Begin(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.patience)
	defer cancel()
	if err := w.Exec(late, "INSERT INTO effects (name) VALUES ('late')"); !errors.Is(err, w.Ended) {
		w.Errorf("a late write gave %v, want %v", err, w.Ended)
	}
	if err := commit(); err != nil {
		w.Fatal(err)
	}
	msg.Ack() // too late
	w.nothingKept()

	_, messages = w.Subscribe(eventlog.Options{})
	w.Receive(messages, "a")
}

func nackLeavesNothing(w *World) {
	w.Publish("a", "b")
	_, messages := w.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	for attempt := 1; attempt <= 5; attempt++ {
		msg := w.Receive(messages, "a")
		w.nothingKept()
		w.Affect(msg)
		if attempt < 5 {
			msg.Nack()
		} else {
			msg.Ack()
		}
	}
	w.Receive(messages, "b")
	if effects := w.Effects(); effects != 1 {
		w.Errorf("%d effects of one message", effects)
	}
}

func deadlineTakesBack(w *World) {
	w.Publish("a")
	_, messages := w.Subscribe(eventlog.Options{AckDeadline: time.Second, MaxPause: time.Millisecond})
	late := w.AffectInTime(messages, "a")
	msg := w.Receive(messages, "a")
	w.nothingKept()
	if late.Context().Err() == nil {
		w.Error("the context of a message that was taken back is alive")
	}
	if _, err := eventlog.Join(context.WithoutCancel(late.Context())); !errors.Is(err, eventlog.ErrOver) {
		w.Errorf("joining late gave %v, want %v", err, eventlog.ErrOver)
	}
	late.Ack()
	msg.Ack()
	w.acknowledgeUntil(1, messages)
}

func neverBeyond(w *World) {
	for i := range 30 {
		w.Publish(strconv.Itoa(i))
	}
	_, messages := w.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	for i := range 30 {
		for range i % 3 { // refused so often before
			w.Receive(messages, strconv.Itoa(i)).Nack()
		}
		msg := w.Receive(messages, strconv.Itoa(i))
		if got := w.Offset(); got != int64(i) {
			w.Fatalf("offset is %d when %d messages are acknowledged", got, i)
		}
		msg.Ack()
	}
}

func independentGroups(w *World) {
	w.Publish("a", "b")
	_, stuck := w.subscribe("another", eventlog.Options{})
	w.Receive(stuck, "a") // and no answer
	_, messages := w.Subscribe(eventlog.Options{})
	w.Receive(messages, "a").Ack()
	w.Receive(messages, "b").Ack()
	w.WaitForOffset(2)
}

func movedOffset(w *World) {
	w.Publish("a", "b", "c")
	_, messages := w.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	w.Receive(messages, "a").Ack()
	msg := w.Receive(messages, "b")
	w.exec(w.ctx, "DELETE FROM consumer_offsets") // as when the group is restarted at zero
	w.Superseded(msg)
	msg.Ack()
	w.Receive(messages, "a")
}

// twoProcesses makes two logs on one database that know nothing of each other.
func twoProcesses(one *World) {
	two := AnotherWorld(one.ctx, one.T, one.Another())
	defer two.Close()
	two.patience = one.patience
	one.Publish("a", "b")
	_, ones := one.Subscribe(eventlog.Options{})
	_, twos := two.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	first, second := one.Receive(ones, "a"), two.Receive(twos, "a")
	one.Affect(first)
	first.Ack()
	one.Receive(ones, "b")
	two.Superseded(second)
	second.Nack()
	two.Receive(twos, "b")
	if got := one.Effects(); got != 1 {
		one.Errorf("%d effects of one message", got)
	}
}

func causeLogged(w *World) {
	said := w.listen()
	w.Publish("a")
	_, messages := w.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	msg := w.Receive(messages, "a")
	_, _ = w.log.InTransaction(w.failing())(msg)
	msg.Nack()
	w.Receive(messages, "a") // once the failure is logged
	for _, part := range []string{"message not handled", "position=1", errHandler.Error()} {
		if !strings.Contains(said.String(), part) {
			w.Errorf("the log does not say %q: %s", part, said)
		}
	}
}

// anothersTurn makes a handler meet that another process has kept its message meanwhile, which is nothing that an operator need know.
func anothersTurn(one *World) {
	two := AnotherWorld(one.ctx, one.T, one.Another())
	defer two.Close()
	two.patience = one.patience
	said := two.listen()
	one.Publish("a", "b")
	_, ones := one.Subscribe(eventlog.Options{})
	_, twos := two.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	first, second := one.Receive(ones, "a"), two.Receive(twos, "a")
	first.Ack()
	one.Receive(ones, "b")
	_, err := two.log.InTransaction(func(msg *message.Message) ([]*message.Message, error) { return nil, two.tryEffect(msg.Context(), msg) })(second)
	if !errors.Is(err, eventlog.ErrSuperseded) || strings.Contains(err.Error(), "division") {
		two.Errorf("the handler got %v", err)
	}
	second.Nack()
	two.Receive(twos, "b")
	if said.Len() > 0 {
		two.Errorf("it was logged: %s", said)
	}
}

// listen keeps what those log that subscribe from now on. It is read while their reader waits for an answer.
func (w *World) listen() *strings.Builder {
	said := &strings.Builder{}
	w.logger = slog.New(slog.NewTextHandler(said, nil))
	return said
}
