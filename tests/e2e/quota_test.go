package e2e_test

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What one tenant may take is bounded, whatever it does with keys of its own; the platform is not charged for it.
func TestQuotasOfATenant(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_TENANT_RATE_LIMIT=1", "ORDINAVO_TENANT_SUBSCRIPTIONS=2")
	acme, hook := newTenant(t, s), receive(t, nil)
	first := acme.subscribe(hook, "*", nil)
	acme.subscribe(hook, "*", nil)
	p := acme.post("/v1/subscriptions", wanted(hook, "*", nil)).refused(http.StatusForbidden, "forbidden")
	if !strings.Contains(p.Detail, "has 2 subscriptions, and may have 2") {
		t.Errorf("it says %q", p.Detail)
	}
	acme.do(http.MethodDelete, "/v1/subscriptions/"+first.ID, nil).want(http.StatusNoContent)
	acme.subscribe(hook, "*", nil)

	_, one := acme.keyWith("webhooks.read")
	_, two := acme.keyWith("webhooks.read")
	keys := []api{acme.withKey(one), acme.withKey(two)}
	refused := answer{}
	for i := 0; i < 50 && refused.status != http.StatusTooManyRequests; i++ {
		refused = keys[i%2].get("/v1/event-types")
	}
	refused.refused(http.StatusTooManyRequests, "rate_limited")
	if refused.header.Get("X-RateLimit-Limit") != "1" || refused.header.Get("Retry-After") != "1" {
		t.Errorf("the headers are %v", refused.header)
	}
	acme.get("/v1/event-types").want(http.StatusOK)
}

// A tenant that has used up its events of the day is told so and when to come back, and another is not.
func TestEventsBeyondTheDaysQuota(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_TENANT_EVENTS_PER_DAY=5")
	acme, other := newTenant(t, s), newTenant(t, s)
	known := acme.visit("visit_report.approved", object{"eventId": eventID()})
	acme.post("/v1/events", known).want(http.StatusAccepted)
	refused := answer{}
	for range 6 { // midnight may pass once
		for range 5 {
			refused = acme.post("/v1/events", acme.visit("visit_report.approved", nil))
		}
	}
	if p := refused.refused(http.StatusTooManyRequests, "rate_limited"); !strings.Contains(p.Detail, "5 events a day") {
		t.Errorf("it says %q", p.Detail)
	}
	if seconds, err := strconv.Atoi(refused.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 24*60*60 {
		t.Errorf("Retry-After is %q", refused.header.Get("Retry-After"))
	}
	acme.post("/v1/events", known).want(http.StatusAccepted)
	other.emit(other.visit("visit_report.approved", nil))
	if text := string(api{t: t, url: s.url}.get("/metrics").body); !regexp.MustCompile(`ordinavo_events_refused_total\{reason="events_per_day"\} [1-9]`).MatchString(text) {
		t.Error("the metrics do not tell of it")
	}
}

// A tenant whose receivers take nothing does not fill the queue for the others, and gets to its bound, no further.
func TestTooManyOpenDeliveriesOfATenant(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_TENANT_MAX_OPEN=3")
	acme, other, hook := newTenant(t, s), newTenant(t, s), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	acme.post("/v1/subscriptions/"+sub.ID+"/pause", object{}).want(http.StatusOK)
	accepted, refused := acme.emitUntilFull()
	if p := refused.refused(http.StatusTooManyRequests, "rate_limited"); accepted != 3 || !strings.Contains(p.Detail, "may have 3 deliveries that are not finished") {
		t.Errorf("after %d accepted events it says %q", accepted, p.Detail)
	}
	other.emit(other.visit("visit_report.approved", nil))
	acme.post("/v1/subscriptions/"+sub.ID+"/resume", object{}).want(http.StatusOK)
	acme.emitUntilAccepted()
}

// emitUntilFull emits until it is told to stay away for long: what is open was counted, and is not on its way out. Before
// that it may be told to come again at once, since what was accepted last is counted soon.
func (n tenant) emitUntilFull() (accepted int, refused answer) {
	n.t.Helper()
	eventually(n.t, "there is no room", func() bool {
		refused = n.post("/v1/events", n.visit("visit_report.approved", nil))
		switch after := refused.header.Get("Retry-After"); {
		case refused.status == http.StatusAccepted:
			accepted++
		case after != "1" && after != "30":
			n.t.Errorf("Retry-After is %q", after)
		}
		return refused.header.Get("Retry-After") == "30" || n.t.Failed()
	})
	return accepted, refused
}

func (n tenant) emitUntilAccepted() {
	n.t.Helper()
	eventually(n.t, "there is room again", func() bool {
		return n.post("/v1/events", n.visit("visit_report.approved", nil)).status == http.StatusAccepted
	})
}

// When more waits than the service is to hold, intake says so before the disk does, and takes events again by itself.
func TestAFullQueuePushesBack(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_MAX_OPEN=1")
	acme, hook := newTenant(t, s), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	acme.post("/v1/subscriptions/"+sub.ID+"/pause", object{}).want(http.StatusOK)
	accepted, refused := acme.emitUntilFull()
	refused.refused(http.StatusServiceUnavailable, "unavailable")
	if accepted != 1 {
		t.Errorf("%d events were accepted", accepted)
	}
	acme.get("/v1/deliveries").want(http.StatusOK)
	acme.post("/v1/subscriptions/"+sub.ID+"/resume", object{}).want(http.StatusOK)
	acme.emitUntilAccepted()
}

// An old replay waits before it takes all the room that a tenant's new events need, and goes on by itself.
func TestAReplayLeavesRoomToEvents(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_TENANT_MAX_OPEN=4")
	acme, paused, hook := newTenant(t, s), receive(t, nil), receive(t, nil)
	for range 3 {
		acme.emit(acme.visit("visit_report.approved", nil))
	}
	parked := acme.subscribe(paused, "target.*", nil)
	acme.post("/v1/subscriptions/"+parked.ID+"/pause", object{}).want(http.StatusOK)
	for range 2 {
		acme.settled(acme.emit(acme.visit("target.imported", nil)), parked.ID, "parked")
	}
	sub := acme.subscribe(hook, "visit_report.*", nil)
	j := into[job](acme.post("/v1/subscriptions/"+sub.ID+"/replay", object{"mode": "missing"}).want(http.StatusAccepted))
	eventually(t, "the job waits", func() bool {
		j = into[job](acme.get("/v1/jobs/" + *j.ID).want(http.StatusOK))
		return strings.Contains(j.StatusReason, "it waits until fewer deliveries are unfinished")
	})
	acme.emitUntilAccepted()
	hook.wait(1)
	hook.exactly(1)
	acme.post("/v1/subscriptions/"+parked.ID+"/resume", object{}).want(http.StatusOK)
	eventually(t, "the job goes on", func() bool {
		j = into[job](acme.get("/v1/jobs/" + *j.ID).want(http.StatusOK))
		return j.Status == "succeeded"
	})
	if j.Done != 3 || j.StatusReason != "" {
		t.Errorf("the job: %+v", j)
	}
	hook.wait(4)
	hook.exactly(4)
	paused.wait(2)
}
