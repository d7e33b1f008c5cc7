package eventlogtest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/eventlog"
)

var messageChecks = []Check{
	{"messages/keep what they carry", keepsWhatMessagesCarry},
	{"messages/a record is one", recordIsAMessage},
	{"messages/one that is damaged holds nobody up", damageHoldsNobodyUp},
	{"messages/published all or none", publishesAllOrNothing},
	{"messages/none behind closing", refusesBehindClose},
	{"messages/contexts from elsewhere", contextsFromElsewhere},
	{"messages/a commit wakes the reader", commitWakes},
}

func keepsWhatMessagesCarry(f *World) {
	sent := message.NewMessage("uuid-1", []byte("data"))
	sent.Metadata = message.Metadata{
		"type": "ping.v1", "tenant_id": "acme", "stream": "s", "traceparent": "00-1",
		"position": "99", "version": "7", // where it was read before it was sent on
	}
	if err := f.log.Publisher().Publish(topic, sent, message.NewMessage("", nil)); err != nil {
		f.Fatal(err)
	}
	_, messages := f.Subscribe(eventlog.Options{})
	got := f.Receive(messages, "uuid-1")
	want := message.Metadata{
		"type": "ping.v1", "tenant_id": "acme", "stream": "s", "traceparent": "00-1", "position": "1", "version": "0",
	}
	if !maps.Equal(got.Metadata, want) || string(got.Payload) != "data" {
		f.Errorf("received %v %q, want %v", got.Metadata, got.Payload, want)
	}
	got.Ack()
	got = f.Receive(messages, "")
	if got.Metadata["type"] != eventlog.MessageType || len(got.Payload) != 0 {
		f.Errorf("received %v %q, want an empty message", got.Metadata, got.Payload)
	}
}

func recordIsAMessage(f *World) {
	f.insert(eventlog.Record{TenantID: "acme", Stream: "delivery/dlv_1", Version: 3, Type: "delivery.scheduled.v1", Data: []byte("A"), Metadata: []byte(`{"actor":"key_1"}`)})
	f.insert(eventlog.Record{TenantID: "acme", Type: "x", Data: []byte("B"), Metadata: []byte("no JSON")})
	_, messages := f.Subscribe(eventlog.Options{})
	msg := f.Receive(messages, "1")
	want := message.Metadata{
		"type": "delivery.scheduled.v1", "tenant_id": "acme", "stream": "delivery/dlv_1",
		"version": "3", "position": "1", "actor": "key_1",
	}
	if !maps.Equal(msg.Metadata, want) || string(msg.Payload) != "A" {
		f.Errorf("received %v %q, want %v", msg.Metadata, msg.Payload, want)
	}
	msg.Ack()
	if msg = f.Receive(messages, "2"); msg.Metadata["position"] != "2" || string(msg.Payload) != "B" {
		f.Errorf("received %v %q although its metadata is unreadable", msg.Metadata, msg.Payload)
	}
}

// A record that is damaged is tried for a while, and then handed over as it is stored: nothing waits behind it for ever.
func damageHoldsNobodyUp(f *World) {
	f.Publish("a")
	f.insert(eventlog.Record{Type: "events.accepted.v1", Data: []byte{2, 0xff}})
	f.Publish("c")
	_, messages := f.Subscribe(eventlog.Options{Batch: 10, MaxPause: time.Millisecond})
	f.Receive(messages, "a").Ack()
	msg := f.Receive(messages, "2")
	if string(msg.Payload) != "\x02\xff" || msg.Metadata["type"] != "events.accepted.v1" || msg.Metadata["position"] != "2" {
		f.Errorf("received %v %q, want what is stored", msg.Metadata, msg.Payload)
	}
	msg.Ack()
	f.Receive(messages, "c").Ack()
}

func publishesAllOrNothing(f *World) {
	bad := message.NewMessage("b", nil)
	bad.Metadata.Set("name", "\xff")
	publisher := f.log.Publisher()
	if err := publisher.Publish(topic, message.NewMessage("a", nil), bad); err == nil {
		f.Error("metadata that is not UTF-8 was accepted")
	}
	cancelled, cancel := context.WithCancel(f.ctx)
	cancel()
	if err := publisher.Publish(topic, message.NewMessageWithContext(cancelled, "a", nil)); !errors.Is(err, context.Canceled) {
		f.Errorf("publishing under a cancelled context gave %v", err)
	}
	if err := publisher.Close(); err != nil {
		f.Fatal(err)
	}
	if err := publisher.Publish(topic, message.NewMessage("a", nil)); !errors.Is(err, eventlog.ErrClosed) {
		f.Errorf("publishing after closing gave %v, want %v", err, eventlog.ErrClosed)
	}
	if n := f.count("SELECT count(*) FROM records"); n != 0 {
		f.Errorf("%d records, want none", n)
	}
}

func refusesBehindClose(f *World) {
	s, messages := f.Subscribe(eventlog.Options{})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		f.Fatal(err)
	}
	if _, open := <-messages; open {
		f.Error("the channel is open after closing")
	}
	if _, err := s.Subscribe(f.ctx, topic); !errors.Is(err, eventlog.ErrClosed) {
		f.Errorf("subscribing after closing gave %v, want %v", err, eventlog.ErrClosed)
	}
}

func contextsFromElsewhere(f *World) {
	if _, err := eventlog.Join(f.ctx); !errors.Is(err, eventlog.ErrNoBatch) {
		f.Errorf("join gave %v, want %v", err, eventlog.ErrNoBatch)
	}
	if got := f.log.Rest(f.ctx); got != nil {
		f.Errorf("behind no message came %v", uuids(got))
	}
	handler := f.log.InTransaction(func(*message.Message) ([]*message.Message, error) { return nil, nil })
	if _, err := handler(message.NewMessage("", nil)); !errors.Is(err, eventlog.ErrNoBatch) {
		f.Errorf("the middleware gave %v, want %v", err, eventlog.ErrNoBatch)
	}
}

func commitWakes(f *World) {
	_, messages := f.Subscribe(eventlog.Options{Recheck: time.Hour})
	for i := range 20 {
		name := strconv.Itoa(i)
		f.Publish(name)
		f.Receive(messages, name).Ack()
		f.WaitForOffset(int64(i + 1)) // then it is idle, or about to be
	}
}
