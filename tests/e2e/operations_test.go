package e2e_test

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Contract, section 5: every answer says what the rate limit leaves, and 429 says when to come back.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_RATE_LIMIT=5")
	platform := s.platform(t)
	limited := false
	for range 40 {
		got := platform.get("/v1/event-types")
		for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			if _, err := strconv.Atoi(got.header.Get(name)); err != nil {
				t.Fatalf("%s: %q on %d", name, got.header.Get(name), got.status)
			}
		}
		if limited = got.status == http.StatusTooManyRequests; limited {
			got.refused(http.StatusTooManyRequests, "rate_limited")
			if got.header.Get("X-RateLimit-Remaining") != "0" || got.header.Get("X-RateLimit-Limit") != "5" || got.header.Get("X-RateLimit-Reset") == "0" {
				t.Errorf("got %v", got.header)
			}
			if seconds, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || seconds < 1 {
				t.Errorf("Retry-After: %q", got.header.Get("Retry-After"))
			}
			break
		}
	}
	if !limited {
		t.Error("40 requests at once were not too many for 5 a second")
	}
	for _, path := range []string{"/healthz", "/v1/nothing", "/openapi.json"} {
		if got := (api{t: t, url: s.url}).get(path); got.header.Get("X-RateLimit-Limit") != "5" {
			t.Errorf("%s: X-RateLimit-Limit is %q", path, got.header.Get("X-RateLimit-Limit"))
		}
	}
}

func TestProbesAndUnknownRoutes(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	caller := s.platform(t)
	caller.get("/healthz").want(http.StatusOK)
	caller.get("/readyz").want(http.StatusOK)
	for _, path := range []string{"/v1", "/v2/events", "/v1/events/", "/V1/events", "/healthz/x"} {
		if got := caller.get(path); got.status != http.StatusNotFound || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s", path, got.status, got.header.Get("Content-Type"))
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, "PROPFIND", "BREW"} {
		if got := caller.do(method, "/v1/events", nil); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, POST, HEAD" {
			t.Errorf("%s: got %d: %s", method, got.status, got.body)
		}
	}
}

// Issue 2, part 9: what an operator watches is on /metrics, and nothing of the tenants' content is.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	acme, hook := newTenant(t, s), receive(t, answers(500, 200))
	sub := acme.subscribe(hook, "*", nil)
	acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "succeeded")
	stuck := acme.subscribe(receive(t, answers(500)), "target.imported", object{"retrySchedule": []string{"1h"}})
	imported := acme.emit(acme.visit("target.imported", nil))
	acme.settled(imported, sub.ID, "succeeded")
	acme.settled(imported, stuck.ID, "retrying")
	text := ""
	eventually(t, "the queue is read", func() bool {
		text = scrape(t, s)
		return regexp.MustCompile(`(?m)^ordinavo_queue_depth\{.*status="retrying".*\} 1$`).MatchString(text)
	})
	for _, form := range []string{
		`(?m)^ordinavo_attempt_duration_seconds_bucket\{.*le="[^"]+".*\} \d+$`,
		`(?m)^ordinavo_attempts_total\{.*outcome="succeeded".*\} 2$`, `(?m)^ordinavo_attempts_total\{.*outcome="http_status".*\} 2$`,
		`(?m)^ordinavo_queue_oldest_due_age_seconds(\{.*\})? \S+$`,
		`(?m)^ordinavo_fanout_deferring(\{.*\})? 0$`, `(?m)^ordinavo_fanout_oldest_age_seconds(\{.*\})? \S+$`,
		`(?m)^ordinavo_events_set_aside(\{.*\})? 0$`, `(?m)^ordinavo_events_accepted_total\{.*type="visit_report.approved".*\} 1$`, `(?m)^ordinavo_fanout_lag_seconds_count(\{.*\})? \d+$`,
		`(?m)^http_server_request_duration_seconds_count\{.*http_request_method="POST".*http_response_status_code="202".*http_route="/v1/events".*\} 2$`,
		`(?m)^db_client_connection_count\{.*state="used".*\} [1-9]\d*$`, `(?m)^db_client_connection_max(\{.*\})? [1-9]\d*$`, `(?m)^db_client_connection_pending_requests(\{.*\})? \d+$`,
		`(?m)^ordinavo_database_polling(\{.*\})? 0$`, `(?m)^ordinavo_loop_failures_total\{.*loop="dispatch".*\} 0$`, `(?m)^ordinavo_attempt_abandoned_total(\{.*\})? 0$`,
	} {
		if !regexp.MustCompile(form).MatchString(text) {
			t.Errorf("no %s in\n%s", form, grepOrdinavo(text))
		}
	}
	for _, content := range []string{sub.Secret, platformKey, acme.id, sub.ID, "Rhein-Ruhr", "Ruhr Service", "Anna Weber", "Maintenance visit", hook.url} {
		if strings.Contains(text, content) {
			t.Errorf("the metrics have %q", content)
		}
	}
}

