package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

type job struct {
	ID                            *string
	Kind, Mode, Status            string
	StatusReason                  string
	DryRun                        bool
	Found, Done, Skipped, Failed  int
	SkippedReasons, FailedReasons map[string]int
	RequestedBy                   struct{ KeyID, KeyName string }
}

// worked waits until the job is finished.
func (n tenant) worked(a answer) (j job) {
	n.t.Helper()
	id := *into[job](a.want(http.StatusAccepted)).ID
	if a.header.Get("Location") != "/v1/jobs/"+id {
		n.t.Errorf("Location: %s", a.header.Get("Location"))
	}
	eventually(n.t, "the job's end", func() bool {
		j = into[job](n.get("/v1/jobs/" + id).want(http.StatusOK))
		return j.Status != "pending" && j.Status != "running"
	})
	return j
}

// settledAs waits until the delivery has the status.
func (n tenant) settledAs(deliveryID, status string) (d delivery) {
	n.t.Helper()
	eventually(n.t, deliveryID+" is "+status, func() bool {
		d = into[delivery](n.get("/v1/deliveries/" + deliveryID).want(http.StatusOK))
		return d.Status == status
	})
	return d
}

// POST /v1/deliveries/retry: all that match, as a job; a dry run only counts.
func TestRetryMany(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, answers(500))
	sub := acme.subscribe(hook, "*", object{"retrySchedule": []string{"1s"}, "maxInFlight": 64})
	paused := acme.subscribe(hook, "*", object{"retrySchedule": []string{"1s"}})
	acme.post("/v1/subscriptions/"+sub.ID+"/test", nil).want(http.StatusOK)
	var dead []delivery
	for i := range 6 {
		kind := []string{"visit_report.approved", "visit_report.rejected"}[i%2]
		id := acme.emit(acme.visit(kind, nil))
		dead = append(dead, acme.settled(id, sub.ID, "dead_letter"))
		acme.settled(id, paused.ID, "dead_letter")
	}
	acme.post("/v1/subscriptions/"+paused.ID+"/pause", nil).want(http.StatusOK)
	before := len(hook.all())
	dry := into[job](acme.post("/v1/deliveries/retry", object{"dryRun": true, "status": "dead_letter", "eventType": "visit_report.approved"}).want(http.StatusOK))
	if dry.ID != nil || !dry.DryRun || dry.Status != "succeeded" || dry.Found != 6 || dry.Done != 3 || dry.Skipped != 3 {
		t.Errorf("a dry run: %+v", dry)
	}
	hook.exactly(before)
	hook.behaves(nil)
	keyed := acme.with("Idempotency-Key", "once")
	first := keyed.post("/v1/deliveries/retry", object{"eventType": "visit_report.approved"})
	again := keyed.post("/v1/deliveries/retry", object{"eventType": "visit_report.approved"})
	if !bytes.Equal(first.body, again.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the same request again: %s, %v", again.body, again.header)
	}
	if j := acme.worked(first); j.Status != "succeeded" || j.Found != 6 || j.Done != 3 || j.SkippedReasons["the subscription is paused"] != 3 || j.RequestedBy.KeyID == "" {
		t.Errorf("a retry: %+v", j)
	}
	for i, d := range dead {
		want := []string{"succeeded", "dead_letter"}[i%2]
		got := acme.settledAs(d.ID, want)
		if got.Request.Body != d.Request.Body || got.AttemptCount != []int{3, 2}[i%2] {
			t.Errorf("%s: %d attempts of %s", want, got.AttemptCount, got.Request.Body)
		}
	}
	hook.exactly(before + 3)
	if list := into[page[job]](acme.get("/v1/jobs").want(http.StatusOK)); len(list.Data) != 1 {
		t.Errorf("the jobs are %+v", list)
	}
	acme.post("/v1/jobs/"+*into[job](first).ID+"/cancel", nil).refused(http.StatusConflict, "conflict")
	acme.post("/v1/deliveries/retry", object{"status": "parked"}).refused(http.StatusBadRequest, "validation_failed")
	acme.post("/v1/deliveries/retry", object{"eventType": "nonsense"}).refused(http.StatusBadRequest, "validation_failed")
}

