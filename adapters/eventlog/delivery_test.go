package eventlog_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/eventlog"
)

var errHandler = errors.New("the handler failed")

// failing writes an effect and fails.
func (f *fixture) failing() message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		f.exec(msg.Context(), "INSERT INTO effects (name) VALUES (?)", msg.UUID)
		return nil, errHandler
	}
}

// toPoison puts the message on another topic, in the message's transaction.
func (f *fixture) toPoison(msg *message.Message) ([]*message.Message, error) {
	poison := msg.CopyWithContext()
	poison.Metadata.Set("reason", "because")
	return nil, f.log.Publisher().Publish("poison", poison)
}

func TestInTransactionKeepsWhatTheHandlerWrote(t *testing.T) {
	f := newFixture(t)
	f.publish("a")
	_, messages := f.subscribe(group, eventlog.Options{})
	msg := f.receive(messages, "a")
	_, err := eventlog.InTransaction(func(msg *message.Message) ([]*message.Message, error) {
		f.exec(msg.Context(), "INSERT INTO effects (name) VALUES (?)", msg.UUID)
		return nil, nil
	})(msg)
	if err != nil {
		t.Fatal(err)
	}
	f.nothingKept()
	msg.Ack()
	f.waitForOffset(1)
	if got := f.effects(); got != 1 {
		t.Errorf("%d effects, want 1", got)
	}
}

func TestAFailedHandlerCanBeSettledInANewTransaction(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b")
	_, messages := f.subscribe(group, eventlog.Options{})
	msg := f.receive(messages, "a")
	if _, err := eventlog.InTransaction(f.failing())(msg); !errors.Is(err, errHandler) {
		t.Fatalf("got %v, want the handler's error", err)
	}
	f.exec(t.Context(), "DELETE FROM effects WHERE name = 'the writer is free'")
	if _, err := eventlog.InTransaction(f.toPoison)(msg); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	f.receive(messages, "b")
	if effects, offset := f.effects(), f.offset(); effects != 0 || offset != 1 {
		t.Errorf("kept %d effects and offset %d, want 0 and 1", effects, offset)
	}
	if n := query(t, f.db, "SELECT count(*) FROM records WHERE topic = 'poison'"); n != 1 {
		t.Errorf("%d messages on the poison topic, want 1", n)
	}
}

func TestABatchIsKeptTogether(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b", "c", "d")
	_, messages := f.subscribe(group, eventlog.Options{Batch: 3, MaxPause: time.Millisecond})
	for _, name := range []string{"a", "b"} {
		msg := f.receive(messages, name)
		f.affect(msg)
		msg.Ack()
	}
	msg := f.receive(messages, "c")
	if _, err := eventlog.InTransaction(f.failing())(msg); !errors.Is(err, errHandler) {
		t.Fatalf("got %v, want the handler's error", err)
	}
	// The effects of a and b are gone with it: the offset must not pass them now.
	if _, err := eventlog.InTransaction(f.toPoison)(msg); !errors.Is(err, eventlog.ErrOver) {
		t.Fatalf("settling after the batch was undone gave %v, want %v", err, eventlog.ErrOver)
	}
	msg.Ack()
	for i, name := range []string{"a", "b", "c", "d"} {
		msg := f.receive(messages, name)
		if effects, offset := f.effects(), f.offset(); effects != int64(i) || offset != int64(i) {
			t.Errorf("before %s there are %d effects and offset %d, want %d: each comes alone now", name, effects, offset, i)
		}
		f.affect(msg)
		msg.Ack()
	}
	f.waitForOffset(4)
}

