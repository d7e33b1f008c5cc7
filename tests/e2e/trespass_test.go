package e2e_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// victim is a tenant with something of everything. None of what names it may be in an answer to anyone else.
type victim struct {
	tenant
	sub                         subscription
	event, sent, dead, job, key string
	hook                        *receiver
}

func newVictim(t *testing.T, s *service) victim {
	t.Helper()
	v := victim{tenant: newTenantCalled(t, s, "victim-"+eventID()[4:])}
	v.hook = receive(t, answers(http.StatusOK, http.StatusInternalServerError))
	v.sub = v.subscribe(v.hook, "*", object{"name": "Confidential hook", "retrySchedule": []string{"1s"}})
	for _, id := range []string{"4711", "4712"} {
		for _, kind := range []string{"customers", "locations"} {
			v.do(http.MethodPut, "/v1/directory/"+kind+"/"+id, object{"name": "Confidential Ltd"}).want(http.StatusOK)
		}
		v.do(http.MethodPut, "/v1/directory/contacts/"+id, object{"displayName": "Confidential Ltd"}).want(http.StatusOK)
	}
	for _, id := range []int{4711, 4712} {
		v.do(http.MethodPut, "/v1/directory/external-ids", mapping(id, "CONFIDENTIAL")).want(http.StatusOK)
	}
	v.event = v.emit(v.visit("visit_report.approved", nil))
	v.sent = v.settled(v.event, v.sub.ID, "succeeded").ID
	v.dead = v.settled(v.emit(v.visit("visit_report.rejected", nil)), v.sub.ID, "dead_letter").ID
	v.job = *v.worked(v.post("/v1/deliveries/retry", object{"eventType": "target.imported"})).ID
	v.key, _ = v.keyWith("webhooks.read")
	return v
}

func mapping(id int, external string) object {
	return object{"sourceSystem": "crm", "entityType": "customer", "ordinavoId": id, "externalId": external}
}

// secrets are texts that only the victim knows.
func (v victim) secrets() []string {
	return []string{v.id, v.sub.ID, v.sub.Secret, v.hook.url, v.event, v.sent, v.dead, v.job, v.key, "Confidential", "CONFIDENTIAL"}
}

// trespass is a request that names what is the victim's, or might be answered with it.
type trespass struct {
	path   string
	body   any
	status int
	code   string // empty when the answer says yes, and is about the caller's own tenant
}

func hidden(path string, body any) []trespass {
	return []trespass{{path, body, http.StatusNotFound, "not_found"}}
}

func allowed(status int, body any, paths ...string) (all []trespass) {
	for _, path := range paths {
		all = append(all, trespass{path, body, status, ""})
	}
	return all
}

func forbidden(code, path string, body any) []trespass {
	return []trespass{{path, body, http.StatusForbidden, code}}
}

