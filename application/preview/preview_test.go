package preview

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var now = time.Date(2026, 6, 18, 17, 0, 0, 0, time.UTC)

// world is what a preview reads: a directory, a feature, secrets by their IDs.
type world struct {
	subscriptions.Store // nothing of it is called but CurrentSubscription
	sub                 subscription.Subscription
	context             payload.Context
	billing             bool
	resolved            int // lookups
}

func (w *world) ListSubscriptions(context.Context, tenant.ID, string, int) ([]subscription.Subscription, error) {
	return []subscription.Subscription{w.sub}, nil
}

func (w *world) Resolve(_ context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	contexts := make([]payload.Context, len(lookups))
	for i := range lookups {
		contexts[i] = w.context
	}
	w.resolved += len(lookups)
	return contexts, nil
}

func (w *world) Enabled(context.Context, tenant.ID, tenant.Feature) (bool, error) {
	return w.billing, nil
}

func (w *world) CurrentSubscription(context.Context, dispatch.Lane) (subscription.Subscription, error) {
	return w.sub, nil
}

func (w *world) OpenSecret(_ context.Context, _ tenant.ID, _, id string) (secret.Secret, error) {
	return secret.FromBytes([32]byte([]byte(id + strings.Repeat("_", 32))[:32])), nil
}

func (w *world) service() *subscriptions.Service {
	return &subscriptions.Service{Store: w, Gate: w, Now: func() time.Time { return now }, NewID: func(prefix string) string { return prefix + "01JZ8A2MT8G7C3Y7V0WQ1M9B3C" }}
}

func (w *world) previewer() *Previewer {
	return &Previewer{Service: w.service(), Store: w, Attempter: &dispatch.Attempter{Secrets: w, UserAgent: "test"}}
}

