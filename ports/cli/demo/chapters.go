package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

const ruhr, rhein = "tenant-123", "tenant-456"

func (s *stage) firstEvent(ctx context.Context) error {
	err := s.tenant(ctx, ruhr, "Ruhr Service GmbH", map[string]string{
		"customer": "CUST-10042", "location": "LOC-ESSEN-01", "contact": "CONT-44", "target": "JOB-2026-000918"}, "Rhein-Ruhr Medical Supply")
	if err != nil {
		return err
	}
	hook := s.receiver.at("/sap", nil)
	sub, err := s.subscribe(ctx, ruhr, hook, []string{"visit_report.approved"}, nil)
	if err != nil {
		return err
	}
	began := time.Now()
	_, took, err := s.emit(ctx, s.api, ruhr, "visit_report.approved", nil)
	if err != nil {
		return err
	}
	s.tick("POST /v1/events: 202 after %.1f ms, and from then on the event cannot get lost", milliseconds(took))
	got, err := hook.next(ctx)
	if err != nil {
		return err
	}
	s.tick("the receiver got this %.1f ms after the request began:", milliseconds(got.at.Sub(began)))
	s.indented(got.String())
	return s.verify(got, sub.Secret)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// verify checks both signatures as a receiver does, and that a changed body would be noticed.
func (s *stage) verify(got arrival, shown string) error {
	key, err := secret.Parse(shown)
	if err != nil {
		return err
	}
	h := got.header
	if err := signature.VerifyBody(h.Get(signature.HeaderBody), got.body, key); err != nil {
		return err
	}
	s.tick("X-Ordinavo-Signature is right: HMAC-SHA256 over the body, with the secret that was shown once")
	standard := func(body []byte) error {
		return signature.VerifyStandard(h.Get(signature.HeaderID), h.Get(signature.HeaderTimestamp), h.Get(signature.HeaderStandard), body, time.Now(), signature.DefaultTolerance, key)
	}
	if err := standard(got.body); err != nil {
		return err
	}
	s.tick("webhook-signature is right: Standard Webhooks, over id, time and body")
	return s.check(standard(bytes.Replace(got.body, []byte("901"), []byte("902"), 1)) != nil, "one changed digit in the body would be noticed")
}

func (s *stage) twoTenants(ctx context.Context) error {
	err := s.tenant(ctx, rhein, "Rhein Technik AG", map[string]string{"customer": "K-7", "location": "L-7", "contact": "P-7", "target": "A-7"}, "Another customer 12")
	if err != nil {
		return err
	}
	hook := s.receiver.at("/rhein", nil)
	if _, err := s.subscribe(ctx, rhein, hook, []string{"visit_report.*"}, nil); err != nil {
		return err
	}
	other := s.receiver.at("/crm", nil)
	if _, err := s.subscribe(ctx, ruhr, other, []string{"visit_report.submitted"}, object{"sourceSystem": "crm"}); err != nil {
		return err
	}
	for tenant, e := range map[string]*endpoint{rhein: hook, ruhr: other} {
		if _, _, err := s.emit(ctx, s.api, tenant, "visit_report.submitted", nil); err != nil {
			return err
		}
		got, err := e.next(ctx)
		if err != nil {
			return err
		}
		if tenant == rhein {
			err = s.check(text(got.body, "customer", "externalId") == "K-7" && text(got.body, "target", "externalId") == "A-7",
				"%s gets its own: customer 12 is K-7, target 455 is A-7", tenant)
		} else {
			err = s.check(bytes.Contains(got.body, []byte(`"externalId":null`)) && !bytes.Contains(got.body, []byte("CUST-10042")),
				"%s gets null for its source system crm, which has no mapping, and not the ID of sap", tenant)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// text digs a string out of a body.
func text(body []byte, path ...string) string {
	var value any
	if json.Unmarshal(body, &value) != nil {
		return ""
	}
	for _, name := range path {
		block, _ := value.(object)
		value = block[name]
	}
	found, _ := value.(string)
	return found
}

func (s *stage) payloadOptions(ctx context.Context) error {
	hook := s.receiver.at("/options", nil)
	sub, err := s.subscribe(ctx, ruhr, hook, []string{"visit_report.created"}, object{"payloadOptions": object{"contactDetails": false}})
	if err != nil {
		return err
	}
	if _, _, err := s.emit(ctx, s.api, ruhr, "visit_report.created", nil); err != nil {
		return err
	}
	got, err := hook.next(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(
		s.check(!bytes.Contains(got.body, []byte(`"contact"`)) && !bytes.Contains(got.body, []byte("Anna")), "with contactDetails off, no contact is sent"),
		s.check(!bytes.Contains(got.body, []byte("summaryPreview")), "summaryPreview is off by default: the report's free text stays here"),
		s.check(!bytes.Contains(got.body, []byte("LEGACY-7")), "the legacy customer number of the target is never sent"))
	if err != nil {
		return err
	}
	err = s.api.as(ruhr).call(ctx, http.MethodPatch, "/v1/subscriptions/"+sub.ID, object{"payloadOptions": object{"contactDetails": false, "summaryPreview": true}}, nil)
	if err != nil {
		return err
	}
	if _, _, err := s.emit(ctx, s.api, ruhr, "visit_report.created", nil); err != nil {
		return err
	}
	if got, err = hook.next(ctx); err != nil {
		return err
	}
	preview := text(got.body, "visitReport", "summaryPreview")
	return s.check(preview != "", "switched on, the next event has it: %q", preview)
}

func (s *stage) billing(ctx context.Context) error {
	hook := s.receiver.at("/billing", nil)
	_, err := s.subscribe(ctx, ruhr, hook, []string{"billing.*"}, nil)
	var refused *problem
	if !errors.As(err, &refused) {
		return fmt.Errorf("a subscription to billing.* without the feature was not refused: %v", err)
	}
	if err := s.check(refused.Status == http.StatusForbidden && refused.Code == "feature_not_enabled", "without it: %s", refused); err != nil {
		return err
	}
	if err := s.api.call(ctx, http.MethodPut, "/v1/tenants/"+ruhr+"/features/billing_webhooks", object{"enabled": true}, nil); err != nil {
		return err
	}
	if _, err := s.subscribe(ctx, ruhr, hook, []string{"billing.*"}, object{"payloadOptions": object{"billingDetails": true}}); err != nil {
		return err
	}
	_, _, err = s.emit(ctx, s.api, ruhr, "billing.event_ready", object{"billingEvent": object{"id": 7001, "status": "Ready", "sourceType": "VisitReport", "visitReportId": 901, "createdAtUtc": "2026-06-18T16:41:00Z"}})
	if err != nil {
		return err
	}
	got, err := hook.next(ctx)
	if err != nil {
		return err
	}
	return s.check(text(got.body, "billingEvent", "status") == "Ready", "with it: %s arrived, with its billingEvent", got.header.Get("X-Ordinavo-Event-Type"))
}