// trespasses has a row for every operation of the document: what somebody tries who has a key of another tenant, with all its scopes.
func (v victim) trespasses(own subscription) map[string][]trespass {
	sub, directory, external := "/v1/subscriptions/"+v.sub.ID, "/v1/directory/", "/v1/directory/external-ids"
	one := external + "?sourceSystem=crm&entityType=customer&ordinavoId=4711"
	bound := trespass{"/v1/api-keys", object{"name": "bound", "scopes": []string{"webhooks.read"}, "subscriptionId": v.sub.ID}, http.StatusBadRequest, "validation_failed"}
	foreign := forbidden("forbidden", "/v1/subscriptions/"+own.ID+"/preview", object{"event": v.visit("visit_report.approved", nil)})
	rows := map[string][]trespass{
		"POST /v1/events":          forbidden("forbidden", "/v1/events", v.visit("visit_report.approved", nil)),
		"POST /v1/events/preview":  forbidden("forbidden", "/v1/events/preview", v.visit("visit_report.approved", nil)),
		"GET /v1/events":           allowed(http.StatusOK, nil, "/v1/events", "/v1/events?eventType=visit_report.approved"),
		"GET /v1/events/{}":        hidden("/v1/events/"+v.event, nil),
		"POST /v1/events/{}/retry": hidden("/v1/events/"+v.event+"/retry", nil),

		"POST /v1/directory":                allowed(http.StatusOK, object{"customers": []object{{"ordinavoCustomerId": 4712, "name": "Mine"}}}, "/v1/directory"),
		"GET /v1/directory/external-ids":    hidden(one, nil),
		"DELETE /v1/directory/external-ids": hidden(one, nil),
		"PUT /v1/directory/external-ids":    allowed(http.StatusOK, mapping(4712, "MINE"), external),

		"GET /v1/subscriptions":                            allowed(http.StatusOK, nil, "/v1/subscriptions"),
		"POST /v1/subscriptions":                           allowed(http.StatusCreated, object{"name": "Mine", "url": own.URL, "eventTypes": []string{"target.imported"}, "sourceSystem": "sap"}, "/v1/subscriptions"),
		"GET /v1/subscriptions/{}":                         hidden(sub, nil),
		"PATCH /v1/subscriptions/{}":                       hidden(sub, object{"name": "mine now"}),
		"DELETE /v1/subscriptions/{}":                      hidden(sub, nil),
		"POST /v1/subscriptions/{}/pause":                  hidden(sub+"/pause", nil),
		"POST /v1/subscriptions/{}/resume":                 hidden(sub+"/resume", nil),
		"POST /v1/subscriptions/{}/rotate-secret":          hidden(sub+"/rotate-secret", nil),
		"POST /v1/subscriptions/{}/rotate-secret/complete": hidden(sub+"/rotate-secret/complete", nil),
		"POST /v1/subscriptions/{}/test":                   hidden(sub+"/test", nil),
		"POST /v1/subscriptions/{}/preview":                append(hidden(sub+"/preview", object{"eventType": "visit_report.approved"}), foreign...),
		"POST /v1/subscriptions/{}/replay":                 hidden(sub+"/replay", object{"mode": "original"}),
		"GET /v1/subscriptions/{}/history":                 hidden(sub+"/history", nil),
		"GET /v1/subscriptions/{}/events":                  hidden(sub+"/events", nil),
		"GET /v1/subscriptions/{}/counts":                  hidden(sub+"/counts", nil),
		"POST /v1/signature-doctor":                        hidden("/v1/signature-doctor", object{"headers": object{"webhook-id": v.event}, "body": "{}", "subscriptionId": v.sub.ID}),
		"GET /v1/deliveries":                               allowed(http.StatusOK, nil, "/v1/deliveries", "/v1/deliveries?subscriptionId="+v.sub.ID, "/v1/deliveries?eventId="+v.event, "/v1/deliveries?status=dead_letter"),
		"GET /v1/deliveries/{}":                            hidden("/v1/deliveries/"+v.sent, nil),
		"POST /v1/deliveries/{}/retry":                     hidden("/v1/deliveries/"+v.dead+"/retry", nil),
		"POST /v1/deliveries/retry":                        allowed(http.StatusAccepted, object{"status": "dead_letter", "eventType": "visit_report.rejected"}, "/v1/deliveries/retry"),
		"GET /v1/deliveries/stream":                        allowed(http.StatusOK, nil, "/v1/deliveries/stream?subscriptionId="+v.sub.ID), // what it tells is below
		"GET /v1/metrics/deliveries":                       allowed(http.StatusOK, nil, "/v1/metrics/deliveries", "/v1/metrics/deliveries?subscriptionId="+v.sub.ID),
		"GET /v1/reconciliation":                           allowed(http.StatusOK, nil, "/v1/reconciliation"),
		"GET /v1/jobs":                                     allowed(http.StatusOK, nil, "/v1/jobs"),
		"GET /v1/jobs/{}":                                  hidden("/v1/jobs/"+v.job, nil),
		"POST /v1/jobs/{}/cancel":                          hidden("/v1/jobs/"+v.job+"/cancel", nil),

		"GET /v1/api-keys":       append(allowed(http.StatusOK, nil, "/v1/api-keys"), hidden("/v1/api-keys?tenantId="+v.id, nil)...),
		"POST /v1/api-keys":      append(forbidden("forbidden", "/v1/api-keys", object{"name": "x", "tenantId": v.id, "scopes": []string{"webhooks.read"}}), bound),
		"DELETE /v1/api-keys/{}": hidden("/v1/api-keys/"+v.key, nil),
		"GET /v1/api-keys/self":  allowed(http.StatusOK, nil, "/v1/api-keys/self"),

		"GET /v1/tenants":                forbidden("missing_scope", "/v1/tenants", nil),
		"POST /v1/tenants":               forbidden("missing_scope", "/v1/tenants", object{"tenantId": v.id, "name": "mine now"}),
		"PATCH /v1/tenants/{}":           forbidden("missing_scope", "/v1/tenants/"+v.id, object{"name": "mine now"}),
		"PUT /v1/tenants/{}/features/{}": forbidden("missing_scope", "/v1/tenants/"+v.id+"/features/billing_webhooks", object{"enabled": true}),
		"GET /v1/event-types":            allowed(http.StatusOK, nil, "/v1/event-types"),
		"GET /v1/event-types/{}":         allowed(http.StatusOK, nil, "/v1/event-types/visit_report.approved"),
	}
	for kind, body := range map[string]object{"customers/": {"name": "Mine"}, "locations/": {"name": "Mine"}, "contacts/": {"displayName": "Mine"}} {
		rows["GET "+directory+kind+"{}"] = hidden(directory+kind+"4711", nil)
		rows["DELETE "+directory+kind+"{}"] = hidden(directory+kind+"4711", nil)
		rows["PUT "+directory+kind+"{}"] = allowed(http.StatusOK, body, directory+kind+"4712")
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/docs"} {
		rows["GET "+path] = allowed(http.StatusOK, nil, path)
	}
	return rows
}

