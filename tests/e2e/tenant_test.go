package e2e_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
)

// tenant is one on a service, seen by a platform key that names it.
type tenant struct {
	api
	id string
}

var tenantNumber atomic.Int64

// newTenant makes a tenant with the directory of the public example.
func newTenant(t *testing.T, s *service) tenant {
	t.Helper()
	return newTenantCalled(t, s, fmt.Sprintf("tenant-%d", 1000+tenantNumber.Add(1)))
}

func newTenantCalled(t *testing.T, s *service, id string) tenant {
	t.Helper()
	s.platform(t).post("/v1/tenants", object{"tenantId": id, "name": "Ruhr Service GmbH"}).want(http.StatusCreated)
	made := tenant{s.platform(t).as(id), id}
	made.post("/v1/directory", exampleDirectory()).want(http.StatusOK)
	return made
}

func exampleDirectory() object {
	mapped := func(kind string, id int, external string) object {
		return object{"sourceSystem": "sap", "entityType": kind, "ordinavoId": id, "externalId": external}
	}
	return object{
		"customers": []object{{"ordinavoCustomerId": 12, "customerNumber": "RRM-001", "name": "Rhein-Ruhr Medical Supply"}},
		"locations": []object{{"ordinavoLocationId": 34, "name": "Essen Center", "city": "Essen", "hasCoordinates": true}},
		"contacts":  []object{{"ordinavoContactId": 56, "displayName": "Anna Weber"}},
		"externalIds": []object{mapped("customer", 12, "CUST-10042"), mapped("location", 34, "LOC-ESSEN-01"),
			mapped("contact", 56, "CONT-44"), mapped("target", 455, "JOB-2026-000918")},
	}
}

// subscribe begins a subscription; more overrides its settings.
func (n tenant) subscribe(to *receiver, types string, more object) subscription {
	n.t.Helper()
	return into[subscription](n.post("/v1/subscriptions", wanted(to, types, more)).want(http.StatusCreated))
}

func wanted(to *receiver, types string, more object) object {
	settings := object{"name": "SAP", "url": to.url, "eventTypes": []string{types}, "sourceSystem": "sap"}
	for key, value := range more {
		settings[key] = value
	}
	return settings
}

// visit is an event about the public example's visit; more overrides its fields.
func (n tenant) visit(eventType string, more object) object {
	e := object{
		"eventType": eventType, "occurredAt": "2026-06-18T16:40:00Z", "tenantId": n.id, "customerId": 12, "locationId": 34, "contactId": 56,
		"visitReport": object{
			"id": 901, "title": "Maintenance visit - Essen Center", "status": "Approved", "result": "Successful", "followUpRequired": false,
			"isBillable": true, "billingStatus": "NotReady", "attachmentCount": 2, "summary": "Filter replaced,   pressure checked.",
		},
		"target": object{"id": 455, "title": "Maintenance visit", "customerNumber": "LEGACY-7"},
	}
	for key, value := range more {
		e[key] = value
	}
	return e
}

func (n tenant) billing(eventType string) object {
	return n.visit(eventType, object{"billingEvent": object{"id": 77, "status": "Ready", "sourceType": "VisitReport", "visitReportId": 901}})
}

type results struct {
	Results []struct{ EventID, Status string }
}

// emit sends one event and returns its ID.
func (n tenant) emit(e object) string {
	n.t.Helper()
	return into[results](n.post("/v1/events", e).want(http.StatusAccepted)).Results[0].EventID
}

func (n tenant) event(id string) acceptedEvent {
	n.t.Helper()
	return into[acceptedEvent](n.get("/v1/events/" + id).want(http.StatusOK))
}

// disposed waits until the event has a disposition for the subscription.
func (n tenant) disposed(eventID, subscriptionID string) (found disposition) {
	n.t.Helper()
	eventually(n.t, "a disposition", func() bool {
		all := n.event(eventID).Dispositions
		at := slices.IndexFunc(all, func(d disposition) bool { return d.SubscriptionID == subscriptionID })
		if at >= 0 {
			found = all[at]
		}
		return at >= 0
	})
	return found
}

// settled waits until the event's delivery to the subscription has the status.
func (n tenant) settled(eventID, subscriptionID, status string) (d delivery) {
	n.t.Helper()
	disposed := n.disposed(eventID, subscriptionID)
	if disposed.DeliveryID == nil {
		n.t.Fatalf("the event has no delivery: %s", disposed)
	}
	err := poll(patience, func() bool {
		d = into[delivery](n.get("/v1/deliveries/" + *disposed.DeliveryID).want(http.StatusOK))
		return d.Status == status
	})
	if err != nil {
		shown, _ := json.MarshalIndent(d, "", " ")
		n.t.Fatalf("the delivery did not become %s: %s", status, shown)
	}
	return d
}

func (n tenant) subscription(id string) subscription {
	n.t.Helper()
	return into[subscription](n.get("/v1/subscriptions/" + id).want(http.StatusOK))
}

// keyWith makes a key of the tenant's with the scopes.
func (n tenant) keyWith(scopes ...string) (id, text string) {
	n.t.Helper()
	return newKey(n.api, object{"name": "test", "tenantId": n.id, "scopes": scopes})
}

func newKey(a api, wanted object) (id, text string) {
	a.t.Helper()
	made := into[struct{ ID, Key string }](a.post("/v1/api-keys", wanted).want(http.StatusCreated))
	return made.ID, made.Key
}

// eventID makes an ID as an emitter would: a ULID's alphabet has no I, L, O, U.
func eventID() string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	random := make([]byte, 25)
	_, _ = rand.Read(random)
	for i, b := range random {
		random[i] = alphabet[b%32]
	}
	return "evt_0" + string(random)
}
