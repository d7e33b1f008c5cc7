package e2e_test

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

//go:embed testdata/visit_report.approved.json
var publicExample string

// Contract, section 2: the public documentation's body, byte for byte.
func TestTheBodyIsThePublicExample(t *testing.T) {
	t.Parallel()
	acme, hook := newTenantCalled(t, start(t, t.TempDir()), "tenant-123"), receive(t, nil)
	acme.subscribe(hook, "visit_report.approved", nil)
	acme.emit(acme.visit("visit_report.approved", object{"eventId": "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"}))
	if got := string(hook.wait(1)[0].body); got != publicExample {
		t.Errorf("got  %s\nwant %s", got, publicExample)
	}
}

// The bytes are rendered once: what the directory says later changes no attempt.
func TestTheBytesStayTheSame(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	hook.behaves(func(n int, _ arrival, w http.ResponseWriter) {
		if n == 1 {
			acme.do(http.MethodPut, "/v1/directory/customers/12", object{"name": "Renamed"}).want(http.StatusOK)
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	sub := acme.subscribe(hook, "*", nil)
	id := acme.emit(acme.visit("visit_report.approved", nil))
	settled := acme.settled(id, sub.ID, "succeeded")
	acme.post("/v1/deliveries/"+settled.ID+"/retry", nil)
	acme.settled(id, sub.ID, "succeeded")
	got := hook.wait(2)
	for i, a := range got {
		if string(a.body) != string(got[0].body) || a.deliveryID() != settled.ID || string(a.body) != settled.Request.Body {
			t.Errorf("arrival %d is of %s: %s", i+1, a.deliveryID(), a.body)
		}
	}
	if !strings.Contains(string(got[0].body), "Rhein-Ruhr Medical Supply") {
		t.Errorf("the first body: %s", got[0].body)
	}
}

// External IDs: of the subscription's source system and tenant alone, null without a mapping.
func TestExternalIDs(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, other := newTenant(t, s), newTenant(t, s)
	other.do(http.MethodPut, "/v1/directory/external-ids", object{"sourceSystem": "crm", "entityType": "customer", "ordinavoId": 12, "externalId": "CRM-OTHER"}).want(http.StatusOK)
	acme.do(http.MethodPut, "/v1/directory/external-ids", object{"sourceSystem": "dms", "entityType": "customer", "ordinavoId": 12, "externalId": "DMS-1"}).want(http.StatusOK)
	for system, want := range map[string]any{"sap": "CUST-10042", "dms": "DMS-1", "crm": nil, "": nil} {
		hook := receive(t, nil)
		more := object{"sourceSystem": system}
		if system == "" {
			more = object{"sourceSystem": "none"}
		}
		acme.subscribe(hook, "visit_report.submitted", more)
		acme.emit(acme.visit("visit_report.submitted", nil))
		customer := bodyOf(t, hook.wait(1)[0])["customer"].(object)
		if got, there := customer["externalId"]; !there || got != want {
			t.Errorf("source system %q: got %v, %v, want %v", system, got, there, want)
		}
	}
}

func bodyOf(t *testing.T, a arrival) (body object) {
	t.Helper()
	if err := json.Unmarshal(a.body, &body); err != nil {
		t.Fatal(err)
	}
	return body
}

// What is not in the contract's table is never sent, whatever an emitter includes.
func TestWhatIsNeverSent(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	acme.subscribe(hook, "*", object{"payloadOptions": object{"summaryPreview": true}})
	e := acme.visit("visit_report.approved", object{"internalNotes": "NEVER-1", "apiKey": "NEVER-2", "customer": object{"email": "NEVER-3", "phone": "NEVER-4"}})
	e["visitReport"].(object)["notes"] = "NEVER-5"
	e["target"].(object)["coordinates"] = object{"lat": 51.45, "text": "NEVER-6"}
	acme.emit(e)
	body := string(hook.wait(1)[0].body)
	for _, secret := range []string{"NEVER", "LEGACY-7", "51.45", "customerNumber\":\"LEGACY"} {
		if strings.Contains(body, secret) {
			t.Errorf("the body has %s: %s", secret, body)
		}
	}
	if !strings.Contains(body, `"summaryPreview":"Filter replaced, pressure checked."`) {
		t.Errorf("no preview in %s", body)
	}
}

// Contract, section 3: each option changes what it is about.
func TestPayloadOptions(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for _, c := range []struct {
		options object
		without []string
		with    []string
	}{
		{object{}, []string{"summaryPreview", "billingEvent"}, []string{`"customer":`, `"location":`, `"contact":`}},
		{object{"customerContext": false}, []string{`"customer":`, `"location":`, `"contact":`, "Anna"}, nil},
		{object{"contactDetails": false}, []string{`"contact":`, "Anna"}, []string{`"customer":`, `"location":`}},
		{object{"summaryPreview": true}, nil, []string{"summaryPreview"}},
	} {
		hook := receive(t, nil)
		acme.subscribe(hook, "visit_report.approved", object{"payloadOptions": c.options})
		acme.emit(acme.visit("visit_report.approved", nil))
		body := string(hook.wait(1)[0].body)
		for _, text := range c.with {
			if !strings.Contains(body, text) {
				t.Errorf("%v: no %s in %s", c.options, text, body)
			}
		}
		for _, text := range c.without {
			if strings.Contains(body, text) {
				t.Errorf("%v: %s in %s", c.options, text, body)
			}
		}
	}
}

// A reference that the directory does not know loses nothing, and the delivery says so.
func TestUnknownReferencesAreNullsWithAWarning(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	id := acme.emit(acme.visit("visit_report.approved", object{"customerId": 999}))
	customer := bodyOf(t, hook.wait(1)[0])["customer"].(object)
	if customer["ordinavoCustomerId"] != 999.0 || customer["name"] != nil || customer["externalId"] != nil || len(customer) != 4 {
		t.Errorf("got %v", customer)
	}
	if got := acme.settled(id, sub.ID, "succeeded"); len(got.Warnings) == 0 {
		t.Error("the delivery has no warning")
	}
}
