package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Contract, section 5: the same eventId with the same content sends nothing again; with other content it is refused.
func TestDuplicatesAndConflicts(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	e := acme.visit("visit_report.approved", object{"eventId": eventID()})
	statusOf := func(body any) string {
		return into[results](acme.post("/v1/events", body).want(http.StatusAccepted)).Results[0].Status
	}
	if first, second := statusOf(e), statusOf(e); first != "accepted" || second != "duplicate" {
		t.Errorf("got %s, then %s", first, second)
	}
	other := acme.visit("visit_report.approved", object{"eventId": e["eventId"], "customerId": 13})
	acme.post("/v1/events", other).refused(http.StatusConflict, "idempotency_conflict")
	twice := acme.visit("visit_report.approved", object{"eventId": eventID()})
	both := into[results](acme.post("/v1/events", object{"events": []any{twice, twice}}).want(http.StatusAccepted)).Results
	if both[0].Status != "accepted" || both[1].Status != "duplicate" {
		t.Errorf("twice in a batch: %v", both)
	}
	acme.settled(e["eventId"].(string), sub.ID, "succeeded")
	acme.settled(twice["eventId"].(string), sub.ID, "succeeded")
	hook.exactly(2)
}

// A batch with one bad event is refused whole, and names the field's path.
func TestABatchIsRefusedWhole(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	good, bad := acme.visit("visit_report.approved", nil), acme.visit("visit_report.approved", object{"visitReport": object{"id": "x"}})
	p := acme.post("/v1/events", object{"events": []any{good, good, bad}}).refused(http.StatusBadRequest, "validation_failed")
	if len(p.Errors["events[2].visitReport.id"]) == 0 {
		t.Errorf("got %v", p.Errors)
	}
	known := acme.visit("visit_report.approved", object{"eventId": eventID()})
	acme.emit(known)
	conflicting := acme.visit("visit_report.rejected", object{"eventId": known["eventId"]})
	acme.post("/v1/events", object{"events": []any{good, conflicting}}).refused(http.StatusConflict, "idempotency_conflict")
	if list := into[page[acceptedEvent]](acme.get("/v1/events").want(http.StatusOK)); len(list.Data) != 1 {
		t.Errorf("of a refused batch %d events were kept", len(list.Data)-1)
	}
}

// 1,000 events at once, as a list and as NDJSON; 1,001 are refused.
func TestBatchesAndLines(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	var events []object
	var lines strings.Builder
	for range 1000 {
		events = append(events, acme.visit("target.imported", nil))
		line, _ := json.Marshal(acme.visit("target.completed", nil))
		fmt.Fprintf(&lines, "%s\n\n", line)
	}
	if got := into[results](acme.post("/v1/events", object{"events": events}).want(http.StatusAccepted)); len(got.Results) != 1000 {
		t.Errorf("%d results", len(got.Results))
	}
	ndjson := acme.with("Content-Type", "application/x-ndjson")
	got := into[results](ndjson.post("/v1/events", []byte(lines.String())).want(http.StatusAccepted))
	if len(got.Results) != 1000 || got.Results[999].Status != "accepted" || !strings.HasPrefix(got.Results[999].EventID, "evt_") {
		t.Errorf("%d results", len(got.Results))
	}
	p := ndjson.post("/v1/events", []byte("{}\n")).refused(http.StatusBadRequest, "validation_failed")
	if len(p.Errors["events[0].eventType"]) == 0 {
		t.Errorf("got %v", p.Errors)
	}
	over := acme.post("/v1/events", object{"events": append(events, events[0])}).refused(http.StatusBadRequest, "validation_failed")
	if len(over.Errors["events"]) == 0 {
		t.Errorf("got %v", over.Errors)
	}
}

