package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

type caughtUp struct {
	Data []struct {
		DeliveryID, EventID, EventType, Status, Body string
		Headers                                      map[string]string
	}
	NextCursor string
	HasMore    bool
}

func (n tenant) catchUp(sub subscription, query string) caughtUp {
	n.t.Helper()
	return into[caughtUp](n.get("/v1/subscriptions/" + sub.ID + "/events" + query).want(http.StatusOK))
}

// A receiver that refuses everything gets all by pull, with the bytes that were pushed and signatures that hold.
func TestCatchUpGivesWhatWasPushed(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, other := newTenant(t, s), newTenant(t, s)
	hook := receive(t, func(_ int, _ arrival, w http.ResponseWriter) { w.WriteHeader(http.StatusGone) })
	sub := acme.subscribe(hook, "visit_report.*", nil)
	var want []string
	want = append(want, acme.emit(acme.visit("visit_report.approved", nil)))
	acme.emit(acme.visit("target.imported", nil))
	pushed := hook.wait(1)[0]
	eventually(t, "the subscription is disabled", func() bool { return acme.subscription(sub.ID).Status == "disabled" })
	for range 4 {
		want = append(want, acme.emit(acme.visit("visit_report.rejected", nil)))
	}
	acme.settled(want[4], sub.ID, "parked")
	var got []string
	page := caughtUp{HasMore: true}
	for query := "?limit=2"; page.HasMore; query = "?limit=2&after=" + page.NextCursor {
		page = acme.catchUp(sub, query)
		for _, item := range page.Data {
			got = append(got, item.EventID)
			header := http.Header{}
			for name, value := range item.Headers {
				header.Set(name, value)
			}
			verify(t, arrival{header: header, body: []byte(item.Body)}, sub.Secret)
			if item.Headers["X-Ordinavo-Delivery-Id"] != item.DeliveryID || item.Headers["X-Ordinavo-Event-Type"] != item.EventType {
				t.Errorf("got the headers %v", item.Headers)
			}
			if item.EventID == want[0] && (item.Body != string(pushed.body) || item.Status != "dead_letter") {
				t.Errorf("pushed was\n%s, by pull came %s\n%s", pushed.body, item.Status, item.Body)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	_, bound := newKey(acme.api, object{"name": "bound", "tenantId": acme.id, "scopes": []string{"events.read"}, "subscriptionId": sub.ID})
	quiet := acme.subscribe(receive(t, nil), "*", nil)
	mine := api{t: t, url: acme.url, key: bound}
	mine.get("/v1/subscriptions/" + sub.ID + "/events").want(http.StatusOK)
	mine.get("/v1/subscriptions/"+quiet.ID+"/events").refused(http.StatusNotFound, "not_found")
	other.get("/v1/subscriptions/"+sub.ID+"/events").refused(http.StatusNotFound, "not_found")
	for _, query := range []string{"?wait=31s", "?wait=soon", "?wait=-1s", "?after=x", "?limit=0"} {
		acme.get("/v1/subscriptions/"+sub.ID+"/events"+query).refused(http.StatusBadRequest, "validation_failed")
	}
}

// Who waits is answered when an event comes, and not before.
func TestCatchUpWaits(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	sub := acme.subscribe(receive(t, nil), "*", nil)
	page := acme.catchUp(sub, "")
	answered := make(chan answer)
	began := time.Now()
	go func() {
		got, err := acme.try(t.Context(), http.MethodGet, "/v1/subscriptions/"+sub.ID+"/events?wait=30s&after="+page.NextCursor, nil)
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	event := acme.emit(acme.visit("visit_report.approved", nil))
	if page = into[caughtUp]((<-answered).want(http.StatusOK)); len(page.Data) != 1 || page.Data[0].EventID != event || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %+v", time.Since(began), page)
	}
	if page = acme.catchUp(sub, "?wait=100ms&after="+page.NextCursor); len(page.Data) != 0 {
		t.Errorf("got %+v", page)
	}
}

// An event that is replayed keeps its place, and has what was rendered anew: the document says so.
func TestCatchUpAfterAReplay(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	hook := receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	first := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(first, sub.ID, "succeeded")
	second := acme.emit(acme.visit("target.imported", nil))
	acme.settled(second, sub.ID, "succeeded")
	before := acme.catchUp(sub, "")
	if len(before.Data) != 2 {
		t.Fatalf("got %+v", before)
	}
	replay := func(mode string) caughtUp {
		acme.worked(acme.post("/v1/subscriptions/"+sub.ID+"/replay", object{"mode": mode, "eventTypes": []string{"visit_report.*"}}))
		if got := acme.catchUp(sub, "?after="+before.NextCursor); len(got.Data) != 0 {
			t.Errorf("after %s, behind the cursor is %+v", mode, got)
		}
		got := acme.catchUp(sub, "")
		if len(got.Data) != 2 || got.Data[0].EventID != first || got.Data[1].EventID != second {
			t.Fatalf("after %s: %+v", mode, got)
		}
		return got
	}
	if got := replay("original"); got.Data[0].DeliveryID != before.Data[0].DeliveryID || got.Data[0].Body != before.Data[0].Body {
		t.Errorf("after original: %+v", got.Data[0])
	}
	acme.settled(first, sub.ID, "succeeded") // a replay leaves alone what is on its way
	acme.do(http.MethodPut, "/v1/directory/customers/12", object{"name": "Renamed", "customerNumber": "RRM-001"}).want(http.StatusOK)
	got := replay("rerender")
	if got.Data[0].DeliveryID == before.Data[0].DeliveryID || !strings.Contains(got.Data[0].Body, "Renamed") || got.Data[1].Body != before.Data[1].Body {
		t.Errorf("after rerender: %+v", got.Data)
	}
}
