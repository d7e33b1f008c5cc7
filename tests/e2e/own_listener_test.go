package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

// The service never calls itself, although the tests allow all of the loopback network: not by its address, which is
// refused when it is written, and not by a name, which is found out when it is dialled.
func TestTheServiceNeverCallsItself(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	subscription := object{"name": "self", "url": s.url + "/healthz", "eventTypes": []string{"*"}, "sourceSystem": "sap"}
	acme.post("/v1/subscriptions", subscription).want(http.StatusBadRequest)

	subscription["url"] = strings.Replace(s.url, "127.0.0.1", "localhost", 1) + "/healthz"
	made := into[struct{ ID string }](acme.post("/v1/subscriptions", subscription).want(http.StatusCreated))
	tested := into[struct{ Outcome string }](acme.post("/v1/subscriptions/"+made.ID+"/test", object{"eventType": "visit_report.approved"}).want(http.StatusOK))
	if tested.Outcome != "blocked_address" {
		t.Errorf("the test's outcome is %q", tested.Outcome)
	}
}
