package delivery_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Whatever a change says: it is stored as encoding/json writes its type.
func TestAChangeIsStoredAsTheJSONOfItsType(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { storedAsJSON(t, drawChange(t)) })
	for _, c := range examples() {
		storedAsJSON(t, c)
	}
	for _, year := range []int{-1, 0, 9999, 10000} {
		strange := time.Date(year, 1, 1, 0, 0, 0, 0, time.FixedZone("", 5400))
		storedAsJSON(t, delivery.Scheduled{At: strange})
		storedAsJSON(t, delivery.AttemptSucceeded{Attempt: delivery.Attempt{Outcome: delivery.Outcome{StartedAt: strange}}})
		storedAsJSON(t, delivery.AttemptFailed{NextAt: strange})
	}
}

func storedAsJSON(t rapid.TB, c delivery.Change) {
	t.Helper()
	want, wantErr := json.Marshal(c)
	_, got, err := delivery.Encode(c)
	if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
		t.Errorf("%T is stored as\n%s (%v), want\n%s (%v)", c, got, err, want, wantErr)
	}
}

// drawChange has texts of all kinds, bytes that are no text among them.
func drawChange(t *rapid.T) delivery.Change {
	text := func(label string) string {
		return rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]*`),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.SampledFrom([]string{"", "<&>", "\u2028\u2029\ufffd", "\x7f\x1f\"\\"})).Draw(t, label)
	}
	texts := rapid.MapOfN(rapid.String(), rapid.String(), 0, 3)
	at := func(label string) time.Time {
		return rapid.SampledFrom([]time.Time{{}, drawTime(t), drawTime(t).In(time.FixedZone("", -3600))}).Draw(t, label)
	}
	a := delivery.Attempt{Number: rapid.Int().Draw(t, "number"), Outcome: delivery.Outcome{
		Kind: delivery.Kind(text("kind")), StartedAt: at("started"), Duration: time.Duration(rapid.Int64().Draw(t, "duration")),
		RequestHeaders: texts.Draw(t, "request"), Status: rapid.IntRange(0, 600).Draw(t, "status"), ResponseHeaders: texts.Draw(t, "response"),
		ResponseBody: rapid.SliceOf(rapid.Byte()).Draw(t, "body"), Error: text("error"),
		RetryAfter: time.Duration(rapid.Int64Range(0, 2).Draw(t, "retry after")), TraceID: text("trace"),
	}}
	return rapid.SampledFrom([]delivery.Change{
		delivery.Scheduled{
			At: at("at"), ID: text("id"), Tenant: tenant.ID(text("tenant")), EventID: text("event"), EventType: event.Type(text("type")),
			SubscriptionID: text("subscription"), SubscriptionVersion: rapid.Int64().Draw(t, "version"), BodyNumber: rapid.Int().Draw(t, "body number"),
			Warnings: rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "warnings"),
		},
		delivery.AttemptSucceeded{At: at("at"), Attempt: a},
		delivery.AttemptFailed{At: at("at"), Attempt: a, NextAt: at("next")},
	}).Draw(t, "change")
}

// What each delivery stores: its beginning, and an attempt with the headers that those have.
func BenchmarkEncode(b *testing.B) {
	headers := map[string]string{}
	for i := range 12 {
		headers[fmt.Sprintf("X-Ordinavo-Header-%d", i)] = "evt_01JZ2V7Q2F5N8R1T4W6Y9A3C7E"
	}
	attempt := delivery.Attempt{Number: 1, Outcome: delivery.Outcome{
		Kind: delivery.KindSucceeded, StartedAt: start, Duration: time.Second, RequestHeaders: headers, Status: 200,
		ResponseHeaders: map[string]string{"Content-Length": "2", "Content-Type": "text/plain", "Date": "Thu, 26 Nov 2026 13:26:59 GMT"}, ResponseBody: []byte("ok"),
	}}
	for _, c := range []delivery.Change{scheduled(), delivery.AttemptSucceeded{At: start, Attempt: attempt}} {
		b.Run(fmt.Sprintf("%T", c), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := delivery.Encode(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
