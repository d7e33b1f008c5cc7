package records_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// TestWhatIsStoredKeepsItsNames holds what databases out there have: a name that changes makes their records unreadable.
func TestWhatIsStoredKeepsItsNames(t *testing.T) {
	at := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	by := subscriptions.Actor{KeyID: "key_1", KeyName: "ERP", TraceParent: "00-1"}
	key := intake.EventKey{Tenant: "acme", ID: "evt_1"}
	exchange := subscriptions.Exchange{Tenant: "acme", DeliveryID: "dlv_1", At: at, Outcome: &delivery.Outcome{}}
	var all []records.Record
	add := func(list []records.Record, err error) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, list...)
	}
	one := func(r records.Record, err error) { add([]records.Record{r}, err) }
	add(records.OfSubscription(subscription.Subscription{ID: "sub_1", Tenant: "acme", UpdatedAt: at}, 1,
		[]subscription.Change{subscription.Paused{}, subscription.Deleted{}}, by))
	add(records.OfDelivery(delivery.Delivery{ID: "dlv_1", Tenant: "acme", UpdatedAt: at}, 2, []delivery.Change{delivery.Parked{}}, "00-2"))
	one(records.OfAccepted([]intake.EventKey{key}, at, "00-3"))
	one(records.OfRetried(queries.Event{ID: key.ID, Tenant: key.Tenant, TraceParent: "00-4"}, queries.Retried{At: at, KeyID: "key_1", KeyName: "ERP"}))
	one(records.OfSetAside(fanout.SetAside{Tenant: "acme", EventID: "evt_1", At: at}))
	one(records.OfTest(exchange, by))
	one(records.OfTestEnd(exchange))
	got := make([]string, len(all))
	for i, r := range all {
		packed := r.Packed()
		if err := packed.Unpack(); err != nil || string(packed.Data) != string(r.Data) || string(packed.Metadata) != string(r.Metadata) {
			t.Errorf("%s is packed as %s and %s: %v", r.Type, packed.Metadata, packed.Data, err)
		}
		got[i] = fmt.Sprintf("%s %q %q %d %s %s %s", r.Topic, r.Tenant, r.Stream, r.Version, r.Type, r.Metadata, r.At.Format(time.RFC3339))
	}
	const who = `{"traceparent":"00-1","keyId":"key_1","keyName":"ERP"} 2026-06-18T16:40:00Z`
	if want := []string{
		`subscriptions "acme" "subscription/sub_1" 2 subscription.paused.v1 ` + who,
		`subscriptions "acme" "subscription/sub_1" 3 subscription.deleted.v1 ` + who,
		`deliveries "acme" "delivery/dlv_1" 3 delivery.parked.v1 {"traceparent":"00-2"} 2026-06-18T16:40:00Z`,
		`events "" "" 0 events.accepted.v1 {"traceparent":"00-3"} 2026-06-18T16:40:00Z`,
		`events "" "" 0 events.retried.v1 {"traceparent":"00-4","keyId":"key_1","keyName":"ERP"} 2026-06-18T16:40:00Z`,
		`poison "acme" "" 0 event.poisoned.v1 {} 2026-06-18T16:40:00Z`,
		`tests "acme" "test/dlv_1" 1 subscription.test_requested.v1 ` + who,
		`tests "acme" "test/dlv_1" 2 subscription.test_ended.v1 {} 2026-06-18T16:40:00Z`,
	}; !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// TestWhatAnEarlierBuildPackedIsRead holds what a reader takes from the row's other columns: with anything else, what is stored cannot be read.
func TestWhatAnEarlierBuildPackedIsRead(t *testing.T) {
	packed := func(text string) []byte {
		stored, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	r := records.Record{Tenant: "tenant-123", Stream: "delivery/dlv_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", At: time.UnixMicro(1767225600123450),
		Data: packed("AgJQGRhZTQYlFEvByUg2k70hq8liPdgDnNN4lzVyQlJhBteUZuUhiB1Qhm+CAOSSIKCApRsDNLnUNgY=")}
	const metadata = `{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`
	const data = `{"tenant":"tenant-123","id":"dlv_01JZ8A2MT8G7C3Y7V0WQ1M9B3C","at":"2026-01-01T00:00:00.12345Z"}`
	if err := r.Unpack(); err != nil || string(r.Metadata) != metadata || string(r.Data) != data {
		t.Errorf("a record is read as %s and %s, %v", r.Metadata, r.Data, err)
	}
	const body = `{"eventId":"evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C","tenantId":"tenant-123","eventType":"target.imported"}`
	if got, err := records.UnpackBody(packed("AQE8FQAIOs4CLiUDDqoKEQAQdGVkIn0="), "tenant-123", "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"); err != nil || string(got) != body {
		t.Errorf("a body is read as %s, %v", got, err)
	}
}

// Sequences are stored: what an earlier build numbered is found by the same arithmetic alone.
func TestASequenceIsARecordsPositionAndAPlaceInIt(t *testing.T) {
	d := fanout.Deferred{Tenant: "acme", Position: 3, Events: []fanout.Named{{Place: 5, ID: "evt_1"}, {Place: 9, ID: "evt_2"}}}
	if got := records.SequenceOf(d); got != 3*65536+5 {
		t.Errorf("the sequence is %d", got)
	}
	if got := records.Deferred("acme", 3*65536+5, []byte("{")); got.Unreadable == nil || got.Tenant != "acme" || got.Position != 3 || len(got.Events) != 1 || got.Events[0] != (fanout.Named{Place: 5}) {
		t.Errorf("what is left of damaged names is %+v", got)
	}
	if got := records.NamedAt(4*65536-1, "evt_3"); got != (fanout.Named{Place: 65535, ID: "evt_3"}) {
		t.Errorf("got %+v", got)
	}
}

// A damaged fingerprint is that of no event.
func TestADamagedFingerprintIsNoEvents(t *testing.T) {
	whole := [32]byte{1, 2, 31: 3}
	if records.Fingerprint(whole[:]) != whole {
		t.Error("a fingerprint is not what was stored")
	}
	for _, stored := range [][]byte{nil, whole[:31], append(whole[:], 1)} {
		if got := records.Fingerprint(stored); got != ([32]byte{}) {
			t.Errorf("%d bytes are taken for %x", len(stored), got)
		}
	}
}
