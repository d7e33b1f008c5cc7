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
	{"batches/what is read no further is let go", letsGoOfTheRest},
	{"batches/nobody keeps a transaction open by not receiving", nothingHeldByNotReceiving},
}

func keptTogether(w *World) {
	w.Publish("a", "b", "c", "d")
	_, messages := w.Subscribe(eventlog.Options{Batch: 3, MaxPause: time.Millisecond})
	for _, name := range []string{"a", "b"} {
		msg := w.Receive(messages, name)
		w.Affect(msg)
		msg.Ack()
	}
	msg := w.Receive(messages, "c")
	if _, err := w.log.InTransaction(w.failing())(msg); !errors.Is(err, errHandler) {
		w.Fatalf("got %v, want the handler's error", err)
	}
	// The effects of a and b are rolled back with it, so the offset must not pass them.
	if _, err := w.log.InTransaction(w.toPoison)(msg); !errors.Is(err, eventlog.ErrOver) {
		w.Fatalf("settling after the batch was undone gave %v, want %v", err, eventlog.ErrOver)
	}
	msg.Ack()
	for i, name := range []string{"a", "b", "c", "d"} {
		msg := w.Receive(messages, name)
		if effects, offset := w.Effects(), w.Offset(); effects != int64(i) || offset != int64(i) {
			w.Errorf("before %s there are %d effects and offset %d, want %d: each comes alone now", name, effects, offset, i)
		}
		w.Affect(msg)
		msg.Ack()
	}
	w.WaitForOffset(4)
}

// The rest of a batch comes with the message that takes it, and is committed or undone with that message.
func restOfABatch(w *World) {
	w.Publish("a", "b", "c")
	_, messages := w.Subscribe(eventlog.Options{Batch: 3, MaxPause: time.Millisecond})
	msg := w.Receive(messages, "a")
	if got := uuids(w.log.Rest(msg.Context())); !slices.Equal(got, []string{"b", "c"}) {
		w.Fatalf("behind a came %v", got)
	}
	if got := uuids(w.log.Rest(msg.Context())); len(got) != 0 {
		w.Errorf("then %v once more", got)
	}
	if _, err := w.log.InTransaction(w.failing())(msg); !errors.Is(err, errHandler) {
		w.Fatalf("got %v, want the handler's error", err)
	}
	// Nobody knows which of them failed: none is settled.
	if _, err := w.log.InTransaction(w.toPoison)(msg); !errors.Is(err, eventlog.ErrOver) {
		w.Fatalf("settling after the batch was undone gave %v, want %v", err, eventlog.ErrOver)
	}
	msg.Nack()
	for i, name := range []string{"a", "b", "c"} {
		msg := w.Receive(messages, name)
		if rest := uuids(w.log.Rest(msg.Context())); len(rest) != 0 {
			w.Errorf("behind %s came %v, which is to come alone now", name, rest)
		}
		if effects, offset := w.Effects(), w.Offset(); effects != int64(i) || offset != int64(i) {
			w.Errorf("before %s there are %d effects and offset %d, want %d", name, effects, offset, i)
		}
		w.Affect(msg)
		msg.Ack()
	}
	w.WaitForOffset(3)
	w.Publish("d", "e", "f", "g")
	for taken := 0; taken < 4; { // reading may begin before all of them are there
		msg := <-messages
		rest := w.log.Rest(msg.Context())
		w.Affect(msg)
		msg.Ack()
		taken += 1 + len(rest)
	}
	w.WaitForOffset(7)
}

// A batch ends with the message that comes to its bytes.
func hasItsBytes(w *World) {
	large := make([]message.Payload, 4)
	sent := make([]*message.Message, 4)
	for i := range large {
		large[i] = make([]byte, 4000)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(large[i]) // random, so that it does not compress
		sent[i] = message.NewMessage(string(rune('a'+i)), large[i])
	}
	if err := w.log.Publisher().Publish(topic, sent...); err != nil {
		w.Fatal(err)
	}
	_, messages := w.Subscribe(eventlog.Options{Batch: 10, Bytes: 6000})
	for _, batch := range [][]string{{"a", "b"}, {"c", "d"}} {
		msg := w.Receive(messages, batch[0])
		if rest := uuids(w.log.Rest(msg.Context())); !slices.Equal(rest, batch[1:]) {
			w.Errorf("behind %s came %v, want %v", batch[0], rest, batch[1:])
		}
		msg.Ack()
	}
	w.WaitForOffset(4)
}

func uuids(messages []*message.Message) (list []string) {
	for _, msg := range messages {
		list = append(list, msg.UUID)
	}
	return list
}

func nothingHeldByNotReceiving(w *World) {
	w.Publish("a", "b")
	_, messages := w.Subscribe(eventlog.Options{Batch: 2, AckDeadline: time.Second})
	msg := w.AffectInTime(messages, "a")
	msg.Ack()
	ctx, cancel := context.WithTimeout(w.ctx, w.patience)
	defer cancel()
	w.exec(ctx, "DELETE FROM effects") // waits until the rest of the batch is given up
	w.nothingKept()
}

// letsGoOfTheRest reads more often than there are connections.
func letsGoOfTheRest(w *World) {
	for range 3 {
		w.insert(eventlog.Record{Type: "ping.v1", Data: []byte("data"), Metadata: []byte("{}")})
	}
	source := w.Source(eventlog.GroupTopic{Group: group, Topic: topic}, eventlog.Options{})
	ctx, cancel := context.WithTimeout(w.ctx, w.patience)
	defer cancel()
	for range 100 {
		if found, err := source.Read(ctx, eventlog.Look{Limit: 10, Bytes: 1}); err != nil || len(found.Records) != 1 {
			w.Fatalf("read %d records, %v", len(found.Records), err)
		}
	}
}
