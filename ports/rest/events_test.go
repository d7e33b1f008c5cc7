package rest_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/ports/rest"
)

func TestEmit(t *testing.T) {
	h := newHarness(t)
	single := h.call(h.platform, "POST", "/v1/events", oneEvent).expect(202)
	if !strings.HasPrefix(single.body, `{"results":[{"eventId":"evt_`) || !strings.HasSuffix(single.body, `","status":"accepted"}]}`) {
		t.Error(single.body)
	}
	got := h.store.events[0]
	if got.Type != event.VisitReportApproved || *got.CustomerID != 12 || *got.VisitReport.Title != "Ä" || got.Target.ID != 455 || !got.OccurredAt.Equal(time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)) {
		t.Errorf("decoded %+v", got)
	}
	if h.store.traceParents[0] != "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" {
		t.Errorf("trace parent %q", h.store.traceParents[0])
	}
	named := strings.Replace(oneEvent, `{`, `{"eventId":"evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C",`, 1)
	if got := h.call(h.admin, "POST", "/v1/events", `{"events":[`+named+`,`+named+`]}`).expect(202); !strings.Contains(got.body, "accepted") || !strings.Contains(got.body, "duplicate") {
		t.Error(got.body)
	}
	lines := oneEvent + "\n\n  \r\n" + oneEvent + "\r\n"
	if got := h.call(h.admin, "POST", "/v1/events", lines, "Content-Type", "application/x-ndjson; charset=utf-8").expect(202); strings.Count(got.body, "eventId") != 2 {
		t.Error(got.body)
	}
}

func TestAnUnreadableFieldIsNotAlsoMissing(t *testing.T) {
	h := newHarness(t)
	got := h.call(h.admin, "POST", "/v1/events", strings.NewReplacer("2026-06-18T16:40:00Z", "today", "901", `"x"`).Replace(oneEvent)).expect(400)
	errors := got.refused("validation_failed", "occurredAt", "visitReport.id").json()["errors"].(map[string]any)
	for path, messages := range errors {
		if len(messages.([]any)) != 1 {
			t.Errorf("%s: %v", path, messages)
		}
	}
}

// What stands where an object should be has no fields that could be missing.
func TestWhatCouldNotBeReadLacksNothing(t *testing.T) {
	h := newHarness(t)
	for body, field := range map[string]string{
		`{"events":[null]}`:                                          "events[0]",
		`{"events":[` + oneEvent + `,[1]]}`:                          "events[1]",
		wholeEvent(`"appointment":7`):                                "appointment",
		`{"events":[` + wholeEvent(`"appointment":"x"`) + `]}`:       "events[0].appointment",
		wholeEvent(`"appointment":{"id":1},"target":[{"title":""}]`): "target",
	} {
		got := h.call(h.admin, "POST", "/v1/events", body).expect(400).refused("validation_failed", field)
		if errors := got.json()["errors"].(map[string]any); len(errors) != 1 {
			t.Errorf("%s: %v", body, errors)
		}
	}
	got := h.call(h.admin, "POST", "/v1/events", strings.Replace(oneEvent, "2026-06-18T16:40:00Z", "0001-01-01T00:00:00Z", 1)).expect(400).refused("validation_failed", "occurredAt")
	if strings.Contains(got.body, "is missing") || !strings.Contains(got.body, "later than the beginning of the year 1") {
		t.Error(got.body)
	}
	got = h.call(h.admin, "POST", "/v1/events", oneEvent, "Content-Type", "application/ndjson").expect(400).refused("invalid_request")
	if !strings.Contains(got.body, "application/x-ndjson") {
		t.Error(got.body)
	}
}

// A batch names all of its bad fields, up to a hundred.
func TestABatchNamesAllItsBadFields(t *testing.T) {
	h := newHarness(t)
	bad := strings.Replace(oneEvent, "901", "0", 1)
	got := h.call(h.admin, "POST", "/v1/events", `{"events":[`+bad+`,`+oneEvent+`,`+bad+`]}`).expect(400)
	got.refused("validation_failed", "events[0].visitReport.id", "events[2].visitReport.id")
	got = h.call(h.admin, "POST", "/v1/events", `{"events":[`+strings.Repeat(bad+",", 200)+bad+`]}`).expect(400)
	if errors := got.json()["errors"].(map[string]any); len(errors) != 100 {
		t.Errorf("%d fields", len(errors))
	}
	if len(h.store.events) != 0 {
		t.Error("a part of a batch was accepted")
	}
}

