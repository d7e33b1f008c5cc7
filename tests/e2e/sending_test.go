package e2e_test

import (
	"net/http"
	"testing"
	"time"
)

// Contract, section 4: redirects are not followed and count as failures.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	acme, elsewhere := newTenant(t, sharedService(t)), receive(t, nil)
	hook := receive(t, func(_ int, _ arrival, w http.ResponseWriter) {
		w.Header().Set("Location", elsewhere.url)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	sub := acme.subscribe(hook, "*", nil)
	got := acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "dead_letter")
	elsewhere.exactly(0)
	hook.exactly(4) // the first and three of the schedule
	for _, a := range got.Attempts {
		if a.Outcome != "redirect" {
			t.Errorf("attempt %d: %s", a.Number, a.Outcome)
		}
	}
}

// Contract, section 4: success is any 2xx; anything else is retried up to the schedule's end.
func TestWhatCountsAsSuccess(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for status, want := range map[int]string{200: "succeeded", 201: "succeeded", 204: "succeeded", 299: "succeeded",
		400: "dead_letter", 401: "dead_letter", 404: "dead_letter", 500: "dead_letter", 503: "dead_letter"} {
		hook := receive(t, answers(status))
		sub := acme.subscribe(hook, "visit_report.approved", nil)
		got := acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, want)
		attempts := map[string]int{"succeeded": 1, "dead_letter": 4}[want]
		hook.exactly(attempts)
		if got.AttemptCount != attempts || len(got.Attempts) != attempts || got.Attempts[0].ResponseStatus == nil || *got.Attempts[0].ResponseStatus != status {
			t.Errorf("%d: %d attempts of %d: %+v", status, len(got.Attempts), got.AttemptCount, got.Attempts[0])
		}
		acme.do(http.MethodDelete, "/v1/subscriptions/"+sub.ID, nil).want(http.StatusNoContent)
	}
}

// Contract, section 4: 410 Gone ends the delivery and disables the subscription; what comes later is parked.
func TestGoneDisables(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, answers(http.StatusGone, http.StatusOK))
	sub := acme.subscribe(hook, "*", nil)
	gone := acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "dead_letter")
	eventually(t, "disabled", func() bool { return acme.subscription(sub.ID).Status == "disabled" })
	if acme.subscription(sub.ID).StatusReason == nil {
		t.Error("the subscription does not say why")
	}
	later := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(later, sub.ID, "parked")
	hook.exactly(1)
	acme.post("/v1/subscriptions/"+sub.ID+"/resume", nil).want(http.StatusOK)
	acme.settled(later, sub.ID, "succeeded")
	acme.post("/v1/deliveries/"+gone.ID+"/retry", nil).want(http.StatusAccepted)
	acme.settled(gone.EventID, sub.ID, "succeeded")
	hook.exactly(3)
}

// Contract, section 4: Retry-After moves the next attempt later, never earlier.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for _, c := range []struct {
		name, retryAfter string
		schedule         []string
		least, most      time.Duration
	}{
		{"later by seconds", "600", []string{"1s"}, 600 * time.Second, 661 * time.Second},
		{"never earlier", "1", []string{"1h"}, time.Hour, 66*time.Minute + time.Second},
		{"at most a day", "999999", []string{"1s"}, 24 * time.Hour, 26*time.Hour + 25*time.Minute},
		{"later by a date", time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat), []string{"1s"}, 119 * time.Minute, 133 * time.Minute},
		{"nonsense counts as none", "soon", []string{"1h"}, time.Hour, 66*time.Minute + time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			acme := acme
			acme.t = t
			hook := receive(t, func(_ int, _ arrival, w http.ResponseWriter) {
				w.Header().Set("Retry-After", c.retryAfter)
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			sub := acme.subscribe(hook, "*", object{"retrySchedule": c.schedule})
			got := acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "retrying")
			if got.NextAttemptAt == nil || len(got.Attempts) != 1 {
				t.Fatalf("got %+v", got)
			}
			wait := got.NextAttemptAt.Sub(got.Attempts[0].StartedAt)
			if wait < c.least || wait > c.most+patience {
				t.Errorf("the next attempt is %s after the first, want %s to %s", wait, c.least, c.most)
			}
			acme.do(http.MethodDelete, "/v1/subscriptions/"+sub.ID, nil).want(http.StatusNoContent)
		})
	}
}

// Contract, section 4: the timeout is the subscription's own.
func TestTimeout(t *testing.T) {
	t.Parallel()
	acme, done := newTenant(t, sharedService(t)), make(chan struct{})
	hook := receive(t, func(int, arrival, http.ResponseWriter) { <-done })
	t.Cleanup(func() { close(done) }) // before the receiver's own, which waits for its handlers
	sub := acme.subscribe(hook, "*", object{"timeoutSeconds": 1, "retrySchedule": []string{"1h"}})
	got := acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "retrying")
	if a := got.Attempts[0]; a.Outcome != "timeout" || a.ResponseStatus != nil || a.Error == nil || a.DurationMs < 1000 {
		t.Errorf("got %+v", a)
	}
}

// Contract, section 5: an attempt keeps the answer's status and headers, and the first 4 KiB of its body.
func TestWhatAnAttemptKeeps(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	hook := receive(t, func(_ int, _ arrival, w http.ResponseWriter) {
		w.Header().Set("X-Reason", "closed on Sundays")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(make([]byte, 10_000))
	})
	sub := acme.subscribe(hook, "*", object{"retrySchedule": []string{"1h"}})
	a := acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "retrying").Attempts[0]
	if *a.ResponseStatus != http.StatusTeapot || len(a.ResponseBody) != 4096 || a.TraceID == "" || a.RequestHeaders["X-Ordinavo-Event-Id"] == "" {
		t.Errorf("%d, %d bytes, trace %q, request %v", *a.ResponseStatus, len(a.ResponseBody), a.TraceID, a.RequestHeaders)
	}
	if a.ResponseHeaders["X-Reason"] != "closed on Sundays" {
		t.Errorf("got %v", a.ResponseHeaders)
	}
}

// Contract, sections 4 and 7: where nobody may be called is refused when the subscription is written.
func TestAddressesThatMayNotBeCalled(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for _, url := range []string{"", "ftp://example.com/", "https://user:pw@example.com/", "https:///nohost", "https://10.0.0.1/",
		"https://169.254.169.254/latest", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/", "https://example.com:22/", "not a url", "https://example.com/\u0000"} {
		p := acme.post("/v1/subscriptions", object{"name": "x", "url": url, "eventTypes": []string{"*"}, "sourceSystem": "sap"}).refused(http.StatusBadRequest, "validation_failed")
		if len(p.Errors["url"]) == 0 {
			t.Errorf("%q: no word about the url: %v", url, p.Errors)
		}
	}
	if list := into[page[subscription]](acme.get("/v1/subscriptions").want(http.StatusOK)); len(list.Data) != 0 {
		t.Errorf("there are subscriptions: %v", list.Data)
	}
}
