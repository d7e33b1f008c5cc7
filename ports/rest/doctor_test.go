package rest_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/preview"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/ports/rest"
)

type diagnosis struct {
	Valid    bool
	Findings []struct{ Code, Severity, Detail string }
}

func (d diagnosis) has(code, severity string) bool {
	for _, f := range d.Findings {
		if f.Code == code && f.Severity == severity && f.Detail != "" {
			return true
		}
	}
	return false
}

func (h *harness) examine(complaint map[string]any) diagnosis {
	h.Helper()
	return into[diagnosis](h.call(h.reader, "POST", "/v1/signature-doctor", string(mustJSON(h.T, complaint))).expect(200))
}

// received is what a receiver of the subscription would have got, as a complaint.
func (h *harness) received(subscriptionID string) map[string]any {
	h.Helper()
	got := into[shown](h.call(h.admin, "POST", "/v1/subscriptions/"+subscriptionID+"/preview", `{"eventType":"visit_report.approved"}`).expect(200))
	return map[string]any{"headers": got.Request.Headers, "body": got.Request.Body, "receivedAt": h.now.Format("2006-01-02T15:04:05Z")}
}

func TestDoctor(t *testing.T) {
	h := newHarness(t)
	id := h.subscribe()
	right, wrong := secret.FromBytes([32]byte{1}).Reveal(), secret.FromBytes([32]byte{2}).Reveal()
	for name, c := range map[string]struct {
		change map[string]any // what the receiver says otherwise; nil takes it away
		code   string
		valid  bool
	}{
		"as sent, by the subscription": {map[string]any{"subscriptionId": id}, "signature_ok", true},
		"as sent, by the secret":       {map[string]any{"secret": right}, "signature_ok", true},
		"as sent, by both":             {map[string]any{"secret": right, "subscriptionId": id}, "signature_ok", true},
		"nobody knows when":            {map[string]any{"secret": right, "receivedAt": nil}, "timestamp_ok", true},
		"another secret":               {map[string]any{"secret": wrong}, "other_secret", false},
		"not the subscription's":       {map[string]any{"secret": wrong, "subscriptionId": id}, "other_secret", false},
		"no prefix":                    {map[string]any{"secret": right[6:]}, "secret_misused", false},
		"no secret at all":             {map[string]any{"secret": "ord_live_4711"}, "secret_malformed", false},
		"no headers":                   {map[string]any{"secret": right, "headers": map[string]string{}}, "header_missing", false},
		"no body":                      {map[string]any{"secret": right, "body": ""}, "body_missing", false},
		"late":                         {map[string]any{"secret": right, "receivedAt": "2026-06-19T17:00:00Z"}, "timestamp_too_old", false},
	} {
		complaint := h.received(id)
		maps.Copy(complaint, c.change)
		maps.DeleteFunc(complaint, func(_ string, v any) bool { return v == nil })
		if got := h.examine(complaint); got.Valid != c.valid || !slices.ContainsFunc(got.Findings, func(f struct{ Code, Severity, Detail string }) bool { return f.Code == c.code }) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if log := h.log.String(); strings.Contains(log, right) || strings.Contains(log, right[6:]) || strings.Contains(log, wrong) {
		t.Error("a secret is in the log")
	}
}

func TestDoctorReadsBytes(t *testing.T) {
	h := newHarness(t)
	complaint := h.received(h.subscribe())
	body := append([]byte{0xEF, 0xBB, 0xBF}, complaint["body"].(string)...)
	delete(complaint, "body")
	complaint["bodyBase64"], complaint["secret"] = base64.StdEncoding.EncodeToString(body), secret.FromBytes([32]byte{1}).Reveal()
	if got := h.examine(complaint); !got.has("byte_order_mark", "error") || got.Valid {
		t.Errorf("%+v", got)
	}
}

func TestDoctorRefuses(t *testing.T) {
	h := newHarness(t)
	const path = "/v1/signature-doctor"
	secretText := secret.FromBytes([32]byte{1}).Reveal()
	for body, field := range map[string]string{
		`{"headers":{},"body":""}`: "secret", `{"headers":{},"secret":"x"}`: "body", `{"body":"","secret":"x"}`: "headers",
		`{"headers":{},"body":"","bodyBase64":"","secret":"x"}`: "bodyBase64", `{"headers":{},"bodyBase64":"%","secret":"x"}`: "bodyBase64",
		`{"headers":{"a":1},"body":"","secret":"x"}`: "headers.a", `{"headers":{},"body":"","secret":7}`: "secret",
		`{"headers":{},"body":"","subscriptionId":"x"}`: "subscriptionId", `{"headers":{},"body":"","secret":"x","receivedAt":"now"}`: "receivedAt",
		`{"headers":{},"body":"` + strings.Repeat("a", 131073) + `","secret":"x"}`:          "body",
		`{"headers":{},"body":"","secret":"` + secretText + strings.Repeat("a", 200) + `"}`: "secret",
	} {
		if got := h.call(h.reader, http.MethodPost, path, body).expect(400).refused("validation_failed", field); strings.Contains(got.body, secretText) {
			t.Errorf("the refusal repeats the secret: %s", got.body)
		}
	}
	subscription := h.subscribe()
	h.call(h.other, http.MethodPost, path, `{"headers":{},"body":"","subscriptionId":"`+subscription+`"}`).expect(404).refused("not_found")
	h.call(h.reader, http.MethodPost, path, `{"headers":{},"body":"","subscriptionId":"sub_none"}`).expect(404).refused("not_found")
	emitter := h.call(h.platform, "POST", "/v1/api-keys", `{"name":"x","tenantId":"tenant-123","scopes":["events.write"]}`).expect(201).text("key")
	h.call(emitter, http.MethodPost, path, `{"headers":{},"body":"","secret":"x"}`).expect(403).refused("missing_scope")
}

func TestExaminationsOfATenantAtOnceAreBounded(t *testing.T) {
	var doctor *preview.Doctor
	h := newHarness(t, func(d *rest.Dependencies) { doctor = d.Doctor })
	const path, complaint = "/v1/signature-doctor", `{"headers":{},"body":"","secret":"x"}`
	for range 2 * preview.MaxAtOnceForTenant { // one after the other
		h.call(h.reader, "POST", path, complaint).expect(200)
		h.call(h.reader, "POST", path, `{"headers":{},"body":"","subscriptionId":"sub_none"}`).expect(404)
	}
	for range preview.MaxAtOnceForTenant {
		end, err := doctor.Begin(own)
		if err != nil {
			t.Fatal(err)
		}
		defer end()
	}
	if got := h.call(h.reader, "POST", path, complaint).expect(429).refused("rate_limited"); got.header.Get("Retry-After") != "1" {
		t.Error(got.header)
	}
	h.call(h.other, "POST", path, complaint).expect(200)
}

// The answer of the doctor to the document's own example is that all is well.
func TestDoctorsExampleIsValid(t *testing.T) {
	h := newHarness(t)
	example := h.document().Paths["/v1/signature-doctor"]["post"].RequestBody.Content["application/json"].Example
	var complaint map[string]any
	if err := json.Unmarshal(example, &complaint); err != nil {
		t.Fatal(err)
	}
	if got := h.examine(complaint); !got.Valid || !got.has("signature_ok", "ok") || !got.has("timestamp_ok", "ok") {
		t.Errorf("%+v", got)
	}
}