// Whoever sends many finds the results in the order of its events.
func TestABatchIsAnsweredInItsOrder(t *testing.T) {
	h := newHarness(t)
	named := func(id string) string { return strings.Replace(oneEvent, "{", `{"eventId":"`+id+`",`, 1) }
	first, second := "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3A", "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3B"
	got := h.call(h.admin, "POST", "/v1/events", `{"events":[`+named(second)+`,`+named(first)+`]}`).expect(202)
	if want := `{"results":[{"eventId":"` + second + `","status":"accepted"},{"eventId":"` + first + `","status":"accepted"}]}`; got.body != want {
		t.Errorf("answered %s, want %s", got.body, want)
	}
}

func TestEmitForWhichTenant(t *testing.T) {
	h := newHarness(t)
	without := strings.Replace(oneEvent, `"tenantId":"tenant-123",`, "", 1)
	elsewhere := strings.Replace(oneEvent, own, alien, 1)
	h.call(h.admin, "POST", "/v1/events", without).expect(202)
	h.call(h.platform, "POST", "/v1/events", without, "X-Ordinavo-Tenant", own).expect(202)
	for _, e := range h.store.events {
		if e.TenantID != own {
			t.Errorf("tenant %q", e.TenantID)
		}
	}
	h.call(h.platform, "POST", "/v1/events", elsewhere).expect(202)
	h.call(h.platform, "POST", "/v1/events", without).expect(400).refused("validation_failed", "tenantId")
	h.call(h.platform, "POST", "/v1/events", strings.Replace(oneEvent, own, "nobody", 1)).expect(400).refused("validation_failed", "tenantId")
	h.call(h.platform, "POST", "/v1/events", `{"events":[`+strings.Replace(oneEvent, own, "nobody", 1)+`]}`).expect(400).refused("validation_failed", "events[0].tenantId")
	h.call(h.admin, "POST", "/v1/events", elsewhere).expect(403).refused("forbidden")
	h.call(h.admin, "POST", "/v1/events", without, "X-Ordinavo-Tenant", alien).expect(404).refused("not_found")
	h.call(h.reader, "POST", "/v1/events", oneEvent).expect(403).refused("missing_scope")
	h.call(h.bound, "POST", "/v1/events", oneEvent).expect(403).refused("forbidden")
}

// The header and the body must not name two tenants: the event would go to one of them, and nobody be told.
func TestEmitForOneTenantAlone(t *testing.T) {
	h := newHarness(t)
	elsewhere := strings.Replace(oneEvent, own, alien, 1)
	emit := func(body string, headers ...string) answer {
		t.Helper()
		return h.call(h.platform, "POST", "/v1/events", body, headers...)
	}
	emit(elsewhere, "X-Ordinavo-Tenant", own).expect(400).refused("validation_failed", "tenantId")
	emit(oneEvent, "X-Ordinavo-Tenant", "doesnotexist").expect(400).refused("validation_failed", "tenantId")
	emit(`{"events":[`+oneEvent+`,`+elsewhere+`]}`, "X-Ordinavo-Tenant", own).expect(400).refused("validation_failed", "events[1].tenantId")
	emit(oneEvent+"\n"+elsewhere, "X-Ordinavo-Tenant", own, "Content-Type", "application/x-ndjson").expect(400).refused("validation_failed", "events[1].tenantId")
	h.call(h.platform, "POST", "/v1/events/preview", elsewhere, "X-Ordinavo-Tenant", own).expect(400).refused("validation_failed", "tenantId")
	if len(h.store.events) != 0 {
		t.Errorf("accepted %+v", h.store.events)
	}
	emit(oneEvent, "X-Ordinavo-Tenant", own).expect(202)
	emit(`{"events":[`+oneEvent+`]}`, "X-Ordinavo-Tenant", own).expect(202)
	emit(oneEvent, "X-Ordinavo-Tenant", "").expect(202)
}

