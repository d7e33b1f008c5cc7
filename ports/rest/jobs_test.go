package rest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// dead adds deliveries that have failed for good.
func (h *harness) dead(sub string, n int) {
	for range n {
		h.store.deliveries = append(h.store.deliveries, delivery.Delivery{ID: nextID("dlv_"), Tenant: own, EventID: nextID("evt_"), EventType: "visit_report.approved",
			SubscriptionID: sub, Status: delivery.StatusDeadLetter, CreatedAt: h.now})
	}
}

func TestBulkRetryIsAJob(t *testing.T) {
	h := newHarness(t)
	sub := h.subscribe()
	h.dead(sub, 3)
	dry := h.call(h.admin, "POST", "/v1/deliveries/retry", `{"dryRun":true}`).expect(200)
	if j := dry.json(); j["id"] != nil || j["dryRun"] != true || j["done"] != 3.0 || j["found"] != 3.0 || j["status"] != "succeeded" {
		t.Errorf("a dry run: %s", dry.body)
	}
	if len(h.store.jobs) != 0 {
		t.Errorf("a dry run was kept")
	}
	made := h.call(h.admin, "POST", "/v1/deliveries/retry", `{"status":"dead_letter","subscriptionId":"`+sub+`","eventId":"evt_1","eventType":"visit_report.approved",`+
		`"since":"2026-06-18T16:00:00+02:00","until":"2026-06-19T00:00:00Z"}`).expect(202)
	id := made.text("id")
	want := job.Filter{SubscriptionID: sub, EventID: "evt_1", EventTypes: subscription.Filter{"visit_report.approved"}, Statuses: []delivery.Status{delivery.StatusDeadLetter},
		Since: time.Date(2026, 6, 18, 14, 0, 0, 0, time.UTC), Until: time.Date(2026, 6, 19, 0, 0, 0, 0, time.UTC)}
	if got := h.store.jobs[0]; got.Kind != job.Retry || got.Mode != job.Original || !equalFilters(got.Filter, want) || got.RequestedBy.KeyName != "k" || got.Tenant != own {
		t.Errorf("got %+v", got)
	}
	if made.header.Get("Location") != "/v1/jobs/"+id || made.json()["dryRun"] != false || made.text("status") != "pending" {
		t.Errorf("%v %s", made.header, made.body)
	}
	h.call(h.other, "GET", "/v1/jobs/"+id, "").expect(404).refused("not_found")
	h.call(h.bound, "GET", "/v1/jobs", "").expect(403).refused("forbidden")
	h.call(h.bound, "POST", "/v1/deliveries/retry", "{}").expect(403).refused("forbidden")
	h.call(h.admin, "POST", "/v1/deliveries/retry", `{"eventType":"visit_report.lost"}`).expect(400).refused("validation_failed", "eventType")
	for _, empty := range []string{"subscriptionId", "eventId", "eventType", "status"} { // not all of them
		h.call(h.admin, "POST", "/v1/deliveries/retry", `{"`+empty+`":""}`).expect(400).refused("validation_failed", empty)
	}
	if got := h.call(h.admin, "POST", "/v1/jobs/"+id+"/cancel", "").expect(200); got.text("status") != "cancelled" || got.json()["finishedAt"] == nil {
		t.Errorf("cancelled: %s", got.body)
	}
	all := h.call(h.admin, "POST", "/v1/deliveries/retry", "").expect(202) // without a body it is all that has failed
	if got := h.store.jobs[len(h.store.jobs)-1].Filter; len(got.Statuses) != 2 || got.SubscriptionID != "" {
		t.Errorf("%s is for %+v", all.body, got)
	}
	h.store.jobs[0].Status = job.Succeeded
	h.call(h.admin, "POST", "/v1/jobs/"+id+"/cancel", "").expect(409).refused("conflict")
	if got := h.call(h.admin, "GET", "/v1/jobs", "").expect(200); !strings.Contains(got.body, id) {
		t.Errorf("the list: %s", got.body)
	}
}

func equalFilters(a, b job.Filter) bool {
	return a.SubscriptionID == b.SubscriptionID && a.EventID == b.EventID && strings.Join(a.EventTypes, " ") == strings.Join(b.EventTypes, " ") &&
		len(a.Statuses) == len(b.Statuses) && a.Since.Equal(b.Since) && a.Until.Equal(b.Until)
}

