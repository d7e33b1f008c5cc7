package telemetry_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

// everythingCounted is what /metrics shows after each instrument was used.
func everythingCounted(t *testing.T) string {
	running := start(t, telemetry.Config{}, nil)
	m, ctx := running.Metrics(), t.Context()
	for _, late := range []time.Duration{2 * time.Millisecond, 20 * time.Second, -time.Millisecond} { // a clock was set back
		m.AttemptStarted(ctx)
		m.AttemptDelayed(ctx, late)
	}
	m.AttemptDone(ctx, delivery.Outcome{Kind: delivery.KindSucceeded, Status: 204, Duration: 20 * time.Millisecond})
	m.AttemptDone(ctx, delivery.Outcome{Kind: delivery.KindTimeout, Duration: 10 * time.Second})
	m.StaleLease(ctx)
	m.AttemptsAbandoned(ctx, 3)
	m.StepsFailed(ctx, "retention", 2)
	m.RequestServed(ctx, "POST", "/v1/events", 202, 8*time.Millisecond)
	m.RequestServed(ctx, "POST", "/v1/events", 202, -time.Millisecond) // a clock was set back
	m.RequestServed(ctx, "_OTHER", "", 405, time.Second)
	m.RequestServed(ctx, "GET", "/v1/events", 500, time.Minute)
	m.ShowConnections(func() metrics.Connections {
		return metrics.Connections{Used: 5, Idle: 2, Max: 16, Waiting: 9, Polling: true}
	})
	m.SubscriptionUnreadable(ctx)
	m.RecordUnreadable(ctx)
	m.EventsAccepted(ctx, []event.Type{event.TargetImported, event.TargetImported, event.BillingEventSent}, 4)
	m.EventsRefused(ctx, "open", 6)
	m.EventFannedOut(ctx, 2, 3*time.Millisecond)
	m.DeliveriesEnded(ctx, delivery.StatusDeadLetter, 5)
	m.DeliveriesEnded(ctx, delivery.StatusRetrying, 9) // is no end
	m.ShowQueue(func(context.Context) (metrics.Queue, bool) {
		return metrics.Queue{Depth: map[delivery.Status]int{delivery.StatusPending: 7}, OldestDue: 90 * time.Second, OldestUnrouted: 4 * time.Second, Deferring: 6, SetAside: 8, Circuits: map[circuit.State]int{circuit.Open: 2}}, true
	})
	m.ReadReconciliation(func(context.Context) (reconciliation.Result, error) {
		return reconciliation.Result{Unbalanced: 3, CheckedAt: time.Unix(1_800_000_000, 0)}, nil
	})
	return scrape(t, running)
}

