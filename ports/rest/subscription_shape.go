package rest

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Subscription is a tenant's standing order for events.
type Subscription struct {
	ID             string          `json:"id" example:"sub_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`
	TenantID       string          `json:"tenantId" example:"tenant-123"`
	Name           string          `json:"name" example:"SAP"`
	URL            string          `json:"url" example:"https://erp.example.com/hook"`
	EventTypes     []string        `json:"eventTypes"`
	SourceSystem   string          `json:"sourceSystem" doc:"Whose external IDs the bodies carry." example:"sap"`
	PayloadOptions PayloadOptions  `json:"payloadOptions"`
	RetrySchedule  []string        `json:"retrySchedule" doc:"The delays after each failed attempt but the last."`
	TimeoutSeconds float64         `json:"timeoutSeconds" example:"10"`
	MaxInFlight    int             `json:"maxInFlight" example:"16" doc:"Attempts at once in each process of the service."`
	Status         string          `json:"status" enum:"active,paused,disabled"`
	StatusReason   *string         `json:"statusReason" doc:"Why it is paused or disabled."`
	Version        int64           `json:"version" doc:"Counts the changes; the ETag." example:"1"`
	CreatedAt      time.Time       `json:"createdAt"`
	UpdatedAt      time.Time       `json:"updatedAt"`
	SecretRotation *SecretRotation `json:"secretRotation" doc:"The rotation under way; null for none."`
	Circuit        *Circuit        `json:"circuit,omitempty" doc:"How much the receiver is spared right now. It is there when subscriptions are got or listed as they are."`
}

// SecretRotation is a rotation under way.
type SecretRotation struct {
	OverlapEnd time.Time `json:"overlapEnd" doc:"Until then both secrets are valid."`
}

// TransformSchema lets a property be null, and describes another, for which huma has no tag on objects.
func (Subscription) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	letBeNull(s, "secretRotation")
	circuit := s.Properties["circuit"]
	s.Properties["circuit"] = &huma.Schema{Description: circuit.Description, AllOf: []*huma.Schema{{Ref: circuit.Ref}}}
	return s
}

// SubscriptionWithSecret is a subscription with its signing secret, which is shown once.
type SubscriptionWithSecret struct {
	Subscription
	Secret string `json:"secret" doc:"The signing secret; it is not shown again." example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="`
}

// TransformSchema is Subscription's.
func (s SubscriptionWithSecret) TransformSchema(r huma.Registry, schema *huma.Schema) *huma.Schema {
	return s.Subscription.TransformSchema(r, schema)
}

// PayloadOptions is what a subscription decides about its bodies (contract, section 3).
type PayloadOptions struct {
	CustomerContext bool `json:"customerContext" doc:"Adds customer and location."`
	ContactDetails  bool `json:"contactDetails" doc:"Adds contact, with customerContext."`
	SummaryPreview  bool `json:"summaryPreview" doc:"Adds the beginning of the visit report's free text."`
	BillingDetails  bool `json:"billingDetails" doc:"Adds billingEvent; needs the feature billing_webhooks."`
}

// NewOptions is the options of a new subscription; absent ones have the defaults of contract, section 3.
type NewOptions struct {
	CustomerContext optional[bool] `json:"customerContext,omitempty" doc:"Adds customer and location; true by default in a new subscription."`
	ContactDetails  optional[bool] `json:"contactDetails,omitempty" doc:"Adds contact, with customerContext; true by default in a new subscription."`
	SummaryPreview  optional[bool] `json:"summaryPreview,omitempty" doc:"Adds the beginning of the visit report's free text; false by default in a new subscription."`
	BillingDetails  optional[bool] `json:"billingDetails,omitempty" doc:"Adds billingEvent; needs the feature billing_webhooks, and is false by default in a new subscription."`
}