// What stands beside a batch is meant for its events, which would be accepted without it.
func TestABatchHasNoFieldsOfAnEventBesideIt(t *testing.T) {
	h := newHarness(t)
	without := strings.Replace(oneEvent, `"tenantId":"tenant-123",`, "", 1)
	for _, body := range []string{`{"tenantId":"t2","events":[` + without + `]}`, `{"events":[` + without + `],"tenantId":"tenant-123"}`, `{"events":[` + without + `],"tenantId":2}`} {
		h.call(h.platform, "POST", "/v1/events", body, "X-Ordinavo-Tenant", own).expect(400).refused("validation_failed", "tenantId")
	}
	h.call(h.admin, "POST", "/v1/events", `{"eventType":"x","target":{},"events":[`+without+`]}`).expect(400).refused("validation_failed", "eventType", "target")
	h.call(h.admin, "POST", "/v1/events", `{"batch":7,"customerId":null,"events":[`+without+`]}`).expect(202)
}

// What receivers get, what the API shows and what a duplicate is compared by is one time.
func TestOccurredAtIsKeptToTheMicrosecond(t *testing.T) {
	h := newHarness(t)
	const id, kept = "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", "2026-06-18T16:40:00.123456Z"
	finer := strings.NewReplacer(`{"eventType"`, `{"eventId":"`+id+`","eventType"`, "16:40:00Z", "16:40:00.123456789Z").Replace(oneEvent)
	emit := func(body string, headers ...string) answer {
		t.Helper()
		return h.call(h.admin, "POST", "/v1/events", body, headers...).expect(202)
	}
	emit(finer)
	emit(`{"events":[` + finer + `]}`)
	emit(finer+"\n", "Content-Type", "application/x-ndjson")
	if got := emit(strings.Replace(finer, "2026-06-18T16:40:00.123456789Z", kept, 1)); !strings.Contains(got.body, "duplicate") {
		t.Error(got.body)
	}
	for _, e := range h.store.events {
		if got := e.OccurredAt.Format(time.RFC3339Nano); got != kept {
			t.Errorf("it occurred at %s", got)
		}
	}
	h.subscribe()
	if got := h.call(h.admin, "POST", "/v1/events/preview", finer).expect(200); strings.Contains(got.body, "123456789") || !strings.Contains(got.body, kept) {
		t.Error(got.body)
	}
}