// Contract, section 5: for every accepted event and every subscription of its tenant exactly one disposition.
func TestDispositions(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	acme.feature(true)
	matching, other := acme.subscribe(receive(t, nil), "visit_report.*", nil), acme.subscribe(receive(t, nil), "target.imported", nil)
	gated, paused := acme.subscribe(receive(t, nil), "billing.*", nil), acme.subscribe(receive(t, nil), "*", object{"status": "paused"})
	acme.feature(false)
	report, bill := acme.emit(acme.visit("visit_report.approved", nil)), acme.emit(acme.billing("billing.event_ready"))
	acme.settled(report, matching.ID, "succeeded")
	acme.settled(report, paused.ID, "parked")
	acme.disposed(bill, gated.ID)
	for id, want := range map[string]map[string]string{
		report: {matching.ID: "delivery", other.ID: "not_matched", gated.ID: "not_matched", paused.ID: "delivery"},
		bill:   {matching.ID: "not_matched", other.ID: "not_matched", gated.ID: "feature_gated", paused.ID: "feature_gated"},
	} {
		got := acme.event(id).Dispositions
		if len(got) != len(want) {
			t.Errorf("%d dispositions: %v", len(got), got)
		}
		for _, d := range got {
			if d.Outcome != want[d.SubscriptionID] || d.Reason == "" || (d.Outcome == "delivery") != (d.DeliveryID != nil) {
				t.Errorf("got %s, want %s", d, want[d.SubscriptionID])
			}
			delete(want, d.SubscriptionID)
		}
	}
	later := acme.subscribe(receive(t, nil), "*", nil)
	if slices.ContainsFunc(acme.event(report).Dispositions, func(d disposition) bool { return d.SubscriptionID == later.ID }) {
		t.Error("a subscription that came later has a disposition")
	}
	shown := into[struct {
		CreatedLater []struct{ SubscriptionID, Reason string }
		Replays      []disposition
	}](acme.get("/v1/events/" + report).want(http.StatusOK))
	if len(shown.CreatedLater) != 1 || shown.CreatedLater[0].SubscriptionID != later.ID || shown.CreatedLater[0].Reason == "" || len(shown.Replays) != 0 {
		t.Errorf("got %+v", shown)
	}
	for _, d := range acme.event(report).Dispositions {
		want := map[string]string{matching.ID: "its pattern visit_report.* wants visit_report.approved; the receiver took it at attempt 1",
			other.ID:  "none of its patterns (target.imported) wants visit_report.approved; the nearest is target.imported",
			paused.ID: "its pattern * wants visit_report.approved; the subscription was paused when the event came, so it was parked; it waits until the subscription is resumed",
		}[d.SubscriptionID]
		if want != "" && d.Reason != want {
			t.Errorf("got %q, want %q", d.Reason, want)
		}
	}
	listed := into[page[struct {
		EventID    string
		Deliveries []struct{ DeliveryID, SubscriptionID, Status string }
	}]](acme.get("/v1/events").want(http.StatusOK)).Data
	if len(listed) != 2 || listed[0].EventID != bill || len(listed[0].Deliveries) != 0 || len(listed[1].Deliveries) != 2 {
		t.Errorf("listed are %+v", listed)
	}
}

// An event for a tenant that does not exist, or without a block that its type needs, is refused with the field's path.
func TestEventsThatAreRefused(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for path, e := range map[string]object{
		"tenantId":    acme.visit("visit_report.approved", object{"tenantId": "nobody"}),
		"visitReport": acme.visit("visit_report.approved", object{"visitReport": nil}),
		"eventType":   acme.visit("visit_report.unheard_of", nil),
		"occurredAt":  acme.visit("visit_report.approved", object{"occurredAt": "yesterday"}),
		"eventId":     acme.visit("visit_report.approved", object{"eventId": "evt_lower"}),
	} {
		if p := acme.post("/v1/events", e).refused(http.StatusBadRequest, "validation_failed"); len(p.Errors[path]) == 0 {
			t.Errorf("%s: got %v", path, p.Errors)
		}
	}
}