func TestReplayIsAJob(t *testing.T) {
	h := newHarness(t)
	sub := h.subscribe()
	h.dead(sub, 2)
	h.store.deliveries[1].Status = delivery.StatusSucceeded
	path := "/v1/subscriptions/" + sub + "/replay"
	if dry := h.call(h.admin, "POST", path, `{"mode":"rerender","dryRun":true,"statuses":["succeeded"],"eventTypes":["visit_report.*"]}`).expect(200); dry.json()["done"] != 1.0 {
		t.Errorf("a dry run: %s", dry.body)
	}
	if dry := h.call(h.admin, "POST", path, `{"dryRun":true}`).expect(200); dry.json()["done"] != 2.0 {
		t.Errorf("a dry run that says no more: %s", dry.body)
	}
	h.call(h.admin, "POST", path, `{"mode":"rerender"}`).expect(202)
	if got := h.store.jobs[0]; got.Kind != job.Replay || got.Mode != job.Rerender || got.Filter.SubscriptionID != sub || len(got.Filter.Statuses) != 4 {
		t.Errorf("got %+v", got)
	}
	for field, body := range map[string]string{
		"mode": `{}`, "statuses[0]": `{"mode":"original","statuses":["parked"]}`, "eventTypes[0]": `{"mode":"original","eventTypes":["nonsense"]}`,
		"until": `{"mode":"original","since":"2026-06-19T00:00:00Z","until":"2026-06-18T00:00:00Z"}`, "since": `{"mode":"original","since":"yesterday"}`,
	} {
		h.call(h.admin, "POST", path, body).expect(400).refused("validation_failed", field)
	}
	h.call(h.admin, "POST", "/v1/subscriptions/sub_no/replay", `{"mode":"original"}`).expect(404).refused("not_found")
	h.call(h.admin, "POST", "/v1/subscriptions/"+sub+"/pause", "").expect(200)
	h.call(h.admin, "POST", path, `{"mode":"original"}`).expect(409).refused("conflict")
}

func TestAReplayOfWhatIsMissingIsAJob(t *testing.T) {
	h := newHarness(t)
	sub := h.subscribe()
	h.dead(sub, 1)
	has := h.store.deliveries[0]
	for i, kind := range []event.Type{"visit_report.approved", "visit_report.approved", "target.imported", "visit_report.approved"} {
		e := queries.Event{ID: nextID("evt_"), Type: kind, Tenant: own, AcceptedAt: h.now.Add(time.Duration(i-3) * time.Hour), Sequence: int64(i + 1)}
		if i == 0 {
			e.ID = has.EventID
		}
		h.store.accepted = append(h.store.accepted, e)
	}
	path := "/v1/subscriptions/" + sub + "/replay"
	for body, want := range map[string]float64{
		`{"mode":"missing","dryRun":true}`: 2, `{"mode":"missing","dryRun":true,"eventTypes":["target.*"]}`: 0,
		`{"mode":"missing","dryRun":true,"until":"` + h.now.Format(time.RFC3339Nano) + `"}`: 1, `{"mode":"missing","dryRun":true,"since":"` + h.now.Format(time.RFC3339Nano) + `"}`: 1,
	} {
		if dry := h.call(h.admin, "POST", path, body).expect(200); dry.json()["done"] != want || dry.json()["status"] != "succeeded" || dry.text("mode") != "missing" {
			t.Errorf("%s: %s", body, dry.body)
		}
	}
	made := h.call(h.admin, "POST", path, `{"mode":"missing","eventTypes":["visit_report.*"]}`).expect(202)
	if got := h.store.jobs[0]; got.Kind != job.Replay || got.Mode != job.Missing || got.LastEvent != 4 || len(got.Filter.Statuses) != 0 {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(made.body, `"statuses":[]`) {
		t.Errorf("it shows %s", made.body)
	}
	h.call(h.admin, "POST", path, `{"mode":"missing","statuses":["succeeded"]}`).expect(400).refused("validation_failed", "statuses")
	h.call(h.bound, "POST", path, `{"mode":"missing"}`).expect(403).refused("forbidden")
	h.call(h.other, "POST", path, `{"mode":"missing"}`).expect(404).refused("not_found")
	h.call(h.admin, "POST", "/v1/subscriptions/"+sub+"/pause", "").expect(200)
	h.call(h.admin, "POST", path, `{"mode":"missing"}`).expect(409).refused("conflict")
}