// The rest of a batch comes with the message that takes it, and is kept or undone with it.
func TestTheRestOfABatch(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b", "c")
	_, messages := f.subscribe(group, eventlog.Options{Batch: 3, MaxPause: time.Millisecond})
	msg := f.receive(messages, "a")
	if got := uuids(eventlog.Rest(msg.Context())); !slices.Equal(got, []string{"b", "c"}) {
		t.Fatalf("behind a came %v", got)
	}
	if got := uuids(eventlog.Rest(msg.Context())); len(got) != 0 {
		t.Errorf("then %v once more", got)
	}
	if _, err := eventlog.InTransaction(f.failing())(msg); !errors.Is(err, errHandler) {
		t.Fatalf("got %v, want the handler's error", err)
	}
	// Nobody knows which of them failed: none is settled.
	if _, err := eventlog.InTransaction(f.toPoison)(msg); !errors.Is(err, eventlog.ErrOver) {
		t.Fatalf("settling after the batch was undone gave %v, want %v", err, eventlog.ErrOver)
	}
	msg.Nack()
	for i, name := range []string{"a", "b", "c"} {
		msg := f.receive(messages, name)
		if rest := uuids(eventlog.Rest(msg.Context())); len(rest) != 0 {
			t.Errorf("behind %s came %v, which is to come alone now", name, rest)
		}
		if effects, offset := f.effects(), f.offset(); effects != int64(i) || offset != int64(i) {
			t.Errorf("before %s there are %d effects and offset %d, want %d", name, effects, offset, i)
		}
		f.affect(msg)
		msg.Ack()
	}
	f.waitForOffset(3)
	f.publish("d", "e", "f", "g")
	for taken := 0; taken < 4; { // they may be read before all are there
		msg := <-messages
		rest := eventlog.Rest(msg.Context())
		f.affect(msg)
		msg.Ack()
		taken += 1 + len(rest)
	}
	f.waitForOffset(7)
	if got := eventlog.Rest(t.Context()); got != nil {
		t.Errorf("behind no message came %v", uuids(got))
	}
}

// A batch ends with the message that comes to its bytes.
func TestABatchHasItsBytes(t *testing.T) {
	f := newFixture(t)
	large := make([]message.Payload, 4)
	sent := make([]*message.Message, 4)
	for i := range large {
		large[i] = make([]byte, 4000)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(large[i]) // what cannot be packed
		sent[i] = message.NewMessage(string(rune('a'+i)), large[i])
	}
	if err := f.log.Publisher().Publish(topic, sent...); err != nil {
		t.Fatal(err)
	}
	_, messages := f.subscribe(group, eventlog.Options{Batch: 10, Bytes: 6000})
	for _, batch := range [][]string{{"a", "b"}, {"c", "d"}} {
		msg := f.receive(messages, batch[0])
		if rest := uuids(eventlog.Rest(msg.Context())); !slices.Equal(rest, batch[1:]) {
			t.Errorf("behind %s came %v, want %v", batch[0], rest, batch[1:])
		}
		msg.Ack()
	}
	f.waitForOffset(4)
}

func uuids(messages []*message.Message) (list []string) {
	for _, msg := range messages {
		list = append(list, msg.UUID)
	}
	return list
}

func TestNobodyKeepsTheWriterByNotReceiving(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b")
	_, messages := f.subscribe(group, eventlog.Options{Batch: 2, AckDeadline: 200 * time.Millisecond})
	msg := f.receive(messages, "a")
	f.affect(msg)
	msg.Ack()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f.exec(ctx, "DELETE FROM effects") // waits until the rest of the batch is given up
	f.nothingKept()
}

func TestContextsFromElsewhere(t *testing.T) {
	if _, err := eventlog.Join(t.Context()); !errors.Is(err, eventlog.ErrNoDelivery) {
		t.Errorf("join gave %v, want %v", err, eventlog.ErrNoDelivery)
	}
	if got := eventlog.Attempt(t.Context()); got != 0 {
		t.Errorf("attempt is %d, want 0", got)
	}
	handler := eventlog.InTransaction(func(*message.Message) ([]*message.Message, error) { return nil, nil })
	if _, err := handler(message.NewMessage("", nil)); !errors.Is(err, eventlog.ErrNoDelivery) {
		t.Errorf("the middleware gave %v, want %v", err, eventlog.ErrNoDelivery)
	}
}