func TestMetricsForPrometheus(t *testing.T) {
	text := everythingCounted(t)
	for _, line := range []string{
		`ordinavo_reconciliation_unbalanced 3`,
		`ordinavo_reconciliation_checked_seconds 1.8e+09`,
		`ordinavo_attempt_duration_seconds_count{outcome="succeeded",status_class="2xx"} 1`,
		`ordinavo_attempt_duration_seconds_bucket{outcome="succeeded",status_class="2xx",le="0.025"} 1`,
		`ordinavo_attempts_total{outcome="timeout",status_class="none"} 1`,
		`ordinavo_attempts_in_flight 1`,
		`ordinavo_attempt_delay_seconds_bucket{le="0.001"} 1`,
		`ordinavo_attempt_delay_seconds_bucket{le="0.0025"} 2`,
		`ordinavo_attempt_delay_seconds_bucket{le="30"} 3`,
		`ordinavo_attempt_stale_leases_total 1`,
		`ordinavo_attempt_abandoned_total 3`,
		`ordinavo_loop_failures_total{loop="retention"} 2`,
		`http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="202",http_route="/v1/events"} 2`,
		`http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="202",http_route="/v1/events",le="0.005"} 1`,
		`http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="202",http_route="/v1/events",le="0.01"} 2`,
		`http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="405"} 1`,
		`db_client_connection_count{db_client_connection_state="used"} 5`,
		`db_client_connection_count{db_client_connection_state="idle"} 2`,
		`db_client_connection_max 16`,
		`db_client_connection_pending_requests 9`,
		`ordinavo_database_polling 1`,
		`ordinavo_fanout_unreadable_changes_total 1`,
		`ordinavo_fanout_unreadable_records_total 1`,
		`ordinavo_events_accepted_total{type="target.imported"} 2`,
		`ordinavo_events_accepted_total{type="billing.event_sent"} 1`,
		`ordinavo_events_duplicates_total 4`,
		`ordinavo_events_refused_total{reason="open"} 6`,
		`ordinavo_fanout_lag_seconds_count 1`,
		`ordinavo_deliveries_scheduled_total 2`,
		`ordinavo_deliveries_ended_total{status="dead_letter"} 5`,
		`ordinavo_queue_depth{status="pending"} 7`,
		`ordinavo_fanout_oldest_age_seconds 4`,
		`ordinavo_fanout_deferring 6`,
		`ordinavo_queue_depth{status="parked"} 0`,
		`ordinavo_queue_oldest_due_age_seconds 90`,
		`# HELP ordinavo_queue_oldest_due_age_seconds How long the oldest due delivery has waited, those of spared receivers included.`,
		`ordinavo_events_set_aside 8`,
		`ordinavo_circuits{state="open"} 2`,
		`ordinavo_circuits{state="half_open"} 0`,
		`go_goroutines `,
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	if strings.Contains(text, `ended_total{status="retrying"}`) || strings.Contains(text, `queue_depth{status="succeeded"}`) {
		t.Error("a status is shown that has no place there")
	}
	if t.Failed() {
		t.Log(text)
	}
}

// What intake, fan-out and dispatch report is what /metrics counts.
func TestWhatIsObservedIsCounted(t *testing.T) {
	o, _, running := observe(t)
	ctx := t.Context()
	o.EventsAccepted(ctx, []event.Type{event.TargetImported}, 2)
	o.EventsRefused(ctx, intake.Reasons()[0], 3)
	o.SubscriptionUnreadable(ctx, fanout.SubscriptionChange{})
	o.SubscriptionLost(ctx, dispatch.Lane{})
	o.RecordUnreadable(ctx, fanout.Record{})
	o.StaleLease(ctx, "dlv_1")
	o.DeliveriesEnded(ctx, delivery.StatusSucceeded, 4)
	text := scrape(t, running)
	for _, line := range []string{
		`ordinavo_events_accepted_total{type="target.imported"} 1`, `ordinavo_events_duplicates_total 2`,
		fmt.Sprintf(`ordinavo_events_refused_total{reason=%q} 3`, intake.Reasons()[0]),
		`ordinavo_fanout_unreadable_changes_total 2`, `ordinavo_fanout_unreadable_records_total 1`,
		`ordinavo_attempt_stale_leases_total 1`, `ordinavo_deliveries_ended_total{status="succeeded"} 4`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}

// An alert asks for it.
func TestAProcessThatHearsOfCommitsDoesNotPoll(t *testing.T) {
	running := start(t, telemetry.Config{}, nil)
	for polling, want := range map[bool]string{true: "1", false: "0"} {
		running.Metrics().ShowConnections(func() metrics.Connections { return metrics.Connections{Polling: polling} })
		if text := scrape(t, running); !strings.Contains(text, "\nordinavo_database_polling "+want+"\n") {
			t.Errorf("polling is %t, and /metrics does not say %s:\n%s", polling, want, text)
		}
	}
}

// A receiver that is spared gets less; what is counted gets nothing but probes. And a subscription that is lost is counted with the changes.
// Three processes show one queue three times, and a panel that sums it up has three times what there is.
func TestHelpSaysWhatIsCounted(t *testing.T) {
	shown := everythingCounted(t)
	for metric, said := range map[string]string{"ordinavo_circuits": "nothing but probes", "ordinavo_fanout_unreadable_changes_total": "subscriptions of which nothing can",
		"ordinavo_queue_depth": "largest, and no sum", "ordinavo_events_set_aside": "largest, and no sum", "ordinavo_reconciliation_unbalanced": "largest, and no sum"} {
		if !regexp.MustCompile(`(?m)^# HELP ` + metric + ` .*` + said).MatchString(shown) {
			t.Errorf("%s does not say %q", metric, said)
		}
	}
}

// The alerts that come with the service ask for metrics that it has, by labels that these have.
func TestAlertsNameMetricsThatExist(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	shown := everythingCounted(t)
	names := regexp.MustCompile(`\b((?:ordinavo|http|db)_\w+)(?:\{([^}]*)\})?`)
	asked := 0
	for _, expression := range regexp.MustCompile(`(?m)^ +expr: (.*)$`).FindAllStringSubmatch(string(rules), -1) {
		for _, metric := range names.FindAllStringSubmatch(expression[1], -1) {
			asked++
			metric[2] = regexp.MustCompile(`,?\w+!~"[^"]*"`).ReplaceAllString(metric[2], "") // what it leaves out need not be there
			if !regexp.MustCompile(`\n` + metric[1] + `(\{[^}]*` + strings.Replace(metric[2], "=~", "=", 1) + `[^}]*\})? `).MatchString(shown) {
				t.Errorf("there is no %s that %s could ask for", metric[0], expression[1])
			}
		}
		for _, by := range regexp.MustCompile(`(?:by|on) \(([^)]*)\)`).FindAllStringSubmatch(expression[1], -1) {
			for _, name := range strings.Split(by[1], ", ") {
				if !slices.Contains([]string{"job", "instance"}, name) && !strings.Contains(shown, name+`="`) {
					t.Errorf("no metric has the label %q of %s", name, expression[1])
				}
			}
		}
	}
	if asked < 10 {
		t.Errorf("only %d metrics are asked for", asked)
	}
}

// Where one Prometheus looks after several deployments, what one shows must not hide what another lacks.
func TestEachAlertJudgesEachJobByItself(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	expressions := regexp.MustCompile(`(?m)^ +expr: (.*)$`).FindAllStringSubmatch(string(rules), -1)
	for _, expression := range expressions {
		if !regexp.MustCompile(`(?:by|on) \(job\b`).MatchString(expression[1]) {
			t.Errorf("it is the same for all jobs: %s", expression[1])
		}
	}
	if len(expressions) < 10 {
		t.Errorf("only %d are there", len(expressions))
	}
}

// Probes and scrapes are answered while nothing else is: where few events come in, they would make most of the requests that succeed.
func TestTheShareOfRequestsThatFailLeavesProbesOut(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	counted := regexp.MustCompile(`http_server_request_duration_seconds_count(?:\{[^}]*\})?`).FindAllString(string(rules), -1)
	for _, requests := range counted {
		without := regexp.MustCompile(`http_route!~"([^"]*)"`).FindStringSubmatch(requests)
		if without == nil {
			t.Errorf("%s leaves nothing out", requests)
			continue
		}
		left := regexp.MustCompile("^(?:" + without[1] + ")$") // as Prometheus does
		for route, out := range map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true, "/v1/events": false, "/v1/metrics/deliveries": false, "": false} {
			if left.MatchString(route) != out {
				t.Errorf("%s leaves out %q: %t", requests, route, !out)
			}
		}
	}
	if len(counted) == 0 {
		t.Error("none are counted")
	}
}

// Prometheus takes a counter that comes up as 1 for one that has not grown: an alert for the first would stay silent. And what tells that a
// process is there must be there from its start on.
func TestWhatAlertsAskTheIncreaseOfBeginsAtZero(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	shown := scrape(t, start(t, telemetry.Config{}, nil))
	asked := regexp.MustCompile(`(?:increase|absent|count)\((ordinavo_\w+(?:\{[^}]*\})?)`).FindAllStringSubmatch(string(rules), -1)
	for _, metric := range asked {
		if !strings.Contains(shown, "\n"+metric[1]+" 0\n") {
			t.Errorf("%s does not begin at 0", metric[1])
		}
	}
	if len(asked) < 4 {
		t.Errorf("only %d are asked for", len(asked))
	}
	if !strings.Contains(shown, "\nordinavo_events_duplicates_total 0\n") {
		t.Error("duplicates do not begin at 0")
	}
}

// A share of nothing is nothing, and an alert on it silent: where every attempt fails, none has succeeded yet.
func TestWhatAlertsAskAShareOfBeginsAtZero(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	shown := scrape(t, start(t, telemetry.Config{}, nil))
	asked := regexp.MustCompile(`rate\((ordinavo_\w+)\{([^}]*)\}`).FindAllStringSubmatch(string(rules), -1)
	for _, metric := range asked {
		if !regexp.MustCompile(`\n` + metric[1] + `\{[^}]*` + metric[2] + `[^}]*\} 0\n`).MatchString(shown) {
			t.Errorf("%s{%s} does not begin at 0", metric[1], metric[2])
		}
	}
	if len(asked) == 0 {
		t.Error("none is asked for")
	}
	for _, reason := range intake.Reasons() {
		if !strings.Contains(shown, "\nordinavo_events_refused_total{reason=\""+string(reason)+"\"} 0\n") {
			t.Errorf("what is refused for %s does not begin at 0", reason)
		}
	}
}

// Whoever is told that events are refused finds what each reason means.
func TestReasonsOfARefusalAreExplained(t *testing.T) {
	for file, form := range map[string]string{"../../deploy/prometheus-alerts.yml": "description: .*\\b%s\\b", "../../docs/operate.md": "(?m)^- .*`%s` \\("} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range intake.Reasons() {
			if !regexp.MustCompile(fmt.Sprintf(form, reason)).Match(text) {
				t.Errorf("%s does not say what %s means", file, reason)
			}
		}
	}
}

// An outcome that this version does not know is counted with the labels of the others.
func TestAnUnknownOutcomeHasAllLabels(t *testing.T) {
	running := start(t, telemetry.Config{}, nil)
	running.Metrics().AttemptDone(t.Context(), delivery.Outcome{Kind: "later", Status: 503})
	if text := scrape(t, running); !strings.Contains(text, "\nordinavo_attempts_total{outcome=\"unknown\",status_class=\"5xx\"} 1\n") {
		t.Errorf("got %s", text)
	}
}

func TestAQueueThatCannotBeReadHidesNoOtherMetric(t *testing.T) {
	running := start(t, telemetry.Config{}, nil)
	running.Metrics().EventFannedOut(t.Context(), 2, time.Second)
	running.Metrics().ShowQueue(func(context.Context) (queue metrics.Queue, known bool) { return queue, false })
	text := scrape(t, running)
	if !strings.Contains(text, "ordinavo_deliveries_scheduled_total 2") || strings.Contains(text, "ordinavo_queue_depth") {
		t.Errorf("got %s", text)
	}
}
