package eventlogtest

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/eventlog"
)

var messageChecks = []Check{
	{"messages/keep what they carry", keepsWhatMessagesCarry},
	{"messages/a record is one", recordIsAMessage},
	{"messages/one that is damaged holds nobody up", damageHoldsNobodyUp},
	{"messages/one that is damaged is an error at first", damageIsAnError},
	{"messages/published all or none", publishesAllOrNothing},
	{"messages/none behind closing", refusesBehindClose},
	{"messages/contexts from elsewhere", contextsFromElsewhere},
	{"messages/a commit wakes the reader", commitWakes},
}

func keepsWhatMessagesCarry(w *World) {
	sent := message.NewMessage("uuid-1", []byte("data"))
	sent.Metadata = message.Metadata{
		"type": "ping.v1", "tenant_id": "acme", "stream": "s", "traceparent": "00-1",
		"position": "99", "version": "7", // where it was read before it was sent on
	}
	if err := w.log.Publisher().Publish(topic, sent, message.NewMessage("", nil)); err != nil {
		w.Fatal(err)
	}
	_, messages := w.Subscribe(eventlog.Options{})
	got := w.Receive(messages, "uuid-1")
	want := message.Metadata{
		"type": "ping.v1", "tenant_id": "acme", "stream": "s", "traceparent": "00-1", "position": "1", "version": "0",
	}
	if !maps.Equal(got.Metadata, want) || string(got.Payload) != "data" {
		w.Errorf("received %v %q, want %v", got.Metadata, got.Payload, want)
	}
	got.Ack()
	got = w.Receive(messages, "")
	if got.Metadata["type"] != eventlog.MessageType || len(got.Payload) != 0 {
		w.Errorf("received %v %q, want an empty message", got.Metadata, got.Payload)
	}
}

func recordIsAMessage(w *World) {
	w.insert(eventlog.Record{TenantID: "acme", Stream: "delivery/dlv_1", Version: 3, Type: "delivery.scheduled.v1", Data: []byte("A"), Metadata: []byte(`{"actor":"key_1"}`)})
	w.insert(eventlog.Record{TenantID: "acme", Type: "x", Data: []byte("B"), Metadata: []byte("no JSON")})
	_, messages := w.Subscribe(eventlog.Options{})
	msg := w.Receive(messages, "1")
	want := message.Metadata{
		"type": "delivery.scheduled.v1", "tenant_id": "acme", "stream": "delivery/dlv_1",
		"version": "3", "position": "1", "actor": "key_1",
	}
	if !maps.Equal(msg.Metadata, want) || string(msg.Payload) != "A" {
		w.Errorf("received %v %q, want %v", msg.Metadata, msg.Payload, want)
	}
	msg.Ack()
	if msg = w.Receive(messages, "2"); msg.Metadata["position"] != "2" || string(msg.Payload) != "B" {
		w.Errorf("received %v %q although its metadata is unreadable", msg.Metadata, msg.Payload)
	}
}

// A damaged record is tried for a while and then handed over in its stored form, so that nothing waits behind it for ever.
func damageHoldsNobodyUp(w *World) {
	w.Publish("a")
	w.insert(eventlog.Record{Type: "events.accepted.v1", Data: []byte{2, 0xff}})
	w.Publish("c")
	_, messages := w.Subscribe(eventlog.Options{Batch: 10, MaxPause: time.Millisecond})
	w.Receive(messages, "a").Ack()
	msg := w.Receive(messages, "2")
	if string(msg.Payload) != "\x02\xff" || msg.Metadata["type"] != "events.accepted.v1" || msg.Metadata["position"] != "2" {
		w.Errorf("received %v %q, want what is stored", msg.Metadata, msg.Payload)
	}
	msg.Ack()
	w.Receive(messages, "c").Ack()
}

// damageIsAnError is what a reader goes by: a process of a newer version may be able to read it.
func damageIsAnError(w *World) {
	w.insert(eventlog.Record{Type: "events.accepted.v1", Data: []byte{2, 0xff}})
	source := w.Source(eventlog.GroupTopic{Group: group, Topic: topic}, eventlog.Options{})
	look := eventlog.Look{Limit: 10, Bytes: 1 << 20}
	if found, err := source.Read(w.ctx, look); !errors.Is(err, compact.ErrUnreadable) || len(found.Records) > 0 {
		w.Errorf("got %+v, %v", found.Records, err)
	}
	look.AsStored = true
	if found, err := source.Read(w.ctx, look); err != nil || len(found.Records) != 1 || string(found.Records[0].Data) != "\x02\xff" {
		w.Errorf("as it is stored: got %+v, %v", found.Records, err)
	}
}

func publishesAllOrNothing(w *World) {
	bad := message.NewMessage("b", nil)
	bad.Metadata.Set("name", "\xff")
	publisher := w.log.Publisher()
	if err := publisher.Publish(topic, message.NewMessage("a", nil), bad); err == nil {
		w.Error("metadata that is not UTF-8 was accepted")
	}
	cancelled, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := publisher.Publish(topic, message.NewMessageWithContext(cancelled, "a", nil)); !errors.Is(err, context.Canceled) {
		w.Errorf("publishing under a cancelled context gave %v", err)
	}
	if err := publisher.Close(); err != nil {
		w.Fatal(err)
	}
	if err := publisher.Publish(topic, message.NewMessage("a", nil)); !errors.Is(err, eventlog.ErrClosed) {
		w.Errorf("publishing after closing gave %v, want %v", err, eventlog.ErrClosed)
	}
	if n := w.count("SELECT count(*) FROM records"); n != 0 {
		w.Errorf("%d records, want none", n)
	}
}

func refusesBehindClose(w *World) {
	s, messages := w.Subscribe(eventlog.Options{})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		w.Fatal(err)
	}
	if _, open := <-messages; open {
		w.Error("the channel is open after closing")
	}
	if _, err := s.Subscribe(w.ctx, topic); !errors.Is(err, eventlog.ErrClosed) {
		w.Errorf("subscribing after closing gave %v, want %v", err, eventlog.ErrClosed)
	}
}

func contextsFromElsewhere(w *World) {
	if _, err := eventlog.Join(w.ctx); !errors.Is(err, eventlog.ErrNoBatch) {
		w.Errorf("join gave %v, want %v", err, eventlog.ErrNoBatch)
	}
	if got := w.log.Rest(w.ctx); got != nil {
		w.Errorf("behind no message came %v", uuids(got))
	}
	handler := w.log.InTransaction(func(*message.Message) ([]*message.Message, error) { return nil, nil })
	if _, err := handler(message.NewMessage("", nil)); !errors.Is(err, eventlog.ErrNoBatch) {
		w.Errorf("the middleware gave %v, want %v", err, eventlog.ErrNoBatch)
	}
}

func commitWakes(w *World) {
	_, messages := w.Subscribe(eventlog.Options{Recheck: time.Hour})
	for i := range 20 {
		name := strconv.Itoa(i)
		w.Publish(name)
		w.Receive(messages, name).Ack()
		w.WaitForOffset(int64(i + 1)) // then it is idle, or about to be
	}
}
