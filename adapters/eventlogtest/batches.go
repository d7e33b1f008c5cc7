package eventlogtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/eventlog"
)

var batchChecks = []Check{
	{"batches/kept together", keptTogether},
	{"batches/the rest comes with who takes it", restOfABatch},
	{"batches/end with their bytes", hasItsBytes},
	{"batches/nobody keeps a transaction open by not receiving", nothingHeldByNotReceiving},
}

func keptTogether(f *World) {
	f.Publish("a", "b", "c", "d")
	_, messages := f.Subscribe(eventlog.Options{Batch: 3, MaxPause: time.Millisecond})
	for _, name := range []string{"a", "b"} {
		msg := f.Receive(messages, name)
		f.Affect(msg)
		msg.Ack()
	}
	msg := f.Receive(messages, "c")
	if _, err := f.log.InTransaction(f.failing())(msg); !errors.Is(err, errHandler) {
		f.Fatalf("got %v, want the handler's error", err)
	}
	// The effects of a and b are gone with it: the offset must not pass them now.
	if _, err := f.log.InTransaction(f.toPoison)(msg); !errors.Is(err, eventlog.ErrOver) {
		f.Fatalf("settling after the batch was undone gave %v, want %v", err, eventlog.ErrOver)
	}
	msg.Ack()
	for i, name := range []string{"a", "b", "c", "d"} {
		msg := f.Receive(messages, name)
		if effects, offset := f.Effects(), f.Offset(); effects != int64(i) || offset != int64(i) {
			f.Errorf("before %s there are %d effects and offset %d, want %d: each comes alone now", name, effects, offset, i)
		}
		f.Affect(msg)
		msg.Ack()
	}
	f.WaitForOffset(4)
}

// The rest of a batch comes with the message that takes it, and is kept or undone with it.
func restOfABatch(f *World) {
	f.Publish("a", "b", "c")
	_, messages := f.Subscribe(eventlog.Options{Batch: 3, MaxPause: time.Millisecond})
	msg := f.Receive(messages, "a")
	if got := uuids(f.log.Rest(msg.Context())); !slices.Equal(got, []string{"b", "c"}) {
		f.Fatalf("behind a came %v", got)
	}
	if got := uuids(f.log.Rest(msg.Context())); len(got) != 0 {
		f.Errorf("then %v once more", got)
	}
	if _, err := f.log.InTransaction(f.failing())(msg); !errors.Is(err, errHandler) {
		f.Fatalf("got %v, want the handler's error", err)
	}
	// Nobody knows which of them failed: none is settled.
	if _, err := f.log.InTransaction(f.toPoison)(msg); !errors.Is(err, eventlog.ErrOver) {
		f.Fatalf("settling after the batch was undone gave %v, want %v", err, eventlog.ErrOver)
	}
	msg.Nack()
	for i, name := range []string{"a", "b", "c"} {
		msg := f.Receive(messages, name)
		if rest := uuids(f.log.Rest(msg.Context())); len(rest) != 0 {
			f.Errorf("behind %s came %v, which is to come alone now", name, rest)
		}
		if effects, offset := f.Effects(), f.Offset(); effects != int64(i) || offset != int64(i) {
			f.Errorf("before %s there are %d effects and offset %d, want %d", name, effects, offset, i)
		}
		f.Affect(msg)
		msg.Ack()
	}
	f.WaitForOffset(3)
	f.Publish("d", "e", "f", "g")
	for taken := 0; taken < 4; { // they may be read before all are there
		msg := <-messages
		rest := f.log.Rest(msg.Context())
		f.Affect(msg)
		msg.Ack()
		taken += 1 + len(rest)
	}
	f.WaitForOffset(7)
}

// A batch ends with the message that comes to its bytes.
func hasItsBytes(f *World) {
	large := make([]message.Payload, 4)
	sent := make([]*message.Message, 4)
	for i := range large {
		large[i] = make([]byte, 4000)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(large[i]) // what cannot be packed
		sent[i] = message.NewMessage(string(rune('a'+i)), large[i])
	}
	if err := f.log.Publisher().Publish(topic, sent...); err != nil {
		f.Fatal(err)
	}
	_, messages := f.Subscribe(eventlog.Options{Batch: 10, Bytes: 6000})
	for _, batch := range [][]string{{"a", "b"}, {"c", "d"}} {
		msg := f.Receive(messages, batch[0])
		if rest := uuids(f.log.Rest(msg.Context())); !slices.Equal(rest, batch[1:]) {
			f.Errorf("behind %s came %v, want %v", batch[0], rest, batch[1:])
		}
		msg.Ack()
	}
	f.WaitForOffset(4)
}

func uuids(messages []*message.Message) (list []string) {
	for _, msg := range messages {
		list = append(list, msg.UUID)
	}
	return list
}

func nothingHeldByNotReceiving(f *World) {
	f.Publish("a", "b")
	_, messages := f.Subscribe(eventlog.Options{Batch: 2, AckDeadline: 200 * time.Millisecond})
	msg := f.Receive(messages, "a")
	f.Affect(msg)
	msg.Ack()
	ctx, cancel := context.WithTimeout(f.ctx, f.patience)
	defer cancel()
	f.exec(ctx, "DELETE FROM effects") // waits until the rest of the batch is given up
	f.nothingKept()
}