func (o NewOptions) apply(to *payload.Options, fields problem.Fields) {
	o.CustomerContext.apply(&to.CustomerContext, fields, "customerContext")
	o.ContactDetails.apply(&to.ContactDetails, fields, "contactDetails")
	o.SummaryPreview.apply(&to.SummaryPreview, fields, "summaryPreview")
	o.BillingDetails.apply(&to.BillingDetails, fields, "billingDetails")
}

// SubscriptionPatch is what POST and PATCH take: absent fields stay as they are, or get their default.
type SubscriptionPatch struct {
	Name           optional[string]     `json:"name,omitempty" maxLength:"200" example:"SAP"`
	URL            optional[string]     `json:"url,omitempty" maxLength:"2048" example:"https://erp.example.com/hook"`
	EventTypes     optional[[]string]   `json:"eventTypes,omitempty" maxItems:"50" doc:"Exact types, families like visit_report.*, or * for all that product services emit. Operational events come with ordinavo.*, or by name."`
	SourceSystem   optional[string]     `json:"sourceSystem,omitempty" maxLength:"64" doc:"Whose external IDs the bodies carry; none by default." example:"sap"`
	PayloadOptions optional[NewOptions] `json:"payloadOptions,omitempty"`
	RetrySchedule  optional[[]string]   `json:"retrySchedule,omitempty" nullable:"true" maxItems:"20" doc:"Delays of 1s to 72h; null for the service's own schedule."`
	TimeoutSeconds optional[float64]    `json:"timeoutSeconds,omitempty" minimum:"1" maximum:"30" doc:"Default 10."`
	MaxInFlight    optional[int]        `json:"maxInFlight,omitempty" minimum:"1" maximum:"256" doc:"Attempts at once in each process of the service; default 16."`
	Status         optional[string]     `json:"status,omitempty" enum:"active,paused" doc:"paused pauses, active resumes."`
}

// NewSubscription is a SubscriptionPatch that starts from nothing, so three of its fields are required.
type NewSubscription struct{ SubscriptionPatch }

// TransformSchema says which fields are required.
func (NewSubscription) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"name", "url", "eventTypes"}
	return s
}

// edit checks the patch's form and returns what it does to settings.
func (p SubscriptionPatch) edit() (func(*subscription.Settings), error) {
	fields := problem.Collect("")
	schedule := p.RetrySchedule.durations(fields)
	check := subscription.Settings{}
	p.applyTo(&check, schedule, fields)
	var status string
	p.Status.apply(&status, fields, "status")
	return func(to *subscription.Settings) { p.applyTo(to, schedule, problem.Collect("")) }, fields.Err()
}

func (p SubscriptionPatch) applyTo(to *subscription.Settings, schedule []time.Duration, fields problem.Fields) {
	p.Name.apply(&to.Name, fields, "name")
	p.URL.apply(&to.URL, fields, "url")
	p.EventTypes.apply((*[]string)(&to.EventTypes), fields, "eventTypes")
	p.SourceSystem.apply(&to.SourceSystem, fields, "sourceSystem")
	p.MaxInFlight.apply(&to.MaxInFlight, fields, "maxInFlight")
	seconds := to.Timeout.Seconds()
	p.TimeoutSeconds.apply(&seconds, fields, "timeoutSeconds")
	if p.TimeoutSeconds.set {
		to.Timeout = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	}
	if p.RetrySchedule.set {
		to.RetrySchedule = schedule
	}
	var options NewOptions
	p.PayloadOptions.apply(&options, fields, "payloadOptions")
	options.apply(&to.Options, fields.Under("payloadOptions"))
}

