package rest_test

import (
	"context"
	"strings"
	"testing"
)

// heavy is an event with a field that nobody reads, of 7 MiB.
var heavy = strings.Replace(oneEvent, `{`, `{"more":"`+strings.Repeat("x", 7<<20)+`",`, 1)

// TestLargeBodiesWaitForEachOther: sixteen senders of 8 MiB took a gigabyte and commits of 128 MiB, which PostgreSQL never came to the end of,
// and others' events were refused with them.
func TestLargeBodiesWaitForEachOther(t *testing.T) {
	h := newHarness(t)
	free := h.api.Occupy()
	h.call(h.admin, "POST", "/v1/events", oneEvent).expect(202)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.api.Shutdown(over) // which ends all waits
	h.call(h.admin, "POST", "/v1/events", heavy).expect(503).refused("unavailable")
	lines := strings.Repeat(oneEvent+"\n", 1000)
	h.call(h.admin, "POST", "/v1/events", lines, "Content-Type", "application/x-ndjson").expect(503).refused("unavailable")
	free()
	if len(h.store.events) != 1 {
		t.Errorf("%d events were accepted, and there was room for one", len(h.store.events))
	}
}

// TestALargeBodyMakesRoomForTheNext, whatever became of it.
func TestALargeBodyMakesRoomForTheNext(t *testing.T) {
	h := newHarness(t)
	for range 3 {
		h.call(h.admin, "POST", "/v1/events", heavy).expect(202)
		h.call(h.admin, "POST", "/v1/events", heavy[1:]).expect(400)
	}
	h.api.Occupy()()
}