// An attempt that dies with its process is counted by the one that takes its delivery over.
func TestAnAttemptThatDiesIsCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme := newTenant(t, s)
	held := make(chan struct{})
	hook := receive(t, func(n int, _ arrival, _ http.ResponseWriter) {
		if n == 1 {
			<-held
		}
	})
	t.Cleanup(func() { close(held) }) // before the receiver waits for who holds on
	acme.subscribe(hook, "*", nil)
	acme.emit(acme.visit("visit_report.approved", nil))
	eventually(t, "the attempt is out", func() bool { return len(hook.all()) == 1 })
	s.kill()
	s = start(t, dir)
	counted(t, s, `ordinavo_attempt_abandoned_total(\{.*\})? 1`)
	eventually(t, "the delivery is attempted again", func() bool { return len(hook.all()) == 2 })
}

// A delivery that ends without an attempt, with its subscription, is counted too.
func TestADeliveryThatIsCancelledIsCounted(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	acme := newTenant(t, s)
	sub := acme.subscribe(receive(t, answers(500)), "*", object{"retrySchedule": []string{"1h"}})
	acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "retrying")
	acme.do(http.MethodDelete, "/v1/subscriptions/"+sub.ID, nil).want(http.StatusNoContent)
	counted(t, s, `ordinavo_deliveries_ended_total\{.*status="cancelled".*\} 1`)
}

// A delivery that a replay begins is counted as begun, as it will be as ended.
func TestADeliveryThatAReplayBeginsIsCounted(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	acme := newTenant(t, s)
	sub := acme.subscribe(receive(t, answers(200)), "*", nil)
	acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "succeeded")
	acme.do(http.MethodPost, "/v1/subscriptions/"+sub.ID+"/replay", object{"mode": "rerender"}).want(http.StatusAccepted)
	counted(t, s, `ordinavo_deliveries_ended_total\{.*status="succeeded".*\} 2`)
	counted(t, s, `ordinavo_deliveries_scheduled_total(\{.*\})? 2`)
}

// counted waits until a line of the metrics has the form.
func counted(t *testing.T, s *service, form string) {
	t.Helper()
	line := regexp.MustCompile("(?m)^" + form + "$")
	eventually(t, "it is counted: "+form, func() bool { return line.MatchString(scrape(t, s)) })
}

func scrape(t *testing.T, s *service) string {
	t.Helper()
	response, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", response.StatusCode, err)
	}
	return string(text)
}

func grepOrdinavo(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "ordinavo_") && !strings.Contains(line, "_bucket") {
			kept = append(kept, strings.TrimSpace(line))
		}
	}
	return strings.Join(kept, "\n")
}

// The document is OpenAPI 3.1 and describes every operation so that a reader can use it.
func TestTheDocument(t *testing.T) {
	t.Parallel()
	d := into[struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Responses            map[string]any
		}
	}](sharedService(t).platform(t).get("/openapi.json").want(http.StatusOK))
	if !strings.HasPrefix(d.OpenAPI, "3.1") || len(d.Paths) < 20 {
		t.Errorf("OpenAPI %s with %d paths", d.OpenAPI, len(d.Paths))
	}
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for method, o := range item {
			if o.OperationID == "" || ids[o.OperationID] || o.Summary == "" || len(o.Responses) < 2 {
				t.Errorf("%s %s: %+v", method, path, o)
			}
			ids[o.OperationID] = true
		}
	}
}

// Event types: all 19 with an example that its own schema takes.
func TestEventTypes(t *testing.T) {
	t.Parallel()
	caller := sharedService(t).platform(t)
	list := into[page[struct{ EventType string }]](caller.get("/v1/event-types").want(http.StatusOK))
	if len(list.Data) != 19 {
		t.Errorf("%d types", len(list.Data))
	}
	for _, each := range list.Data {
		caller.get("/v1/event-types/" + each.EventType).want(http.StatusOK)
	}
	caller.get("/v1/event-types/nonsense").refused(http.StatusNotFound, "not_found")
}

// One record of the directory: written, read and deleted.
func TestDirectoryRecords(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for path, body := range map[string]object{
		"customers/7": {"name": "Seven", "customerNumber": "C-7"}, "locations/7": {"name": "Seven", "city": "Köln", "hasCoordinates": false}, "contacts/7": {"displayName": "Siebert"},
	} {
		path = "/v1/directory/" + path
		acme.get(path).refused(http.StatusNotFound, "not_found")
		put := acme.do(http.MethodPut, path, body).want(http.StatusOK)
		if got := acme.get(path).want(http.StatusOK); string(got.body) != string(put.body) {
			t.Errorf("%s: got %s, want %s", path, got.body, put.body)
		}
		acme.do(http.MethodDelete, path, nil).want(http.StatusNoContent)
		acme.get(path).refused(http.StatusNotFound, "not_found")
	}
	mapping := "/v1/directory/external-ids?sourceSystem=sap&entityType=customer&ordinavoId=12"
	acme.get(mapping).want(http.StatusOK)
	acme.do(http.MethodDelete, mapping, nil).want(http.StatusNoContent)
	acme.get(mapping).refused(http.StatusNotFound, "not_found")
}