func (w *world) previews(t *testing.T, e event.Event, subs []subscription.Subscription) (all []Preview) {
	t.Helper()
	err := w.previewer().Event(t.Context(), e, subs, "", func(p Preview) error {
		all = append(all, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func newWorld() *world {
	return &world{
		billing: true,
		sub: subscription.Subscription{ID: "sub_1", Tenant: "t", Status: subscription.StatusActive, Version: 3, Secrets: subscription.Secrets{Current: "new"},
			Settings: subscription.Settings{URL: "https://a.example/", EventTypes: subscription.Filter{"*"}, SourceSystem: "sap",
				Options: payload.Options{CustomerContext: true, ContactDetails: true, SummaryPreview: true, BillingDetails: true}}},
		context: payload.Context{
			Customer: &payload.Customer{ID: 12, CustomerNumber: new("RRM-001")}, Location: &payload.Location{ID: 34, City: new("Essen"), HasCoordinates: new(true)},
			ExternalIDs: map[payload.Ref]string{{Kind: payload.KindCustomer, ID: 12}: "CUST-1", {Kind: payload.KindTarget, ID: 455}: "JOB-1"},
		},
	}
}

// Every value of a body that the event does not carry has its origin, and every origin is a value of the body.
func TestOriginsAreThoseOfTheBody(t *testing.T) {
	for _, kind := range event.Types() {
		w := newWorld()
		previews := w.previews(t, event.Sample(kind, "t"), []subscription.Subscription{w.sub})
		var body map[string]any
		if err := json.Unmarshal(previews[0].Request.Body, &body); err != nil {
			t.Fatal(err)
		}
		told := map[string]Origin{}
		for _, o := range previews[0].Origins {
			told[o.Path] = o
		}
		count := 0
		for _, block := range []payload.EntityKind{payload.KindCustomer, payload.KindLocation, payload.KindContact, payload.KindTarget} {
			fields, _ := body[string(block)].(map[string]any)
			for name, value := range fields {
				if strings.HasPrefix(name, "ordinavo") || block == payload.KindTarget && name != "externalId" {
					continue // the event's own
				}
				count++
				o, ok := told[string(block)+"."+name]
				if !ok || o.Value != value || (value == nil) != (o.Source == SourceNone) || o.Detail == "" {
					t.Errorf("%s: %s.%s is %v, its origin %+v", kind, block, name, value, o)
				}
			}
		}
		if count != len(told) || count == 0 {
			t.Errorf("%s: %d values were looked up, %d origins told", kind, count, len(told))
		}
	}
}

func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		filter  subscription.Filter
		status  subscription.Status
		kind    event.Type
		billing bool
		outcome string
		becomes delivery.Status
		reason  string
	}{
		"exact":      {subscription.Filter{"target.imported", "target.completed"}, "active", event.TargetCompleted, true, queries.OutcomeDelivery, delivery.StatusPending, "its pattern target.completed wants"},
		"family":     {subscription.Filter{"target.*"}, "active", event.TargetCompleted, true, queries.OutcomeDelivery, delivery.StatusPending, "its pattern target.* wants"},
		"disabled":   {subscription.Filter{"*"}, "disabled", event.TargetCompleted, true, queries.OutcomeDelivery, delivery.StatusParked, "the subscription is disabled (why)"},
		"gated":      {subscription.Filter{"*"}, "paused", event.BillingEventSent, false, queries.OutcomeFeatureGated, "", "billing_webhooks"},
		"near":       {subscription.Filter{"billing.event_ready", "target.completed", "target.scheduled"}, "active", event.TargetImported, true, queries.OutcomeNotMatched, "", "the nearest is target.completed"},
		"far":        {subscription.Filter{"billing.*"}, "active", event.TargetImported, true, queries.OutcomeNotMatched, "", "the nearest is billing.*"},
		"not, gated": {subscription.Filter{"target.*"}, "active", event.BillingEventSent, false, queries.OutcomeNotMatched, "", "none of its patterns (target.*)"},
	} {
		w := newWorld()
		w.sub.EventTypes, w.sub.Status, w.sub.Reason, w.billing = c.filter, c.status, "why", c.billing
		previews := w.previews(t, event.Sample(c.kind, "t"), []subscription.Subscription{w.sub})
		got := previews[0]
		sent := c.outcome == queries.OutcomeDelivery
		if got.Outcome != c.outcome || got.Status != c.becomes || !strings.Contains(got.Reason, c.reason) || (got.Request != nil) != sent || (w.resolved > 0) != sent {
			t.Errorf("%s: %+v with %d lookups", name, got, w.resolved)
		}
	}
}

// What is stored of an event is what a preview renders.
func TestStoredIsAsReadBack(t *testing.T) {
	e := event.Sample(event.VisitReportFollowUp, "t")
	e.ID, e.FollowUp.DueDate = "", new("2026-07-02T10:00:00+02:00")
	got, err := newWorld().previewer().Stored(e)
	if err != nil || got.ID == "" || *got.FollowUp.DueDate != "2026-07-02T08:00:00Z" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDoctorKnowsTheRoles(t *testing.T) {
	w := newWorld()
	open := func(id string) secret.Secret {
		s, _ := w.OpenSecret(t.Context(), "", "", id)
		return s
	}
	signed := signature.Sign(nil, now, "evt_1", open("old"), open("new"), open("old"))
	complaint := Complaint{ReceivedAt: now, Lane: dispatch.Lane{Tenant: "t", SubscriptionID: "sub_1"}, Headers: map[string]string{
		signature.HeaderBody: signed.Body, signature.HeaderID: signed.ID, signature.HeaderTimestamp: signed.Timestamp, signature.HeaderStandard: signed.Standard}}
	for name, c := range map[string]struct {
		secrets subscription.Secrets
		given   string
		want    signature.Code
		valid   bool
	}{
		"in the overlap":        {subscription.Secrets{Current: "new", Previous: "old", OverlapEnd: now.Add(time.Hour)}, "", signature.CodeOldSecret, true},
		"has the old one":       {subscription.Secrets{Current: "new", Previous: "old", OverlapEnd: now.Add(time.Hour)}, open("old").Reveal(), signature.CodeOldSecret, true},
		"has the new one":       {subscription.Secrets{Current: "new", Previous: "old", OverlapEnd: now.Add(time.Hour)}, open("new").Reveal(), signature.CodeOldSecret, true},
		"behind the overlap":    {subscription.Secrets{Current: "new", Previous: "old", OverlapEnd: now}, "", signature.CodeOldSecret, false},
		"completed":             {subscription.Secrets{Current: "new"}, "", signature.CodeMismatch, false},
		"has another one":       {subscription.Secrets{Current: "new", Previous: "old", OverlapEnd: now.Add(time.Hour)}, open("no").Reveal(), signature.CodeOtherSecret, false},
		"has none that is read": {subscription.Secrets{Current: "new"}, "none", signature.CodeSecretMalformed, false},
	} {
		w.sub.Secrets, complaint.Secret = c.secrets, c.given
		findings, err := (&Doctor{Service: w.service(), Secrets: w}).Examine(t.Context(), complaint)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range findings {
			found = found || f.Code == c.want
		}
		if !found || signature.Valid(findings) != c.valid {
			t.Errorf("%s: %v", name, findings)
		}
	}
}
