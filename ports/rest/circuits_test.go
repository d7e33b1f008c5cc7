package rest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
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
