package e2e_test

import (
	"net/http"
	"testing"
)

type statusCount struct {
	Count int
	More  bool
}

type deliveryCounts struct {
	SubscriptionID                                    string
	Pending, Delivering, Retrying, Parked, DeadLetter statusCount
}

// What of a subscription waits, is parked or was given up can be seen at a glance: GET /v1/subscriptions/{id}/counts.
func TestCountsOfASubscription(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	up := receive(t, nil)
	sub := acme.subscribe(up, "*", nil)
	countsOf := func(id string) deliveryCounts {
		return into[deliveryCounts](acme.get("/v1/subscriptions/" + id + "/counts").want(http.StatusOK))
	}
	counts := func() deliveryCounts { return countsOf(sub.ID) }
	none := deliveryCounts{SubscriptionID: sub.ID}
	if got := counts(); got != none {
		t.Errorf("before any event: %+v", got)
	}
	acme.post("/v1/subscriptions/"+sub.ID+"/pause", nil).want(http.StatusOK)
	for range 3 {
		acme.emit(acme.visit("visit_report.approved", nil))
	}
	parked := none
	parked.Parked.Count = 3
	eventually(t, "three are parked", func() bool { return counts() == parked })
	acme.post("/v1/subscriptions/"+sub.ID+"/resume", nil).want(http.StatusOK)
	up.wait(3)
	eventually(t, "all are sent", func() bool { return counts() == none })
	down := acme.subscribe(receive(t, answers(http.StatusInternalServerError)), "*", object{"retrySchedule": []string{"1s"}})
	acme.emit(acme.visit("visit_report.approved", nil))
	given := deliveryCounts{SubscriptionID: down.ID}
	given.DeadLetter.Count = 1
	eventually(t, "one is given up", func() bool { return countsOf(down.ID) == given })
}
