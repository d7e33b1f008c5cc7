package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
)

// operationalBody is the body of an operational event.
type operationalBody struct {
	EventID, EventType, OccurredAt, TenantID, Source, PayloadVersion string
	Subscription                                                     struct {
		ID, Name, Reason string
		FailuresInARow   int
	}
	Delivery *struct {
		ID, EventID, EventType, Status, Reason, LastOutcome string
		AttemptCount, LastResponseStatus                    int
	}
}

func operational(t *testing.T, a arrival) (body operationalBody) {
	t.Helper()
	if err := json.Unmarshal(a.body, &body); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if body.EventID != a.eventID() || body.EventType != a.header.Get("X-Ordinavo-Event-Type") || body.Source != "ordinavo" || body.PayloadVersion != "1.0" {
		t.Errorf("the envelope of %s", a.body)
	}
	return body
}

// eventsOf lists the tenant's accepted events of a type.
func (n tenant) eventsOf(eventType string) []acceptedEvent {
	n.t.Helper()
	return into[page[acceptedEvent]](n.get("/v1/events?limit=200&eventType=" + eventType).want(http.StatusOK)).Data
}

// Issue 4, point 8: dead letters, ten failures in a row and a receiver that is gone are told to who asks for
// ordinavo.*, signed and delivered as all else; * does not ask for them, and their own failures are not told.
func TestOperationalEvents(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	admin, everything := receive(t, nil), receive(t, nil)
	told := acme.subscribe(admin, "ordinavo.*", object{"name": "admins"})
	acme.subscribe(everything, "*", object{"name": "everything"})
	loop := acme.subscribe(receive(t, answers(410)), "ordinavo.*", object{"name": "gone, too"})
	failing := receive(t, answers(500))
	sick := acme.subscribe(failing, "visit_report.approved", object{"name": "sick", "retrySchedule": []string{"1s"}})
	gone := acme.subscribe(receive(t, answers(410)), "visit_report.rejected", object{"name": "gone"})

	var batch []object
	for range 10 {
		batch = append(batch, acme.visit("visit_report.approved", nil))
	}
	var sent []string
	for _, r := range into[results](acme.post("/v1/events", object{"events": batch}).want(http.StatusAccepted)).Results {
		sent = append(sent, r.EventID)
	}
	last := acme.emit(acme.visit("visit_report.rejected", nil))
	for _, id := range sent {
		acme.settled(id, sick.ID, "dead_letter")
	}
	acme.settled(last, gone.ID, "dead_letter")
	const want = 10 + 1 + 1 + 1
	document := into[object](acme.get("/openapi.json").want(http.StatusOK))
	compiler := compilerOf(t, document)
	var types, deadOnes []string
	for _, a := range admin.wait(want) {
		verify(t, a, told.Secret)
		isAsDocumented(t, document, compiler, a)
		body := operational(t, a)
		types = append(types, body.EventType)
		switch body.EventType {
		case "ordinavo.delivery.dead_lettered":
			deadOnes = append(deadOnes, body.Delivery.EventID)
			if d := body.Delivery; d.Status != "dead_letter" || d.EventID != last && (d.AttemptCount != 2 || d.LastResponseStatus != 500 || body.Subscription.ID != sick.ID) {
				t.Errorf("told %s", a.body)
			}
		case "ordinavo.subscription.failing":
			if body.Subscription.ID != sick.ID || body.Subscription.Name != "sick" || body.Subscription.FailuresInARow < 10 {
				t.Errorf("told %s", a.body)
			}
		case "ordinavo.subscription.disabled":
			if body.Subscription.ID != gone.ID || body.Subscription.Reason != "the receiver answered 410 Gone" {
				t.Errorf("told %s", a.body)
			}
		}
	}
	slices.Sort(types)
	if got := slices.Compact(slices.Clone(types)); len(got) != 3 || len(deadOnes) != 11 {
		t.Errorf("told %v", types)
	}
	for _, id := range append(sent, last) {
		if !slices.Contains(deadOnes, id) {
			t.Errorf("nobody was told of %s", id)
		}
	}
	// Who is told of trouble and fails makes none: it is disabled, and nothing was accepted beside what the admins got.
	eventually(t, "the other receiver's end", func() bool { return acme.subscription(loop.ID).Status == "disabled" })
	accepted := 0
	for _, eventType := range slices.Compact(types) {
		accepted += len(acme.eventsOf(eventType))
	}
	if accepted != want {
		t.Errorf("%d operational events were accepted, want %d", accepted, want)
	}
	admin.exactly(want)
	for _, a := range everything.all() {
		if !slices.Contains(append(sent, last), a.eventID()) {
			t.Errorf("* got %s", a.body)
		}
	}
	for _, e := range acme.eventsOf("ordinavo.subscription.failing") {
		if d := acme.event(e.EventID).Dispositions; len(d) != 5 {
			t.Errorf("%d dispositions for 5 subscriptions: %v", len(d), d)
		}
	}
}

// Nobody can send them, and anybody can see and try them.
func TestOperationalEventsAreTheServicesOwn(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	for _, eventType := range []string{"ordinavo.subscription.failing", "ordinavo.delivery.dead_lettered"} {
		p := acme.post("/v1/events", acme.visit(eventType, nil)).refused(http.StatusBadRequest, "validation_failed")
		if len(p.Errors["eventType"]) != 1 {
			t.Errorf("refused %+v", p)
		}
		acme.post("/v1/events/preview", acme.visit(eventType, nil)).refused(http.StatusBadRequest, "validation_failed")
	}
	sub := acme.subscribe(hook, "ordinavo.secret.rotation_ending", nil)
	acme.post("/v1/subscriptions/"+sub.ID+"/test", nil).want(http.StatusOK)
	if a := hook.exactly(1)[0]; a.header.Get("X-Ordinavo-Event-Type") != "ordinavo.secret.rotation_ending" || a.header.Get("X-Ordinavo-Test") != "true" {
		t.Errorf("the test sent %v", a.header)
	}
	for _, eventType := range []string{"ordinavo.subscription.disabled", "ordinavo.secret.rotation_ending"} {
		shown := into[struct{ Matches bool }](acme.post("/v1/subscriptions/"+sub.ID+"/preview", object{"eventType": eventType}).want(http.StatusOK))
		if shown.Matches != (eventType == "ordinavo.secret.rotation_ending") {
			t.Errorf("%s: %+v", eventType, shown)
		}
	}
}