// Contract, section 5: another tenant's resource answers as if it did not exist. Every operation of the document is tried by a tenant's
// key, by one that names the victim, and by a platform key that acts for somebody else; no answer names anything of the victim's, and
// nothing of it changes.
func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, v, hook := newTenant(t, s), newVictim(t, s), receive(t, nil)
	own := acme.subscribe(hook, "visit_report.*", nil)
	_, key := acme.keyWith(slices.DeleteFunc(slices.Clone(allScopes), func(scope string) bool { return scope == "platform.admin" })...)
	byTenant := api{t: t, url: s.url, key: key}
	stream := byTenant.follow("?since=2020-01-01T00:00:00Z")
	rows, before := v.trespasses(own), v.everything()
	for template, item := range documentOf(t, s.url).paths {
		for method, operation := range item {
			route := unnamed(strings.ToUpper(method) + " " + template)
			tried, known := rows[route]
			if !known {
				t.Errorf("%s is not in this test's table: what may somebody see there who is of another tenant?", route)
			}
			delete(rows, route)
			for _, each := range tried {
				v.tries(byTenant, strings.ToUpper(method), each)
				if !strings.Contains(string(encoded(operation)), `"X-Ordinavo-Tenant"`) {
					continue
				}
				v.triesInItsName(byTenant, strings.ToUpper(method), each)
				if each.code != "forbidden" { // a platform key may send events for whomever they name
					v.tries(acme.api, strings.ToUpper(method), each)
				}
			}
		}
	}
	for route := range rows {
		t.Errorf("the document does not have %s", route)
	}
	stream.tells(acme.emit(acme.visit("visit_report.approved", nil)), "succeeded") // all that was before would have come before it
	v.untold(t, "the stream", stream.text())
	v.unchangedSince(before)
	v.hook.exactly(3)
}