// The strings of an event must not be those of a buffer that the next request overwrites.
func TestEventsOutliveTheirRequest(t *testing.T) {
	h := newHarness(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				title := fmt.Sprintf("%d-%d-%s", i, j, strings.Repeat(string(rune('a'+i)), 200))
				h.call(h.admin, "POST", "/v1/events", strings.Replace(oneEvent, "Ä", title, 1), "Idempotency-Key", title[:4]).expect(202)
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, e := range h.store.events {
		title := *e.VisitReport.Title
		var i, j int
		if n, err := fmt.Sscanf(title, "%d-%d-", &i, &j); n != 2 || title != fmt.Sprintf("%d-%d-%s", i, j, strings.Repeat(string(rune('a'+i)), 200)) {
			t.Fatalf("a title was overwritten: %q (%v)", title, err)
		}
		seen[title] = true
	}
	if len(seen) != 160 {
		t.Errorf("%d events, want 160", len(seen))
	}
}

func withDeliveries(t *testing.T, change ...func(*rest.Dependencies)) *harness {
	h := newHarness(t, change...)
	h.store.subscriptions[dispatch.Lane{Tenant: own, SubscriptionID: "sub_free"}] = subscription.Subscription{ID: "sub_free", Tenant: own,
		Status: subscription.StatusActive, Version: 1, Settings: subscription.Settings{EventTypes: subscription.Filter{"target.imported"}}}
	for id, types := range map[string]string{"sub_bound": "*", "sub_gated": "billing.*", "sub_later": "*"} {
		h.store.subscriptions[dispatch.Lane{Tenant: own, SubscriptionID: id}] = subscription.Subscription{ID: id, Tenant: own,
			Status: subscription.StatusActive, Version: 1, CreatedAt: h.now, Settings: subscription.Settings{URL: "https://a.example/hook", EventTypes: subscription.Filter{types}}}
	}
	for i := range 5 {
		d := delivery.Delivery{ID: fmt.Sprintf("dlv_%d", i), Tenant: own, EventID: "evt_1", EventType: event.VisitReportApproved, SubscriptionID: "sub_bound",
			SubscriptionVersion: 3, Status: delivery.StatusDeadLetter, Attempts: 1, Version: 2, CreatedAt: h.now}
		if i == 4 {
			d.SubscriptionID = "sub_else"
		}
		h.store.deliveries = append(h.store.deliveries, d)
		h.store.changes[d.ID] = []delivery.Change{delivery.AttemptFailed{Attempt: delivery.Attempt{Number: 1, Outcome: delivery.Outcome{
			Kind: delivery.KindHTTPStatus, Status: 500, Duration: 12400 * time.Microsecond, StartedAt: h.now, ResponseBody: []byte("no\xff\x1b[31m\u009b31m\u007f"),
			RequestHeaders: map[string]string{"X-Ordinavo-Event-Id": "evt_1"}, Error: "status 500", TraceID: "abc"}}}}
		h.store.accepted = append(h.store.accepted, queries.Event{ID: fmt.Sprintf("evt_%d", i+1), Type: event.VisitReportApproved, Tenant: own, Sequence: int64(i + 1),
			AcceptedAt: h.now.Add(time.Duration(i-4) * time.Minute), TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
	}
	return h
}

func TestEventQueries(t *testing.T) {
	h := withDeliveries(t)
	got := h.call(h.admin, "GET", "/v1/events/evt_1", "").expect(200)
	for _, want := range []string{
		`"traceId":"4bf92f3577b34da6a3ce929d0e0e4736"`,
		`{"subscriptionId":"sub_gated","outcome":"feature_gated","deliveryId":null,"status":null,"reason":`,
		`{"subscriptionId":"sub_free","outcome":"not_matched","deliveryId":null,"status":null,"reason":`,
		`{"subscriptionId":"sub_bound","outcome":"delivery","deliveryId":"dlv_0","status":"dead_letter","reason":"its pattern * wants visit_report.approved; it was given up after attempt 1"`,
		`"replays":[{"subscriptionId":"sub_bound","outcome":"delivery","deliveryId":"dlv_1"`,
		`"createdLater":[{"subscriptionId":"sub_later","createdAt":"2026-06-18T17:00:00Z","reason":`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("lacks %s: %s", want, got.body)
		}
	}
	listed := h.call(h.admin, "GET", "/v1/events?limit=5", "").expect(200)
	for _, want := range []string{`"deliveries":[{"deliveryId":"dlv_0","subscriptionId":"sub_bound","status":"dead_letter"}`, `"deliveries":[],"moreDeliveries":false`} {
		if !strings.Contains(listed.body, want) {
			t.Errorf("lacks %s: %s", want, listed.body)
		}
	}
	h.call(h.other, "GET", "/v1/events/evt_1", "").expect(404).refused("not_found")
	h.call(h.bound, "GET", "/v1/events/evt_1", "").expect(403).refused("forbidden")
	if ids := h.walk("/v1/events?limit=2", "eventId"); strings.Join(ids, " ") != "evt_5 evt_4 evt_3 evt_2 evt_1" {
		t.Errorf("pages: %v", ids)
	}
	for filter, want := range map[string]string{"since=2026-06-18T16:57:00Z&until=2026-06-18T16:59:00Z": "evt_3 evt_2", "eventType=target.imported": ""} {
		if ids := h.walk("/v1/events?"+filter, "eventId"); strings.Join(ids, " ") != want {
			t.Errorf("%s lists %v", filter, ids)
		}
	}
}

// walk follows the pages of a list to its end.
func (h *harness) walk(path, id string) (ids []string) {
	h.Helper()
	next := path
	for range 20 {
		page := h.call(h.admin, "GET", next, "").expect(200)
		for _, row := range page.json()["data"].([]any) {
			ids = append(ids, row.(map[string]any)[id].(string))
		}
		cursor, more := page.json()["nextCursor"].(string)
		if !more {
			return ids
		}
		next = path + "&cursor=" + cursor
	}
	h.Fatal("the list has no end")
	return nil
}

// Contract, section 5: a page has 50 unless its caller asks otherwise.
func TestAPageHasFifty(t *testing.T) {
	h := newHarness(t)
	h.dead(h.subscribe(), 51)
	page := h.call(h.admin, "GET", "/v1/deliveries", "").expect(200).json()
	if rows := page["data"].([]any); len(rows) != 50 || page["nextCursor"] == nil {
		t.Errorf("%d rows, and the next page is %v", len(rows), page["nextCursor"])
	}
}

func TestDeliveries(t *testing.T) {
	h := withDeliveries(t)
	if ids := h.walk("/v1/deliveries?limit=2", "id"); strings.Join(ids, " ") != "dlv_4 dlv_3 dlv_2 dlv_1 dlv_0" {
		t.Errorf("pages: %v", ids)
	}
	if ids := h.walk("/v1/deliveries?status=succeeded", "id"); len(ids) != 0 {
		t.Errorf("pages: %v", ids)
	}
	// A list tells what failed, and why, without a request for each delivery.
	page := h.call(h.admin, "GET", "/v1/deliveries", "").expect(200)
	if !strings.Contains(page.body, `"lastAttempt":{"number":1,"startedAt":"2026-06-18T17:00:00Z","durationMs":12.4,"outcome":"http_status","responseStatus":500,"error":"status 500"}`) {
		t.Errorf("listed without their last attempts: %s", page.body)
	}
	got := h.call(h.admin, "GET", "/v1/deliveries/dlv_1", "").expect(200)
	for _, want := range []string{
		`"attemptCount":1,"nextAttemptAt":null,"subscriptionVersion":3,"warnings":[]`,
		`"request":{"url":"https://a.example/hook","headers":{"X-Ordinavo-Event-Id":"evt_1"},"body":"{\"a\":1}"}`,
		`"attempts":[{"number":1,"startedAt":"2026-06-18T17:00:00Z","durationMs":12.4,"outcome":"http_status"`,
		`"responseStatus":500,"responseHeaders":{},"responseBody":"no�\u001b[31m�31m�","error":"status 500","traceId":"abc"`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("lacks %s: %s", want, got.body)
		}
	}
	if got := h.call(h.admin, "POST", "/v1/deliveries/dlv_1/retry", "").expect(202); got.text("status") != "pending" {
		t.Error(got.body)
	}
	h.call(h.other, "GET", "/v1/deliveries/dlv_1", "").expect(404).refused("not_found")
	h.call(h.other, "POST", "/v1/deliveries/dlv_1/retry", "").expect(404).refused("not_found")
	elsewhere := dispatch.Lane{Tenant: own, SubscriptionID: "sub_else"}
	h.store.subscriptions[elsewhere] = subscription.Subscription{ID: elsewhere.SubscriptionID, Tenant: own, Status: subscription.StatusActive, Version: 1}
	h.call(h.admin, "GET", "/v1/deliveries/dlv_4", "").expect(200)
	h.call(h.bound, "GET", "/v1/deliveries/dlv_4", "").expect(404).refused("not_found")
	h.call(h.bound, "POST", "/v1/deliveries/dlv_4/retry", "").expect(404).refused("not_found")
	h.call(h.bound, "POST", "/v1/deliveries/dlv_3/retry", "").expect(202)
	if got := h.call(h.bound, "GET", "/v1/deliveries", "").expect(200); strings.Contains(got.body, "dlv_4") || !strings.Contains(got.body, "dlv_3") {
		t.Error(got.body)
	}
	for _, key := range []string{h.admin, h.bound} {
		if got := h.call(key, "GET", "/v1/deliveries?subscriptionId=sub_bound", "").expect(200); strings.Contains(got.body, "dlv_4") || !strings.Contains(got.body, "dlv_3") {
			t.Error(got.body)
		}
	}
	if got := h.call(h.bound, "GET", "/v1/deliveries?subscriptionId=sub_else", "").expect(200); got.body != `{"data":[],"nextCursor":null}` {
		t.Error(got.body)
	}
}

func TestCursors(t *testing.T) {
	h := withDeliveries(t)
	first := h.call(h.admin, "GET", "/v1/deliveries?limit=2", "").expect(200).text("nextCursor")
	for name, path := range map[string]string{
		"another list":     "/v1/events?limit=2&cursor=" + first,
		"another filter":   "/v1/deliveries?limit=2&status=parked&cursor=" + first,
		"no base64":        "/v1/deliveries?cursor=%25",
		"no JSON":          "/v1/deliveries?cursor=YWJj",
		"with whom? alien": "/v1/deliveries?limit=2&cursor=" + first,
	} {
		key := h.admin
		if strings.Contains(name, "alien") {
			key = h.other
		}
		t.Run(name, func(t *testing.T) { h.call(key, "GET", path, "").expect(400).refused("validation_failed", "cursor") })
	}
	h.now = h.now.Add(24*time.Hour + time.Second)
	h.call(h.admin, "GET", "/v1/deliveries?limit=2&cursor="+first, "").expect(400).refused("validation_failed", "cursor")
}
