package rest_test

import (
	"errors"
	"testing"
)

// Whoever was told that it is there would not send it again, and its receivers get null for it.
func TestARecordThatIsNotKeptIsNotAnsweredAsIfItWere(t *testing.T) {
	h := newHarness(t)
	h.store.fail = errors.New("away")
	external := `{"sourceSystem":"sap","entityType":"customer","ordinavoId":12,"externalId":"CUST-10042"}`
	h.call(h.admin, "POST", "/v1/directory", `{"externalIds":[`+external+`]}`).expect(500).refused("internal_error")
	h.call(h.admin, "PUT", "/v1/directory/external-ids", external).expect(500).refused("internal_error")
	h.call(h.admin, "PUT", "/v1/directory/customers/12", `{"name":"Rhein-Ruhr Medical Supply"}`).expect(500).refused("internal_error")
}
