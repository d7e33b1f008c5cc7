package e2e_test

import (
	"net/http"
	"testing"
)

// The same ids in two tenants are two things: each gets its own event, its own names and its own external IDs.
func TestTheSameIDsInTwoTenants(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	id := eventID()
	for i, n := range []tenant{newTenant(t, s), newTenant(t, s)} {
		name, external := []string{"Mine", "Theirs"}[i], []string{"EXT-MINE", "EXT-THEIRS"}[i]
		n.do(http.MethodPut, "/v1/directory/customers/12", object{"name": name}).want(http.StatusOK)
		n.do(http.MethodPut, "/v1/directory/external-ids", object{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 12, "externalId": external}).want(http.StatusOK)
		hook := receive(t, nil)
		sub := n.subscribe(hook, "*", nil)
		n.emit(n.visit("visit_report.approved", object{"eventId": id}))
		body := bodyOf(t, hook.wait(1)[0])
		if customer := body["customer"].(object); body["tenantId"] != n.id || customer["name"] != name || customer["externalId"] != external {
			t.Errorf("got %v", body)
		}
		if got := n.event(id); got.TenantID != n.id || len(got.Dispositions) != 1 || got.Dispositions[0].SubscriptionID != sub.ID {
			t.Errorf("got %+v", got)
		}
	}
}
