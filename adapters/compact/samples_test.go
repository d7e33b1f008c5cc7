package compact

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// sample is a content as the service stores it.
type sample struct {
	kind    Kind
	content []byte
	known   []string
}

// world makes samples: what their fields have in common is real, what differs is random.
type world struct{ *rand.Rand }

func newWorld(seed uint64) world { return world{rand.New(rand.NewPCG(seed, 7))} }

func (w world) id(prefix string) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() + w.Int64N(1e11)))
	_ = id.SetEntropy(w.bytes(10))
	return prefix + id.String()
}

func (w world) bytes(n int) []byte {
	random := make([]byte, n)
	for i := range random {
		random[i] = byte(w.Uint32())
	}
	return random
}

func (w world) time() time.Time { return time.UnixMicro(1767225600e6 + w.Int64N(1e14)).UTC() }

func (w world) words(n int) *string {
	words := make([]string, n)
	for i := range words {
		letters := make([]byte, 2+w.IntN(8))
		for j := range letters {
			letters[j] = "etaoinshrdlucmfwypvbgkjqxz"[min(w.IntN(26), w.IntN(26))]
		}
		words[i] = string(letters)
	}
	text := strings.Join(words, " ")
	return &text
}

func (w world) trace() string {
	return fmt.Sprintf("00-%s-%s-01", hex.EncodeToString(w.bytes(16)), hex.EncodeToString(w.bytes(8)))
}

func (w world) event(t event.Type) event.Event {
	e := event.Sample(t, tenant.ID("tenant-"+fmt.Sprint(w.IntN(1e5))))
	e.ID, e.OccurredAt, e.Target.ID, e.Target.Title = w.id("evt_"), w.time().Truncate(time.Second), w.Int64N(1e6), w.words(3)
	if e.CustomerID != nil {
		e.CustomerID, e.LocationID, e.ContactID = new(w.Int64N(1e4)), new(w.Int64N(1e4)), new(w.Int64N(1e4))
	}
	if v := e.VisitReport; v != nil {
		v.ID, v.Title, v.Summary, v.AttachmentCount = w.Int64N(1e6), w.words(4), w.words(10+w.IntN(40)), new(w.Int64N(9))
	}
	if a := e.Appointment; a != nil {
		a.ID, a.Title = w.Int64N(1e6), w.words(4)
	}
	if f := e.FollowUp; f != nil {
		f.ID, f.Reason, f.TargetID = w.Int64N(1e6), w.words(5), &e.Target.ID
	}
	if b := e.BillingEvent; b != nil {
		b.ID, b.CreatedAtUTC = w.Int64N(1e6), new(w.time())
	}
	return e
}

func (w world) context(e event.Event) payload.Context {
	external := map[payload.Ref]string{}
	for _, r := range payload.References(e, payload.Options{CustomerContext: true, ContactDetails: true}) {
		external[r] = fmt.Sprintf("%s-%05d", strings.ToUpper(string(r.Kind)[:4]), w.IntN(1e5))
	}
	c := payload.Context{ExternalIDs: external}
	if e.CustomerID != nil {
		c.Customer = &payload.Customer{ID: *e.CustomerID, CustomerNumber: new(fmt.Sprintf("C-%05d", w.IntN(1e5))), Name: w.words(3)}
		c.Location = &payload.Location{ID: *e.LocationID, Name: w.words(2), City: w.words(1), HasCoordinates: new(w.IntN(4) > 0)}
		c.Contact = &payload.Contact{ID: *e.ContactID, DisplayName: w.words(2)}
	}
	return c
}

// ofEvent is what an event and its delivery leave: the event, the body, the record of the schedule and those of two attempts.
func (w world) ofEvent(t event.Type) (samples []sample) {
	e := w.event(t)
	content, err := event.Encode(e)
	if err != nil {
		panic(err)
	}
	options := payload.Options{CustomerContext: true, ContactDetails: w.IntN(4) > 0, SummaryPreview: w.IntN(2) > 0, BillingDetails: true}
	body, _ := payload.Render(e, payload.View{Options: options, Billing: true}, w.context(e))
	samples = append(samples, sample{Event, content, []string{string(e.TenantID), e.ID}}, sample{Body, body, []string{string(e.TenantID), e.ID}})
	at, id, trace, sub := w.time(), w.id("dlv_"), w.trace(), w.id("sub_")
	version := 1 + w.Int64N(4)
	changes := []delivery.Change{
		delivery.Scheduled{At: at, ID: id, Tenant: e.TenantID, EventID: e.ID, EventType: e.Type, SubscriptionID: sub, SubscriptionVersion: version, BodyNumber: 1},
		delivery.AttemptFailed{At: at.Add(time.Second), Attempt: delivery.Attempt{Number: 1, Outcome: w.outcome(at.Add(time.Second), e, id, trace, body, 500+w.IntN(4))}, NextAt: at.Add(time.Minute)},
		delivery.AttemptSucceeded{At: at.Add(time.Hour), Attempt: delivery.Attempt{Number: 2, Outcome: w.outcome(at.Add(time.Hour), e, id, trace, body, 200)}},
		delivery.AttemptSucceeded{At: at.Add(time.Millisecond * 7), Attempt: delivery.Attempt{Number: 1, Outcome: w.outcome(at, e, id, trace, body, 200)}},
	}
	for _, c := range changes {
		_, data, err := delivery.Encode(c)
		if err != nil {
			panic(err)
		}
		samples = append(samples, record(`{"traceparent":"`+trace+`"}`, data, string(e.TenantID), id, at))
	}
	named, err := json.Marshal([]map[string]string{{"t": string(e.TenantID), "e": e.ID}, {"t": string(e.TenantID), "e": w.id("evt_")}})
	if err != nil {
		panic(err)
	}
	return append(samples, record(`{"traceparent":"`+trace+`"}`, named, "", "", at))
}

