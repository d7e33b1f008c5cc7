package eventlogtest

import (
	"context"
	"errors"
	"strconv"
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
	{"groups/independent", independentGroups},
	{"groups/a moved offset is respected", movedOffset},
	{"groups/two processes keep a message once", twoProcesses},
}

var errHandler = errors.New("the handler failed")

// failing writes an effect and fails.
func (f *World) failing() message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		f.effect(msg.Context(), msg)
		return nil, errHandler
	}
}

// toPoison puts the message on another topic, in the message's transaction.
func (f *World) toPoison(msg *message.Message) ([]*message.Message, error) {
	poison := msg.CopyWithContext()
	poison.Metadata.Set("reason", "because")
	return nil, f.log.Publisher().Publish("poison", poison)
}

func keepsWhatTheHandlerWrote(f *World) {
	f.Publish("a")
	_, messages := f.Subscribe(eventlog.Options{})
	msg := f.Receive(messages, "a")
	_, err := f.log.InTransaction(func(msg *message.Message) ([]*message.Message, error) {
		f.effect(msg.Context(), msg)
		return nil, nil
	})(msg)
	if err != nil {
		f.Fatal(err)
	}
	f.nothingKept()
	msg.Ack()
	f.WaitForOffset(1)
	if got := f.Effects(); got != 1 {
		f.Errorf("%d effects, want 1", got)
	}
}

func settledAnew(f *World) {
	f.Publish("a", "b")
	_, messages := f.Subscribe(eventlog.Options{})
	msg := f.Receive(messages, "a")
	if _, err := f.log.InTransaction(f.failing())(msg); !errors.Is(err, errHandler) {
		f.Fatalf("got %v, want the handler's error", err)
	}
	f.exec(f.ctx, "DELETE FROM effects WHERE name = 'nothing is locked'")
	if _, err := f.log.InTransaction(f.toPoison)(msg); err != nil {
		f.Fatal(err)
	}
	msg.Ack()
	f.Receive(messages, "b")
	if effects, offset := f.Effects(), f.Offset(); effects != 0 || offset != 1 {
		f.Errorf("kept %d effects and offset %d, want 0 and 1", effects, offset)
	}
	if n := f.count("SELECT count(*) FROM records WHERE topic = 'poison'"); n != 1 {
		f.Errorf("%d messages on the poison topic, want 1", n)
	}
}

func commitTogether(f *World) {
	f.Publish("a", "b")
	_, messages := f.Subscribe(eventlog.Options{})
	msg := f.Receive(messages, "a")
	f.Affect(msg)
	f.nothingKept()
	msg.Ack()
	f.Receive(messages, "b") // comes only after the commit
	if effects, offset := f.Effects(), f.Offset(); effects != 1 || offset != 1 {
		f.Errorf("kept %d effects and offset %d, want 1 and 1", effects, offset)
	}
}

func closeInTheMiddle(f *World) {
	f.Publish("a")
	s, messages := f.Subscribe(eventlog.Options{})
	msg := f.Receive(messages, "a")
	ctx := f.Affect(msg)
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	f.nothingKept()
	if msg.Context().Err() == nil {
		f.Error("the handler's context outlives the subscriber")
	}
	// A handler that does not care for its context cannot write any more, not even into somebody else's transaction.
	commit, err := f.Begin(f.ctx)
	if err != nil {
		f.Fatal(err)
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.patience)
	defer cancel()
	if err := f.Exec(late, "INSERT INTO effects (name) VALUES ('late')"); !errors.Is(err, f.Ended) {
		f.Errorf("a late write gave %v, want %v", err, f.Ended)
	}
	if err := commit(); err != nil {
		f.Fatal(err)
	}
	msg.Ack() // too late
	f.nothingKept()

	_, messages = f.Subscribe(eventlog.Options{})
	f.Receive(messages, "a")
}

func nackLeavesNothing(f *World) {
	f.Publish("a", "b")
	_, messages := f.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	for attempt := 1; attempt <= 5; attempt++ {
		msg := f.Receive(messages, "a")
		f.nothingKept()
		f.Affect(msg)
		if attempt < 5 {
			msg.Nack()
		} else {
			msg.Ack()
		}
	}
	f.Receive(messages, "b")
	if effects := f.Effects(); effects != 1 {
		f.Errorf("%d effects of one message", effects)
	}
}

func deadlineTakesBack(f *World) {
	f.Publish("a")
	_, messages := f.Subscribe(eventlog.Options{AckDeadline: 200 * time.Millisecond, MaxPause: time.Millisecond})
	late := f.Receive(messages, "a")
	f.Affect(late)
	msg := f.Receive(messages, "a")
	f.nothingKept()
	if late.Context().Err() == nil {
		f.Error("the context of a message that was taken back is alive")
	}
	if _, err := eventlog.Join(context.WithoutCancel(late.Context())); !errors.Is(err, eventlog.ErrOver) {
		f.Errorf("joining late gave %v, want %v", err, eventlog.ErrOver)
	}
	late.Ack()
	msg.Ack()
	f.WaitForOffset(1)
}

func neverBeyond(f *World) {
	for i := range 30 {
		f.Publish(strconv.Itoa(i))
	}
	_, messages := f.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	for i := range 30 {
		for range i % 3 { // refused so often before
			f.Receive(messages, strconv.Itoa(i)).Nack()
		}
		msg := f.Receive(messages, strconv.Itoa(i))
		if got := f.Offset(); got != int64(i) {
			f.Fatalf("offset is %d when %d messages are acknowledged", got, i)
		}
		msg.Ack()
	}
}

func independentGroups(f *World) {
	f.Publish("a", "b")
	_, stuck := f.subscribe("another", eventlog.Options{})
	f.Receive(stuck, "a") // and no answer
	_, messages := f.Subscribe(eventlog.Options{})
	f.Receive(messages, "a").Ack()
	f.Receive(messages, "b").Ack()
	f.WaitForOffset(2)
}

func movedOffset(f *World) {
	f.Publish("a", "b", "c")
	_, messages := f.Subscribe(eventlog.Options{MaxPause: time.Millisecond})
	f.Receive(messages, "a").Ack()
	msg := f.Receive(messages, "b")
	f.exec(f.ctx, "DELETE FROM consumer_offsets") // as who starts the group at zero
	if _, err := eventlog.Join(msg.Context()); !errors.Is(err, eventlog.ErrSuperseded) {
		f.Errorf("join gave %v, want %v", err, eventlog.ErrSuperseded)
	}
	msg.Ack()
	f.Receive(messages, "a")
}

// twoProcesses has two logs of one database, which know nothing of each other.
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
	if _, err := eventlog.Join(second.Context()); !errors.Is(err, eventlog.ErrSuperseded) {
		one.Errorf("the second process's join gave %v, want %v", err, eventlog.ErrSuperseded)
	}
	second.Nack()
	two.Receive(twos, "b")
	if got := one.Effects(); got != 1 {
		one.Errorf("%d effects of one message", got)
	}
}