func TestPublishedMessagesKeepWhatTheyCarry(t *testing.T) {
	f := newFixture(t)
	sent := message.NewMessage("uuid-1", []byte("data"))
	sent.Metadata = message.Metadata{
		"type": "ping.v1", "tenant_id": "acme", "stream": "s", "traceparent": "00-1",
		"position": "99", "version": "7", // where it was read before it was sent on
	}
	if err := f.log.Publisher().Publish(topic, sent, message.NewMessage("", nil)); err != nil {
		t.Fatal(err)
	}
	_, messages := f.subscribe(group, eventlog.Options{})
	got := f.receive(messages, "uuid-1")
	want := message.Metadata{
		"type": "ping.v1", "tenant_id": "acme", "stream": "s", "traceparent": "00-1", "position": "1", "version": "0",
	}
	if !maps.Equal(got.Metadata, want) || string(got.Payload) != "data" {
		t.Errorf("received %v %q, want %v", got.Metadata, got.Payload, want)
	}
	got.Ack()
	got = f.receive(messages, "")
	if got.Metadata["type"] != eventlog.MessageType || len(got.Payload) != 0 {
		t.Errorf("received %v %q, want an empty message", got.Metadata, got.Payload)
	}
}

func TestARecordIsAMessage(t *testing.T) {
	f := newFixture(t)
	f.exec(t.Context(), `INSERT INTO records (topic, tenant_id, stream, version, type, data, metadata, recorded_at) VALUES
('topic', 'acme', 'delivery/dlv_1', 3, 'delivery.scheduled.v1', x'41', '{"actor":"key_1"}', 0),
('topic', 'acme', '', 0, 'x', x'42', 'no JSON', 0)`)
	_, messages := f.subscribe(group, eventlog.Options{})
	msg := f.receive(messages, "1")
	want := message.Metadata{
		"type": "delivery.scheduled.v1", "tenant_id": "acme", "stream": "delivery/dlv_1",
		"version": "3", "position": "1", "actor": "key_1",
	}
	if !maps.Equal(msg.Metadata, want) || string(msg.Payload) != "A" {
		t.Errorf("received %v %q, want %v", msg.Metadata, msg.Payload, want)
	}
	msg.Ack()
	if msg = f.receive(messages, "2"); msg.Metadata["position"] != "2" || string(msg.Payload) != "B" {
		t.Errorf("received %v %q although its metadata is unreadable", msg.Metadata, msg.Payload)
	}
}

// A record that is damaged is tried for a while, and then handed over as it is stored: nothing waits behind it for ever.
func TestADamagedRecordHoldsNobodyUp(t *testing.T) {
	f := newFixture(t)
	f.publish("a")
	f.exec(t.Context(), `INSERT INTO records (topic, tenant_id, stream, version, type, data, metadata, recorded_at) VALUES ('topic', '', '', 0, 'events.accepted.v1', x'02ff', '', 0)`)
	f.publish("c")
	_, messages := f.subscribe(group, eventlog.Options{Batch: 10, MaxPause: time.Millisecond})
	f.receive(messages, "a").Ack()
	msg := f.receive(messages, "2")
	if string(msg.Payload) != "\x02\xff" || msg.Metadata["type"] != "events.accepted.v1" || msg.Metadata["position"] != "2" {
		t.Errorf("received %v %q, want what is stored", msg.Metadata, msg.Payload)
	}
	msg.Ack()
	f.receive(messages, "c").Ack()
}

func TestPublishIsAllOrNothing(t *testing.T) {
	f := newFixture(t)
	bad := message.NewMessage("b", nil)
	bad.Metadata.Set("name", "\xff")
	publisher := f.log.Publisher()
	if err := publisher.Publish(topic, message.NewMessage("a", nil), bad); err == nil {
		t.Error("metadata that is not UTF-8 was accepted")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := publisher.Publish(topic, message.NewMessageWithContext(cancelled, "a", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("publishing under a cancelled context gave %v", err)
	}
	if err := publisher.Close(); err != nil {
		t.Fatal(err)
	}
	if err := publisher.Publish(topic, message.NewMessage("a", nil)); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("publishing after closing gave %v, want %v", err, eventlog.ErrClosed)
	}
	if n := query(t, f.db, "SELECT count(*) FROM records"); n != 0 {
		t.Errorf("%d records, want none", n)
	}
}

func TestSubscribeAfterClose(t *testing.T) {
	f := newFixture(t)
	s, messages := f.subscribe(group, eventlog.Options{})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, open := <-messages; open {
		t.Error("the channel is open after closing")
	}
	if _, err := s.Subscribe(t.Context(), topic); !errors.Is(err, eventlog.ErrClosed) {
		t.Errorf("subscribing after closing gave %v, want %v", err, eventlog.ErrClosed)
	}
}