// A key that is bound to one subscription knows of no other, though it is of the same tenant: every operation is tried with what
// belongs to the subscription beside it.
func TestABoundKeyKnowsOneSubscription(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	v := newVictim(t, s)
	own := v.subscribe(receive(t, nil), "target.imported", object{"name": "Neighbour"})
	scopes := slices.DeleteFunc(slices.Clone(allScopes), func(scope string) bool { return scope == "platform.admin" })
	_, key := newKey(v.api, object{"name": "bound", "tenantId": v.id, "scopes": scopes, "subscriptionId": own.ID})
	bound, beside := api{t: t, url: s.url, key: key}, []string{v.sub.ID, v.sub.Secret, v.hook.url, v.sent, v.dead, v.job, v.key, v.event, v.sub.Name}
	stream := bound.follow("?since=2020-01-01T00:00:00Z")
	rows, before, answered := v.trespasses(own), v.everything(), 0
	for template, item := range documentOf(t, s.url).paths {
		for method := range item {
			for _, each := range rows[unnamed(strings.ToUpper(method)+" "+template)] {
				got := bound.do(strings.ToUpper(method), each.path, each.body)
				untold(t, got.request, string(got.body), beside)
				if got.status < http.StatusBadRequest {
					answered++
				}
				if got.status < http.StatusBadRequest && each.code == "not_found" {
					t.Errorf("%s: the key was let in: %d %s", got.request, got.status, got.body)
				}
			}
		}
	}
	if answered < 10 {
		t.Errorf("only %d requests were answered: the key may do nothing", answered)
	}
	v.unchangedSince(before)
	stream.tells(v.emit(v.visit("target.imported", nil)), "succeeded")
	untold(t, "the stream", stream.text(), beside)
}

func (v victim) unchangedSince(before map[string]string) {
	v.t.Helper()
	for path, is := range v.everything() {
		if is != before[path] {
			v.t.Errorf("%s was\n%s\nand is\n%s", path, before[path], is)
		}
	}
}

func (v victim) tries(caller api, method string, each trespass) {
	v.t.Helper()
	got := caller.do(method, each.path, each.body)
	v.untold(v.t, got.request, string(got.body))
	if each.code == "" {
		got.want(each.status)
		return
	}
	if p := got.refused(each.status, each.code); each.code == "not_found" {
		v.asIfNotThere(caller, method, each, p)
	}
}

// asIfNotThere wants the very words for an id that nobody has.
func (v victim) asIfNotThere(caller api, method string, each trespass, got problem) {
	v.t.Helper()
	nobodys := strings.NewReplacer(v.sub.ID, "sub_0", v.event, "evt_0", v.sent, "dlv_0", v.dead, "dlv_0", v.job, "job_0", v.key, "key_0", v.id, "nobody", "4711", "4713")
	body := each.body
	if body != nil {
		body = []byte(nobodys.Replace(string(encoded(body))))
	}
	want := caller.do(method, nobodys.Replace(each.path), body).refused(http.StatusNotFound, "not_found")
	got.TraceID, want.TraceID = "", ""
	a, _ := json.Marshal(got)
	if b, _ := json.Marshal(want); string(a) != string(b) {
		v.t.Errorf("%s %s answers\n%s, and for what is not there\n%s", method, each.path, a, b)
	}
}

// triesInItsName sends the victim's name in the header: for a tenant's key there is no such tenant, whatever it asks for.
func (v victim) triesInItsName(caller api, method string, each trespass) {
	v.t.Helper()
	got := caller.as(v.id).do(method, each.path, each.body)
	got.refused(http.StatusNotFound, "not_found")
	v.untold(v.t, got.request+" in its name", string(got.body))
}

func (v victim) untold(t *testing.T, where, text string) {
	t.Helper()
	untold(t, where, text, v.secrets())
}

func untold(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s tells %q: %.2000s", where, secret, text)
		}
	}
}

var lastUsed = regexp.MustCompile(`"lastUsedAt":[^,}]*`)

// everything is all that the victim can see of itself, as it sees it.
func (v victim) everything() map[string]string {
	v.t.Helper()
	all := map[string]string{}
	for _, path := range []string{
		"/v1/subscriptions", "/v1/subscriptions/" + v.sub.ID + "/history", "/v1/events", "/v1/deliveries", "/v1/deliveries/" + v.dead, "/v1/jobs",
		"/v1/directory/customers/4711", "/v1/directory/customers/4712", "/v1/directory/locations/4711", "/v1/directory/locations/4712",
		"/v1/directory/contacts/4711", "/v1/directory/contacts/4712", "/v1/api-keys?tenantId=" + v.id,
		"/v1/directory/external-ids?sourceSystem=crm&entityType=customer&ordinavoId=4711", "/v1/directory/external-ids?sourceSystem=crm&entityType=customer&ordinavoId=4712",
	} {
		all[path] = lastUsed.ReplaceAllString(string(v.get(path).want(http.StatusOK).body), "")
	}
	return all
}
