package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bodySignature is X-Ordinavo-Signature as contract section 4 says it, written anew: the key is the whole secret string.
func bodySignature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// standardSignature is that of Standard Webhooks 1.0: the key is the decoded part behind whsec_.
func standardSignature(t *testing.T, secret string, a arrival) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) != 32 {
		t.Fatalf("the secret has %d bytes: %v", len(key), err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(a.header.Get("webhook-id") + "." + a.header.Get("webhook-timestamp") + "."))
	mac.Write(a.body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// verify holds both signatures to the secrets: the body's to the first, the standard one to all in any order.
func verify(t *testing.T, a arrival, secrets ...string) {
	t.Helper()
	if got, want := a.header.Get("X-Ordinavo-Signature"), bodySignature(secrets[0], a.body); got != want {
		t.Errorf("X-Ordinavo-Signature: got %s, want %s", got, want)
	}
	got := strings.Split(a.header.Get("webhook-signature"), " ")
	if len(got) != len(secrets) {
		t.Errorf("webhook-signature has %d signatures, want %d: %v", len(got), len(secrets), got)
	}
	for i, secret := range secrets {
		if want := standardSignature(t, secret, a); !strings.Contains(strings.Join(got, " "), want) {
			t.Errorf("webhook-signature: nothing of secret %d in %v", i+1, got)
		}
	}
}

// Contract, section 4: every header.
func TestTheRequestAReceiverGets(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, answers(500, 200))
	sub := acme.subscribe(hook, "*", nil)
	if !regexp.MustCompile(`^whsec_[A-Za-z0-9+/]{43}=$`).MatchString(sub.Secret) {
		t.Fatalf("the secret's form: %d characters", len(sub.Secret))
	}
	emitter := acme.with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").with("tracestate", "vendor=1").with("baggage", "user=anna")
	id := tenant{emitter, acme.id}.emit(acme.visit("visit_report.approved", nil))
	acme.settled(id, sub.ID, "succeeded")
	got := hook.exactly(2)
	for i, a := range got {
		checkRequest(t, a, id, got[0].deliveryID())
		verify(t, a, sub.Secret)
		if trace := a.header.Get("traceparent"); !regexp.MustCompile(`^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01$`).MatchString(trace) || strings.Contains(trace, "b7ad6b7169203331") {
			t.Errorf("attempt %d: traceparent %q", i+1, trace)
		}
		for _, name := range []string{"Tracestate", "Baggage", "Authorization", "Cookie"} {
			if _, there := a.header[name]; there {
				t.Errorf("attempt %d: %s was sent on", i+1, name)
			}
		}
	}
	if got[0].header.Get("traceparent") == got[1].header.Get("traceparent") {
		t.Error("both attempts have the same span")
	}
}

func checkRequest(t *testing.T, a arrival, eventID, deliveryID string) {
	t.Helper()
	for name, form := range map[string]string{
		"Content-Type": `^application/json$`, "User-Agent": `^Ordinavo-Webhooks/\d+\.\d+\.\d+$`,
		"X-Ordinavo-Event-Id": "^" + eventID + "$", "X-Ordinavo-Event-Type": `^visit_report\.approved$`,
		"X-Ordinavo-Delivery-Id": "^" + deliveryID + "$", "X-Ordinavo-Timestamp": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`,
		"X-Ordinavo-Webhook-Version": `^v1$`, "Webhook-Id": "^" + eventID + "$", "Webhook-Timestamp": `^\d{10}$`,
	} {
		if values := a.header[name]; len(values) != 1 || !regexp.MustCompile(form).MatchString(values[0]) {
			t.Errorf("%s: got %q, want %s", name, values, form)
		}
	}
	if a.method != http.MethodPost || !strings.HasPrefix(deliveryID, "dlv_") {
		t.Errorf("%s of %s", a.method, deliveryID)
	}
	seconds, _ := strconv.ParseInt(a.header.Get("webhook-timestamp"), 10, 64)
	if got := time.Unix(seconds, 0).UTC().Format(time.RFC3339); got != a.header.Get("X-Ordinavo-Timestamp") {
		t.Errorf("webhook-timestamp is %s, X-Ordinavo-Timestamp %s", got, a.header.Get("X-Ordinavo-Timestamp"))
	}
}

// Contract, section 4: during a rotation both secrets sign, and the old one has the header with room for one.
func TestRotation(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	first := acme.subscribe(hook, "*", nil)
	path := "/v1/subscriptions/" + first.ID + "/rotate-secret"
	second := into[subscription](acme.post(path, object{"overlapHours": 24}).want(http.StatusOK))
	if second.Secret == first.Secret || second.Secret == "" {
		t.Fatal("no new secret was shown")
	}
	acme.emit(acme.visit("visit_report.approved", nil))
	verify(t, hook.wait(1)[0], first.Secret, second.Secret)
	acme.post(path+"/complete", nil).want(http.StatusOK)
	acme.emit(acme.visit("visit_report.approved", nil))
	verify(t, hook.wait(2)[1], second.Secret)

	third := into[subscription](acme.post(path, object{"overlapHours": 0}).want(http.StatusOK))
	acme.emit(acme.visit("visit_report.approved", nil))
	verify(t, hook.wait(3)[2], third.Secret)
	if shown := acme.get("/v1/subscriptions/" + first.ID); strings.Contains(string(shown.body), "whsec_") {
		t.Errorf("a secret is shown again: %s", shown.body)
	}
	for _, hours := range []any{-1, 169, "24", 1.5} {
		acme.post(path, object{"overlapHours": hours}).refused(http.StatusBadRequest, "validation_failed")
	}
}