func record(metadata string, data []byte, owner, id string, at time.Time) sample {
	return sample{Record, []byte(metadata + "\n" + string(data)), Row{owner, "stream/" + id, at.UnixMicro()}.known()}
}

func (w world) outcome(at time.Time, e event.Event, id, trace string, body []byte, status int) delivery.Outcome {
	key := secret.FromBytes([32]byte(w.bytes(32)))
	signed := signature.Sign(body, at, e.ID, key, key)
	o := delivery.Outcome{
		Kind: delivery.KindSucceeded, StartedAt: at.Add(-time.Duration(w.IntN(1e7))).Truncate(time.Microsecond), Duration: time.Duration(2e5 + w.IntN(1e8)), Status: status,
		RequestHeaders: map[string]string{
			"Content-Type": "application/json", "User-Agent": "Ordinavo-Webhooks/0.1.0", "X-Ordinavo-Event-Id": e.ID, "X-Ordinavo-Event-Type": string(e.Type),
			"X-Ordinavo-Delivery-Id": id, "X-Ordinavo-Timestamp": at.Format(time.RFC3339), signature.HeaderBody: signed.Body, "X-Ordinavo-Webhook-Version": "v1",
			signature.HeaderID: e.ID, signature.HeaderTimestamp: signed.Timestamp, signature.HeaderStandard: signed.Standard,
			"traceparent": trace[:36] + hex.EncodeToString(w.bytes(8)) + "-01",
		},
		ResponseHeaders: map[string]string{"Content-Length": fmt.Sprint(w.IntN(3)), "Date": at.Format("Mon, 02 Jan 2006 15:04:05 GMT")},
		TraceID:         trace[3:35],
	}
	switch w.IntN(4) {
	case 0:
		o.ResponseBody = []byte("ok")
		o.ResponseHeaders["Content-Type"] = "text/plain; charset=utf-8"
	case 1:
		o.ResponseBody = []byte(`{"status":"ok"}`)
		o.ResponseHeaders["Content-Type"] = "application/json"
		o.ResponseHeaders["Server"], o.ResponseHeaders["Connection"] = "nginx", "keep-alive"
	}
	if status >= 500 {
		o.Kind, o.Error = delivery.KindHTTPStatus, fmt.Sprintf("the receiver answered %d Service Unavailable", status)
	}
	return o
}

// ofSubscription is every change that a subscription can have.
func (w world) ofSubscription() (samples []sample) {
	at, id, owner := w.time(), w.id("sub_"), "tenant-"+fmt.Sprint(w.IntN(1e5))
	settings := subscription.Settings{Name: *w.words(2), URL: "https://" + *w.words(1) + ".example.com/webhooks", EventTypes: subscription.Filter{"visit_report.*"},
		SourceSystem: "sap", Options: payload.DefaultOptions(), Timeout: 10 * time.Second, MaxInFlight: 16,
		RetrySchedule: []time.Duration{30e9, 120e9, 600e9, 1800e9, 3600e9, 10800e9, 21600e9, 43200e9, 86400e9}}
	for _, c := range []subscription.Change{
		subscription.Deleted{At: at}, subscription.SecretRotationCompleted{At: at}, subscription.Resumed{At: at},
		subscription.Paused{At: at, Reason: *w.words(3)}, subscription.Disabled{At: at, Reason: subscription.ReasonGone},
		subscription.SecretRotationStarted{At: at, SecretID: w.id("sec_"), OverlapEnd: at.Add(24 * time.Hour)},
		subscription.OptionsChanged{At: at, SourceSystem: "sap", Options: settings.Options}, subscription.FilterChanged{At: at, EventTypes: settings.EventTypes},
		subscription.EndpointChanged{At: at, Name: settings.Name, URL: settings.URL, Timeout: settings.Timeout, MaxInFlight: 16, RetrySchedule: settings.RetrySchedule},
		subscription.Created{At: at, ID: id, Tenant: tenant.ID(owner), Settings: settings, SecretID: w.id("sec_")},
	} {
		_, data, err := subscription.Encode(c)
		if err != nil {
			panic(err)
		}
		samples = append(samples, record(`{"traceparent":"`+w.trace()+`","keyId":"`+w.id("key_")+`","keyName":"ERP"}`, data, owner, id, at))
	}
	return samples
}

func (w world) all() (samples []sample) {
	samples = w.ofSubscription()
	for _, t := range event.Types() {
		samples = append(samples, w.ofEvent(t)...)
	}
	return samples
}
