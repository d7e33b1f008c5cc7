package records

import (
	"encoding/json"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
)

// OfAccepted makes the record that names events accepted in one commit.
func OfAccepted(named []intake.EventKey, at time.Time, traceParent string) (Record, error) {
	data, err := json.Marshal(named)
	return Record{Topic: TopicEvents, Type: "events.accepted.v1", Data: data, Metadata: metadata{TraceParent: traceParent}.encode(), At: at}, err
}

// OfRetried makes the record that names an event again, so that it is fanned out anew.
func OfRetried(e queries.Event, retried queries.Retried) (Record, error) {
	data, err := json.Marshal([]intake.EventKey{{Tenant: e.Tenant, ID: e.ID}})
	return Record{Topic: TopicEvents, Type: "events.retried.v1", Data: data,
		Metadata: metadata{TraceParent: e.TraceParent, KeyID: retried.KeyID, KeyName: retried.KeyName}.encode(), At: retried.At}, err
}

// OfSetAside makes the record of an event that was set aside. It is in no stream, since an event may be set aside more than once.
func OfSetAside(p fanout.SetAside) (Record, error) {
	data, err := json.Marshal(p)
	return Record{Topic: TopicPoison, Tenant: p.Tenant, Type: "event.poisoned.v1", Data: data, Metadata: metadata{}.encode(), At: p.At}, err
}

// Fingerprint reads a stored fingerprint. A damaged one becomes zero, which matches no event: a repeat is then a conflict.
func Fingerprint(stored []byte) (print [32]byte) {
	if len(stored) == len(print) {
		copy(print[:], stored)
	}
	return print
}
