package e2e_test

import (
	"database/sql"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

type previewed struct {
	EventID, SubscriptionID, Outcome, Reason string
	Matches                                  bool
	Status                                   *string
	Request                                  *struct {
		URL, Body string
		Headers   map[string]string
	}
	Origins []struct {
		Path, Origin, Detail string
		Value                any
	}
	Warnings []string
}

// previews is what each subscription of the tenant would get.
func (n tenant) previews(e object) map[string]previewed {
	n.t.Helper()
	bySubscription := map[string]previewed{}
	for _, p := range into[struct{ Subscriptions []previewed }](n.post("/v1/events/preview", e).want(http.StatusOK)).Subscriptions {
		bySubscription[p.SubscriptionID] = p
	}
	return bySubscription
}

// Issue 4, point 4: what the preview shows is what is sent afterwards, byte for byte, whatever the options and the source system.
func TestAPreviewIsWhatIsSent(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	acme.do(http.MethodPut, "/v1/tenants/"+acme.id+"/features/billing_webhooks", object{"enabled": true}).want(http.StatusOK)
	hooks := map[string]*receiver{}
	for _, more := range []object{
		nil, {"sourceSystem": "crm"}, {"payloadOptions": object{"summaryPreview": true, "billingDetails": true}}, {"payloadOptions": object{"customerContext": false}},
	} {
		hook := receive(t, nil)
		hooks[acme.subscribe(hook, "*", more).ID] = hook
	}
	visit := acme.visit("visit_report.follow_up_required", object{"eventId": eventID(), "followUp": object{"id": 7, "reason": "Ölwechsel <bald> & \"gut\"", "dueDate": "2026-07-02T10:00:00+02:00"}})
	bill := acme.billing("billing.event_ready")
	bill["eventId"], bill["contactId"] = eventID(), 999
	for i, e := range []object{visit, bill} {
		shown := acme.previews(e)
		acme.emit(e)
		for id, hook := range hooks {
			checkPreview(t, shown[id], hook.wait(i + 1)[i])
		}
	}
}

// checkPreview holds a preview to what arrived; what an attempt makes anew differs.
func checkPreview(t *testing.T, shown previewed, got arrival) {
	t.Helper()
	if shown.Request == nil || shown.Request.Body != string(got.body) {
		t.Errorf("previewed %+v\ngot %s", shown, got.body)
		return
	}
	for name, value := range shown.Request.Headers {
		anew := slices.Contains([]string{"X-Ordinavo-Delivery-Id", "X-Ordinavo-Timestamp", "webhook-timestamp", "webhook-signature", "traceparent"}, name)
		if arrived := got.header.Get(name); arrived != value && !anew || arrived == "" {
			t.Errorf("%s: previewed %q, got %q", name, value, arrived)
		}
	}
}

func TestAPreviewTellsOriginsAndReasons(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sap, crm := acme.subscribe(hook, "visit_report.*", nil), acme.subscribe(hook, "visit_report.*", object{"sourceSystem": "crm"})
	near := acme.subscribe(hook, "visit_report.rejected", nil)
	paused := acme.subscribe(hook, "*", object{"status": "paused"})
	shown := acme.previews(acme.visit("visit_report.approved", nil))
	for id, want := range map[string]string{sap.ID: "customer.externalId mapping CUST-10042", crm.ID: "customer.externalId none <nil>"} {
		first := shown[id].Origins[0]
		if value, _ := json.Marshal(first.Value); first.Path+" "+first.Origin+" "+strings.Trim(strings.ReplaceAll(string(value), "null", "<nil>"), `"`) != want {
			t.Errorf("got %+v, want %s", first, want)
		}
	}
	if got := shown[near.ID]; got.Matches || got.Outcome != "not_matched" || got.Request != nil || !strings.Contains(got.Reason, "nearest is visit_report.rejected") {
		t.Errorf("not matched: %+v", got)
	}
	if got := shown[paused.ID]; got.Outcome != "delivery" || got.Status == nil || *got.Status != "parked" || !strings.Contains(got.Reason, "paused") {
		t.Errorf("paused: %+v", got)
	}
	tried := into[previewed](acme.post("/v1/subscriptions/"+sap.ID+"/preview", object{"event": acme.visit("visit_report.approved", nil), "payloadOptions": object{"summaryPreview": true}}).want(http.StatusOK))
	if !strings.Contains(tried.Request.Body, `"summaryPreview":"Filter replaced, pressure checked."`) {
		t.Errorf("with other options: %s", tried.Request.Body)
	}
}

// A preview stores nothing and sends nothing: no table has a row more, and no receiver a request.
func TestAPreviewLeavesNoTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme, hook := newTenant(t, s), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	before := rows(t, dir)
	for range 3 {
		acme.previews(acme.visit("visit_report.approved", object{"eventId": eventID()}))
		shown := into[previewed](acme.post("/v1/subscriptions/"+sub.ID+"/preview", object{"eventType": "visit_report.approved"}).want(http.StatusOK))
		acme.post("/v1/signature-doctor", object{"headers": shown.Request.Headers, "body": shown.Request.Body, "secret": sub.Secret}).want(http.StatusOK)
	}
	// An event behind the previews has gone its whole way: whatever they had begun would have been seen.
	id := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(id, sub.ID, "succeeded")
	hook.exactly(1)
	after := rows(t, dir)
	want := maps.Clone(before)
	want["events"], want["bodies"], want["closed_deliveries"] = before["events"]+1, before["bodies"]+1, before["closed_deliveries"]+1
	for table := range after {
		if table != "records" && table != "consumer_offsets" && after[table] != want[table] {
			t.Errorf("%s has %d rows, want %d", table, after[table], want[table])
		}
	}
	if s.log.says(sub.Secret) {
		t.Error("the secret is in the log")
	}
}

// rows counts those of every table.
func rows(t *testing.T, dir string) map[string]int {
	t.Helper()
	db, err := sql.Open("sqlite", databasePath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	counts := map[string]int{}
	for _, table := range []string{"records", "consumer_offsets", "tenants", "api_keys", "customers", "external_ids", "idempotency_keys", "events", "subscriptions",
		"secrets", "sweeps", "bodies", "gated_events", "open_deliveries", "closed_deliveries", "incarnations"} {
		var count int
		if err := db.QueryRow("SELECT count(*) FROM " + table).Scan(&count); err != nil {
			t.Fatalf("%s: %v", table, err)
		}
		counts[table] = count
	}
	return counts
}

// The doctor names what a framework did to a request that really arrived, and what a rotation did to the secret.
func TestTheDoctorOnWhatArrived(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	acme.emit(acme.visit("visit_report.approved", object{"target": object{"id": 455, "title": "Wärme & <Kälte>"}}))
	got := hook.wait(1)[0]
	headers := map[string]string{}
	for name := range got.header {
		headers[strings.ToLower(name)] = got.header.Get(name)
	}
	ask := func(body string, more object) diagnosed {
		complaint := object{"headers": headers, "body": body}
		maps.Copy(complaint, more)
		return into[diagnosed](acme.post("/v1/signature-doctor", complaint).want(http.StatusOK))
	}
	var decoded any
	if err := json.Unmarshal(got.body, &decoded); err != nil {
		t.Fatal(err)
	}
	sorted, _ := json.Marshal(decoded)
	pretty, _ := json.MarshalIndent(json.RawMessage(got.body), "", "\t")
	secret, bySubscription := object{"secret": sub.Secret}, object{"subscriptionId": sub.ID}
	if d := ask(string(got.body), secret); !d.Valid || !d.names("signature_ok") {
		t.Errorf("as it arrived: %+v", d)
	}
	if d := ask(string(sorted), secret); d.Valid || !d.names("body_reserialised") {
		t.Errorf("written anew: %+v", d)
	}
	if d := ask(string(pretty), bySubscription); d.Valid || !d.names("white_space_changed") {
		t.Errorf("indented: %+v", d)
	}
	other := acme.subscribe(hook, "target.imported", nil)
	if d := ask(string(got.body), object{"secret": other.Secret, "subscriptionId": sub.ID}); d.Valid || !d.names("other_secret") {
		t.Errorf("another secret: %+v", d)
	}
	acme.post("/v1/subscriptions/"+sub.ID+"/rotate-secret", object{"overlapHours": 1}).want(http.StatusOK)
	if d := ask(string(got.body), bySubscription); !d.Valid || !d.names("old_secret") {
		t.Errorf("in the overlap: %+v", d)
	}
}

type diagnosed struct {
	Valid    bool
	Findings []struct{ Code, Severity, Detail string }
}

func (d diagnosed) names(code string) bool {
	return slices.ContainsFunc(d.Findings, func(f struct{ Code, Severity, Detail string }) bool { return f.Code == code })
}
