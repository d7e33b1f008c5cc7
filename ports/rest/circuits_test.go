package rest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
)

func TestSubscriptionsShowTheirCircuits(t *testing.T) {
	h := newHarness(t)
	id := h.subscribe()
	h.call(h.admin, "POST", "/v1/subscriptions", newSubscription).expect(201)
	shows := func(report circuit.Report, want string) {
		t.Helper()
		h.store.circuits[id] = report
		one := h.call(h.reader, "GET", "/v1/subscriptions/"+id, "").expect(200).body
		list := h.call(h.reader, "GET", "/v1/subscriptions", "").expect(200).body
		if !strings.Contains(one, `"circuit":`+want) || !strings.Contains(list, `"circuit":`+want) || strings.Count(list, `"circuit"`) != 2 {
			t.Errorf("want %s in\n%s\n%s", want, one, list)
		}
	}
	since := h.now.Add(-time.Minute)
	shows(circuit.Report{}, `{"state":"closed","since":null,"nextProbeAt":null,"window":4}`)
	shows(circuit.Report{Since: since, Window: 2}, `{"state":"closed","since":"2026-06-18T16:59:00Z","nextProbeAt":null,"window":2}`)
	shows(circuit.Report{Since: since, Until: h.now.Add(5 * time.Second)}, `{"state":"open","since":"2026-06-18T16:59:00Z","nextProbeAt":"2026-06-18T17:00:05Z","window":0}`)
	shows(circuit.Report{Since: since, Until: h.now}, `{"state":"half_open","since":"2026-06-18T16:59:00Z","nextProbeAt":"2026-06-18T17:00:00Z","window":1}`)
	if then := h.call(h.reader, "GET", "/v1/subscriptions/"+id+"?version=1", "").expect(200).body; strings.Contains(then, "circuit") {
		t.Errorf("what it was shows a circuit: %s", then)
	}
}

// Who asks why an event has not arrived is told that its receiver is being spared; of what does not wait for it, nothing is added.
func TestAnEventThatWaitsSaysThatItsReceiverIsSpared(t *testing.T) {
	h := withDeliveries(t)
	h.store.circuits["sub_bound"] = circuit.Report{Since: h.now.Add(-time.Minute), Until: h.now.Add(5 * time.Second)}
	reasons := func() string { return h.call(h.admin, "GET", "/v1/events/evt_1", "").expect(200).body }
	if got := reasons(); strings.Contains(got, "probe") {
		t.Errorf("given up, and yet it waits: %s", got)
	}
	h.store.deliveries[0].Status, h.store.deliveries[0].Attempts = delivery.StatusPending, 0
	h.store.deliveries[1].Status, h.store.deliveries[1].DueAt = delivery.StatusRetrying, h.now
	for _, want := range []string{
		`it waits for its first attempt; its receiver has kept failing and gets only a probe now and then, none before 2026-06-18T17:00:05Z"`,
		`the next is due at 2026-06-18T17:00:00Z; its receiver has kept failing and gets only a probe now and then, none before 2026-06-18T17:00:05Z"`,
	} {
		if got := reasons(); !strings.Contains(got, want) {
			t.Errorf("lacks %s: %s", want, got)
		}
	}
	h.store.deliveries[1].DueAt = h.now.Add(time.Second)
	if got := reasons(); !strings.Contains(got, `the next is due at 2026-06-18T17:00:01Z"`) {
		t.Errorf("due before the next probe, and without a backlog sent on time: %s", got)
	}
	h.store.circuits["sub_bound"] = circuit.Report{Since: h.now.Add(-time.Minute), Until: h.now}
	if got := reasons(); !strings.Contains(got, `it waits for its first attempt; its receiver has kept failing and gets one delivery at a time until it takes one"`) {
		t.Errorf("when a probe is due: %s", got)
	}
	h.store.circuits["sub_bound"] = circuit.Report{Since: h.now.Add(-time.Minute), Window: 2}
	if got := reasons(); !strings.Contains(got, `it waits for its first attempt"`) {
		t.Errorf("of a receiver that gets less: %s", got)
	}
}
