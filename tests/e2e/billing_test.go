package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

func (n tenant) feature(enabled bool) {
	n.t.Helper()
	n.do(http.MethodPut, "/v1/tenants/"+n.id+"/features/billing_webhooks", object{"enabled": enabled}).want(http.StatusOK)
}

// Contract, section 2: subscribing to billing.* and switching billingDetails on need the feature.
func TestBillingNeedsTheFeature(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	for _, types := range []string{"billing.event_ready", "billing.*"} {
		acme.post("/v1/subscriptions", wanted(hook, types, nil)).refused(http.StatusForbidden, "feature_not_enabled")
	}
	details := object{"payloadOptions": object{"billingDetails": true}}
	acme.post("/v1/subscriptions", wanted(hook, "visit_report.*", details)).refused(http.StatusForbidden, "feature_not_enabled")
	sub := acme.subscribe(hook, "visit_report.*", nil)
	path := "/v1/subscriptions/" + sub.ID
	acme.do(http.MethodPatch, path, details).refused(http.StatusForbidden, "feature_not_enabled")
	acme.do(http.MethodPatch, path, object{"eventTypes": []string{"billing.*"}}).refused(http.StatusForbidden, "feature_not_enabled")
	acme.feature(true)
	acme.do(http.MethodPatch, path, object{"eventTypes": []string{"billing.*"}, "payloadOptions": object{"billingDetails": true}}).want(http.StatusOK)
	acme.settled(acme.emit(acme.billing("billing.event_ready")), sub.ID, "succeeded")
	if body := string(hook.exactly(1)[0].body); !strings.Contains(body, `"billingEvent":{"id":77,`) {
		t.Errorf("no billing event in %s", body)
	}
}

// … and the gate is asked again at fan-out: with the feature gone nothing is sent, and the event says why.
func TestBillingIsGatedAtFanOut(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	acme.feature(true)
	sub := acme.subscribe(hook, "billing.*", nil)
	sent := acme.emit(acme.billing("billing.event_ready"))
	acme.settled(sent, sub.ID, "succeeded")
	acme.feature(false)
	gated := acme.disposed(acme.emit(acme.billing("billing.event_ready")), sub.ID)
	if gated.Outcome != "feature_gated" || gated.DeliveryID != nil || gated.Status != nil || gated.Reason == "" {
		t.Errorf("got %s", gated)
	}
	acme.feature(true)
	acme.settled(acme.emit(acme.billing("billing.event_ready")), sub.ID, "succeeded")
	hook.exactly(2)
}

// Without the option billingDetails the block is not in the body.
func TestBillingDetailsAreAnOption(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	acme.feature(true)
	acme.subscribe(hook, "billing.*", nil)
	acme.emit(acme.billing("billing.event_ready"))
	if body := string(hook.wait(1)[0].body); strings.Contains(body, "billingEvent") || !strings.Contains(body, "visitReport") {
		t.Errorf("got %s", body)
	}
}