// Contract, section 5: replay says what it means.
func TestReplay(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	event := acme.emit(acme.visit("visit_report.approved", nil))
	old := acme.settled(event, sub.ID, "succeeded")
	path := "/v1/subscriptions/" + sub.ID + "/replay"

	if dry := into[job](acme.post(path, object{"mode": "rerender", "dryRun": true}).want(http.StatusOK)); dry.Done != 1 || dry.ID != nil {
		t.Errorf("a dry run: %+v", dry)
	}
	hook.exactly(1)
	if j := acme.worked(acme.post(path, object{"mode": "original", "statuses": []string{"succeeded"}})); j.Done != 1 || j.Kind != "replay" || j.Mode != "original" {
		t.Errorf("original: %+v", j)
	}
	same := hook.wait(2)
	if !bytes.Equal(same[0].body, same[1].body) || same[1].deliveryID() != old.ID || same[1].eventID() != event {
		t.Errorf("original sent %s as %s", same[1].body, same[1].deliveryID())
	}
	acme.settledAs(old.ID, "succeeded")

	acme.do(http.MethodPut, "/v1/directory/customers/12", object{"name": "Renamed", "customerNumber": "RRM-001"}).want(http.StatusOK)
	acme.do(http.MethodPatch, "/v1/subscriptions/"+sub.ID, object{"payloadOptions": object{"summaryPreview": true}}).want(http.StatusOK)
	if j := acme.worked(acme.post(path, object{"mode": "rerender", "eventTypes": []string{"visit_report.*"}})); j.Done != 1 {
		t.Errorf("rerender: %+v", j)
	}
	anew := hook.wait(3)[2]
	body := bodyOf(t, anew)
	if anew.eventID() != event || anew.deliveryID() == old.ID || body["customer"].(object)["name"] != "Renamed" || body["visitReport"].(object)["summaryPreview"] == nil {
		t.Errorf("rerender sent %s as %s", anew.body, anew.deliveryID())
	}
	acme.settledAs(anew.deliveryID(), "succeeded")
	shown := acme.event(event)
	if len(shown.Dispositions) != 1 || *shown.Dispositions[0].DeliveryID != old.ID || len(shown.Replays) != 1 || *shown.Replays[0].DeliveryID != anew.deliveryID() {
		t.Errorf("the dispositions are %+v, the replays %+v", shown.Dispositions, shown.Replays)
	}
	if kept := acme.settledAs(old.ID, "succeeded"); kept.Request.Body != string(same[0].body) {
		t.Errorf("the old delivery has the body %s", kept.Request.Body)
	}
	acme.post(path, object{"mode": "rerender", "until": "2020-01-01T00:00:00Z", "dryRun": true}).want(http.StatusOK)
	acme.post(path, object{}).refused(http.StatusBadRequest, "validation_failed")
	acme.post(path, object{"mode": "original", "eventTypes": []string{"nonsense"}}).refused(http.StatusBadRequest, "validation_failed")
	acme.post("/v1/subscriptions/"+sub.ID+"/pause", nil).want(http.StatusOK)
	acme.post(path, object{"mode": "original"}).refused(http.StatusConflict, "conflict")
	newTenant(t, sharedService(t)).post(path, object{"mode": "original"}).refused(http.StatusNotFound, "not_found")
}

// A job survives kill -9 and goes on where it stood: each event is rendered anew once.
func TestAReplaySurvivesKills(t *testing.T) {
	t.Parallel()
	const events = 900
	dir := t.TempDir()
	s := start(t, dir)
	acme, hook := newTenant(t, s), receive(t, nil)
	// An attempt that a kill overlaps is made again by the schedule, and one that three do, three times.
	sub := acme.subscribe(hook, "*", object{"maxInFlight": 256, "retrySchedule": slices.Repeat([]string{"1s"}, 8)})
	batch := []object{}
	for range events {
		batch = append(batch, acme.visit("visit_report.approved", nil))
	}
	acme.post("/v1/events", object{"events": batch}).want(http.StatusAccepted)
	eventually(t, "all to arrive", func() bool { return len(byEvent(hook.all())) == events })
	path := "/v1/deliveries?limit=1&status=delivering"
	eventually(t, "all to be recorded", func() bool { return len(into[page[delivery]](acme.get(path)).Data) == 0 })
	id := *into[job](acme.post("/v1/subscriptions/"+sub.ID+"/replay", object{"mode": "rerender"}).want(http.StatusAccepted)).ID
	for range 3 {
		s.kill()
		s = start(t, dir)
	}
	acme.api = acme.at(s)
	var j job
	eventually(t, "the job's end", func() bool {
		j = into[job](acme.get("/v1/jobs/" + id).want(http.StatusOK))
		return j.Status == "succeeded"
	})
	if j.Done != events || j.Found != events {
		t.Errorf("got %+v", j)
	}
	made := map[string]map[string]bool{}
	eventually(t, "all to arrive again", func() bool {
		clear(made)
		for _, a := range hook.all() {
			if made[a.eventID()] == nil {
				made[a.eventID()] = map[string]bool{}
			}
			made[a.eventID()][a.deliveryID()] = true
		}
		for _, deliveries := range made {
			if len(deliveries) < 2 {
				return false
			}
		}
		return true
	})
	for event, deliveries := range made {
		if len(deliveries) != 2 {
			t.Errorf("%s has the deliveries %v", event, deliveries)
		}
	}
}

// While nobody works on it, a job is pending, and can be cancelled. A tenant has ten open ones at most.
func TestJobsThatWait(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_ROLES=api,router")
	acme, other := newTenant(t, s), newTenant(t, s)
	var open []string
	for i := range 10 {
		j := into[job](acme.post("/v1/deliveries/retry", object{"since": fmt.Sprintf("2026-06-%02dT00:00:00Z", i+1)}).want(http.StatusAccepted))
		open = append(open, *j.ID)
	}
	acme.post("/v1/deliveries/retry", nil).refused(http.StatusConflict, "conflict")
	other.post("/v1/deliveries/retry", nil).want(http.StatusAccepted)
	for _, path := range []string{"/v1/jobs/" + open[0], "/v1/jobs/job_0"} {
		other.get(path).refused(http.StatusNotFound, "not_found")
		other.post(path+"/cancel", nil).refused(http.StatusNotFound, "not_found")
	}
	for range 2 {
		if j := into[job](acme.post("/v1/jobs/"+open[0]+"/cancel", nil).want(http.StatusOK)); j.Status != "cancelled" {
			t.Errorf("got %+v", j)
		}
	}
	acme.post("/v1/deliveries/retry", object{}).want(http.StatusAccepted)
	first := into[page[job]](acme.get("/v1/jobs?limit=7").want(http.StatusOK))
	second := into[page[job]](acme.get("/v1/jobs?limit=7&cursor=" + *first.NextCursor).want(http.StatusOK))
	if len(first.Data) != 7 || len(second.Data) != 4 || *second.Data[3].ID != open[0] {
		t.Errorf("%d and %d jobs", len(first.Data), len(second.Data))
	}
	_, reader := acme.keyWith("webhook_deliveries.read")
	acme.withKey(reader).get("/v1/jobs").refused(http.StatusForbidden, "missing_scope")
}