func (o optional[T]) durations(fields problem.Fields) []time.Duration {
	texts, _ := any(o.value).([]string)
	if o.wrong {
		fields.Add("retrySchedule", wrongForm)
	}
	if !o.set || o.null || o.wrong {
		return nil
	}
	if len(texts) > subscription.MaxRetryDelays {
		fields.Add("retrySchedule", "must have 1 to %d delays", subscription.MaxRetryDelays) // and none of them is looked at
		return nil
	}
	delays := make([]time.Duration, 0, len(texts))
	for i, text := range texts {
		delay, err := time.ParseDuration(text)
		if err != nil {
			fields.Add("retrySchedule"+problem.Index(i), "must be a duration like 30s, 2m or 1h30m")
		}
		delays = append(delays, delay)
	}
	return delays
}

// breaches is everything that is wrong with the fields that were sent, in form or by the rules; nil if nothing is.
func (a *API) breaches(p SubscriptionPatch) error {
	edit, err := p.edit()
	settings := subscription.Settings{}
	edit(&settings)
	_, broken := a.Subscriptions.Check(settings)
	return joinFields(err, broken, p.sent)
}

// sent says whether the field that a path begins with was sent.
func (p SubscriptionPatch) sent(path string) bool {
	field, _, _ := strings.Cut(path, "[")
	switch field {
	case "name":
		return p.Name.set
	case "url":
		return p.URL.set
	case "eventTypes":
		return p.EventTypes.set
	case "sourceSystem":
		return p.SourceSystem.set
	case "retrySchedule":
		return p.RetrySchedule.set
	case "timeoutSeconds":
		return p.TimeoutSeconds.set
	case "maxInFlight":
		return p.MaxInFlight.set
	default:
		return false
	}
}

// subscriptionBreaches is what the rules say about a body that its schema has already refused.
func (a *API) subscriptionBreaches(body []byte) error {
	var p SubscriptionPatch
	if err := json.Unmarshal(body, &p); err != nil {
		return nil // not even an object
	}
	return a.breaches(p)
}

// optional is a field that knows whether it was sent, and whether as null or as a value of the wrong type.
type optional[T any] struct {
	set, null, wrong bool
	value            T
}

// UnmarshalJSON notes that the field was sent. A value of the wrong type does not stop the other fields from being read.
func (o *optional[T]) UnmarshalJSON(data []byte) error {
	o.set = true
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		o.null = true
		return nil
	}
	o.wrong = json.Unmarshal(data, &o.value, wholeNumbers) != nil
	return nil
}

// Schema is that of the value.
func (optional[T]) Schema(r huma.Registry) *huma.Schema {
	schema := *r.Schema(reflect.TypeFor[T](), true, "")
	return &schema
}

// apply sets the value that was sent, if any; null is refused.
func (o optional[T]) apply(to *T, fields problem.Fields, name string) {
	switch {
	case o.wrong:
		fields.Add(name, wrongForm)
	case o.null:
		fields.Add(name, "must not be null")
	case o.set:
		*to = o.value
	}
}

// wanted is the value that was sent, nil if none was; null is refused.
func (o optional[T]) wanted(fields problem.Fields, name string) *T {
	if !o.set {
		return nil
	}
	var value T
	o.apply(&value, fields, name)
	return &value
}

func viewSubscription(s subscription.Subscription, now time.Time) Subscription {
	view := Subscription{
		ID: s.ID, TenantID: string(s.Tenant), Name: s.Name, URL: s.URL, EventTypes: append([]string{}, s.EventTypes...), SourceSystem: s.SourceSystem,
		PayloadOptions: PayloadOptions(s.Options), RetrySchedule: []string{}, TimeoutSeconds: s.Timeout.Seconds(), MaxInFlight: s.MaxInFlight,
		Status: string(s.Status), StatusReason: unlessEmpty(s.Reason), Version: s.Version, CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
	}
	for _, delay := range s.RetrySchedule {
		view.RetrySchedule = append(view.RetrySchedule, shortDuration(delay))
	}
	if s.Secrets.Rotating(now) {
		view.SecretRotation = &SecretRotation{s.Secrets.OverlapEnd.UTC()}
	}
	return view
}

// shortDuration writes a duration without trailing zero units: 2m and not 2m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

func etag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }
