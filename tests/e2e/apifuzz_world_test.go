package e2e_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fuzzWorld is what a round of requests is about: two tenants with something of everything, and their keys.
type fuzzWorld struct {
	mine, theirs tenant
	keys         map[string]string // by kind of caller
	ids          map[string][]any  // by name of parameter or field; all of them mine
	settled      func()
}

const mostKnown = 12

// fuzzBase is what outlives the rounds: a receiver, and a tenant whose events show how far fan-out has come.
type fuzzBase struct {
	s      *service
	hook   *receiver
	clock  tenant
	marker subscription
	lists  []string
}

func newFuzzBase(t *testing.T, s *service, root object) *fuzzBase {
	b := &fuzzBase{s: s, hook: receive(t, answers(200, 500, 200)), clock: newTenant(t, s)}
	b.marker = b.clock.subscribe(b.hook, "target.imported", nil)
	for path, item := range root["paths"].(object) {
		if get, ok := item.(object)["get"].(object); ok && !strings.Contains(path, "{") && strings.Contains(string(encoded(get["parameters"])), `"cursor"`) {
			b.lists = append(b.lists, path)
		}
	}
	if slices.Sort(b.lists); len(b.lists) < 5 {
		t.Fatalf("the document has the lists %v only", b.lists)
	}
	return b
}

// settle waits until whatever was accepted so far is fanned out, since the log is worked on in order, and until all jobs are done.
func (b *fuzzBase) settle(w *fuzzWorld) {
	for _, n := range []tenant{w.mine, w.theirs} {
		eventually(n.t, "the jobs' end", func() bool {
			open := func(j job) bool { return j.Status == "pending" || j.Status == "running" }
			return !slices.ContainsFunc(into[page[job]](n.get("/v1/jobs?limit=10").want(http.StatusOK)).Data, open)
		})
	}
	b.clock.disposed(b.clock.emit(b.clock.visit("target.imported", nil)), b.marker.ID)
}

func (b *fuzzBase) world(t *testing.T) *fuzzWorld {
	w := &fuzzWorld{mine: newTenant(t, b.s), theirs: newTenant(t, b.s)}
	w.settled = func() { b.settle(w) }
	all := []string{"events.write", "events.read", "directory.write", "webhooks.read", "webhooks.manage", "webhook_deliveries.read", "webhook_deliveries.retry"}
	w.mine.do(http.MethodPut, "/v1/tenants/"+w.mine.id+"/features/billing_webhooks", object{"enabled": true}).want(http.StatusOK)
	sub := w.mine.subscribe(b.hook, "*", nil)
	event := w.mine.emit(w.mine.visit("visit_report.approved", nil))
	sent := w.mine.disposed(event, sub.ID)
	w.mine.post("/v1/subscriptions/"+sub.ID+"/rotate-secret", object{"overlapHours": 1}).want(http.StatusOK)
	_, full := w.mine.keyWith(all...)
	_, theirs := w.theirs.keyWith(all...)
	_, weak := w.mine.keyWith("webhooks.read")
	ended, revoked := w.mine.keyWith(all...)
	w.mine.do(http.MethodDelete, "/v1/api-keys/"+ended, nil).want(http.StatusNoContent)
	spare, _ := w.mine.keyWith("events.read")
	w.keys = map[string]string{"platform": platformKey, "full": full, "theirs": theirs, "weak": weak, "revoked": revoked, "none": "", "made up": "ord_live_" + strings.Repeat("0", 43)}
	w.ids = map[string][]any{
		"subscriptionId": {sub.ID}, "eventId": {event}, "deliveryId": {*sent.DeliveryID}, "keyId": {spare}, "jobId": {w.mine.cancelledJob()}, "tenantId": {w.mine.id}, "feature": {"billing_webhooks"},
		"type": {"visit_report.approved", "target.imported"}, "url": {b.hook.url}, "id": {12.0, 34.0, 56.0}, "ordinavoId": {12.0}, "sourceSystem": {"sap"}, "entityType": {"customer"},
		"eventType": {"visit_report.approved", "visit_report.rejected", "target.imported"}, "retrySchedule": {[]any{"1s", "1h"}}, "X-Ordinavo-Tenant": {w.mine.id},
		"If-Match": {"*"}, "wait": {0.0}, "scope": {"webhooks.read", "events.read"}, "name": {"SAP"},
	}
	return w
}

// cancelledJob is a job that was cancelled before it came to its end; to cancel it again succeeds. The worker does one after the
// other, so of several that are made at once some still wait when they are cancelled.
func (n tenant) cancelledJob() (id string) {
	n.t.Helper()
	const atOnce = 8 // a tenant may have ten open
	eventually(n.t, "a job is cancelled in time", func() bool {
		cancelled := make(chan string, atOnce)
		var making sync.WaitGroup
		for range atOnce {
			making.Go(func() {
				made := n.post("/v1/deliveries/retry", object{"until": "2020-01-01T00:00:00Z"})
				if made.status != http.StatusAccepted {
					return
				}
				if id := *into[job](made).ID; n.post("/v1/jobs/"+id+"/cancel", nil).status == http.StatusOK {
					cancelled <- id
				}
			})
		}
		making.Wait()
		select {
		case id = <-cancelled:
			return true
		default:
			return false
		}
	})
	return id
}

// learn keeps the ids of an answer for later requests.
func (w *fuzzWorld) learn(body []byte) {
	var content any
	if json.Unmarshal(body, &content) != nil {
		return
	}
	walkTexts(content, w.theirs.id, func(name, text string) {
		prefix, _, _ := strings.Cut(text, "_")
		kind := map[string]string{"sub": "subscriptionId", "evt": "eventId", "dlv": "deliveryId", "job": "jobId", "key": "keyId"}[prefix]
		// Only what was just made is known by "id": what else an answer names may be a caller's own key.
		if kind != "" && (name == "id" || name == "eventId") && !slices.Contains(w.ids[kind], any(text)) && len(w.ids[kind]) < mostKnown {
			w.ids[kind] = append(w.ids[kind], text)
		}
	})
}

// walkTexts leaves out what belongs to the tenant: a platform key's list of keys holds everybody's.
func walkTexts(value any, but string, visit func(name, text string)) {
	switch v := value.(type) {
	case object:
		if v["tenantId"] == but {
			return
		}
		for _, name := range sortedKeys(v) {
			if text, ok := v[name].(string); ok {
				visit(name, text)
			}
			walkTexts(v[name], but, visit)
		}
	case []any:
		for _, each := range v {
			walkTexts(each, but, visit)
		}
	}
}

// snapshot is every row of every list, by what names it. A row that changes by itself is empty.
func (b *fuzzBase) snapshot(w *fuzzWorld) map[string]string {
	rows := map[string]string{}
	for _, owner := range []tenant{w.mine, w.theirs} {
		for _, path := range b.lists {
			b.addRows(rows, owner, path)
		}
		for _, path := range []string{"customers/12", "locations/34", "contacts/56", "external-ids?sourceSystem=sap&entityType=customer&ordinavoId=12"} {
			rows[owner.id+" "+path] = withoutTraceID(owner.get("/v1/directory/" + path).body)
		}
	}
	return rows
}

func withoutTraceID(body []byte) string {
	var content object
	if json.Unmarshal(body, &content) != nil {
		return string(body)
	}
	delete(content, "traceId")
	return string(encoded(content))
}

func (b *fuzzBase) addRows(rows map[string]string, owner tenant, path string) {
	for cursor := ""; ; {
		got := into[page[object]](owner.get(path + "?limit=200&cursor=" + url.QueryEscape(cursor)).want(http.StatusOK))
		for _, row := range got.Data {
			key := owner.id + " " + path
			for _, name := range []string{"id", "tenantId", "eventId", "eventType"} {
				if id, ok := row[name].(string); ok {
					key += " " + id
				}
			}
			rows[key] = canonical(row)
		}
		if got.NextCursor == nil {
			return
		}
		cursor = *got.NextCursor
	}
}

// canonical leaves out what changes without a request that was accepted.
func canonical(row object) string {
	switch row["status"] {
	case "pending", "delivering", "retrying", "parked", "queued", "running":
		return ""
	}
	row = maps.Clone(row)
	delete(row, "lastUsedAt")
	delete(row, "deliveries") // an event's: they are rows of their own list
	delete(row, "circuit")
	return string(encoded(row))
}

// unchanged fails the test when refused requests changed something.
func unchanged(t *testing.T, before, after map[string]string, requests []string) {
	t.Helper()
	for key, row := range before {
		if now, found := after[key]; !found || row != "" && row != now {
			t.Errorf("refused requests changed %s\nfrom %s\nto   %s\nby one of\n%s", key, row, now, strings.Join(requests, "\n"))
		}
	}
	for key := range after {
		if _, found := before[key]; !found {
			t.Errorf("refused requests made %s by one of\n%s", key, strings.Join(requests, "\n"))
		}
	}
}
