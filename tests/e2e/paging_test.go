package e2e_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Contract, section 5: newest first, and stable while rows are added.
func TestPagesAreStable(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	sub := acme.subscribe(receive(t, nil), "*", nil)
	var want []string
	for range 25 {
		id := acme.emit(acme.visit("target.imported", nil))
		acme.disposed(id, sub.ID)
		want = append([]string{id}, want...)
	}
	for _, list := range []string{"/v1/events?limit=10", "/v1/deliveries?eventType=target.imported&limit=10"} {
		var got []string
		cursor := ""
		for pages := 0; pages < 5; pages++ {
			p := into[page[struct{ EventID string }]](acme.get(list + cursor).want(http.StatusOK))
			for _, row := range p.Data {
				got = append(got, row.EventID)
			}
			if p.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(*p.NextCursor)
			acme.disposed(acme.emit(acme.visit("target.imported", nil)), sub.ID) // a row is added between two pages
		}
		at := slices.Index(got, want[0])
		if at < 0 || !slices.Equal(got[at:], want) {
			t.Errorf("%s: got %v\nwant %v", list, got, want)
		}
	}
}

// Every list refuses a limit out of range and a cursor that is not its own, or too old.
func TestPagingIsChecked(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for range 3 {
		acme.subscribe(receive(t, nil), "*", nil)
		acme.emit(acme.visit("target.imported", nil))
	}
	foreign := into[page[object]](acme.get("/v1/event-types?limit=1").want(http.StatusOK)).NextCursor
	cursor := into[page[object]](acme.get("/v1/events?limit=1").want(http.StatusOK)).NextCursor
	decoded, err := base64.RawURLEncoding.DecodeString(*cursor)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(decoded), `"t":`)
	expired := base64.RawURLEncoding.EncodeToString([]byte(string(decoded[:at]) + `"t":1000}`))
	for _, list := range []string{"/v1/events", "/v1/deliveries", "/v1/subscriptions", "/v1/tenants", "/v1/api-keys"} {
		for _, limit := range []string{"0", "201", "-1", "ten", "1.5"} {
			if p := acme.get(list+"?limit="+limit).refused(http.StatusBadRequest, "validation_failed"); len(p.Errors["limit"]) == 0 {
				t.Errorf("%s with limit %s: %v", list, limit, p.Errors)
			}
		}
		for _, cursor := range []string{"nonsense", *foreign, expired, strings.Repeat("x", 2000)} {
			if p := acme.get(list+"?cursor="+cursor).refused(http.StatusBadRequest, "validation_failed"); len(p.Errors["cursor"]) == 0 {
				t.Errorf("%s with another's cursor: %v", list, p.Errors)
			}
		}
	}
	acme.get("/v1/events?cursor=" + *cursor).want(http.StatusOK)
	acme.get("/v1/events?eventType=target.imported&cursor="+*cursor).refused(http.StatusBadRequest, "validation_failed")
}

// The filters of deliveries do what they say.
func TestDeliveryFilters(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	good, bad := acme.subscribe(receive(t, nil), "*", nil), acme.subscribe(receive(t, answers(500)), "visit_report.*", object{"retrySchedule": []string{"1h"}})
	report, target := acme.emit(acme.visit("visit_report.approved", nil)), acme.emit(acme.visit("target.imported", nil))
	acme.settled(report, good.ID, "succeeded")
	acme.settled(target, good.ID, "succeeded")
	acme.settled(report, bad.ID, "retrying")
	for filter, want := range map[string]int{
		"": 3, "status=succeeded": 2, "status=retrying": 1, "status=parked": 0, "subscriptionId=" + bad.ID: 1, "eventId=" + target: 1,
		"eventType=visit_report.approved": 2, "since=2020-01-01T00:00:00Z": 3, "until=2020-01-01T00:00:00Z": 0,
		fmt.Sprintf("status=succeeded&subscriptionId=%s&eventId=%s", good.ID, report): 1,
	} {
		if got := into[page[delivery]](acme.get("/v1/deliveries?" + filter).want(http.StatusOK)).Data; len(got) != want {
			t.Errorf("%s: %d deliveries, want %d", filter, len(got), want)
		}
	}
	for filter, path := range map[string]string{"status=lost": "status", "eventType=x": "eventType", "since=yesterday": "since", "subscriptionId=x": "subscriptionId", "unknown=1": "unknown"} {
		if p := acme.get("/v1/deliveries?"+filter).refused(http.StatusBadRequest, "validation_failed"); len(p.Errors[path]) == 0 {
			t.Errorf("%s: %v", filter, p.Errors)
		}
	}
}
