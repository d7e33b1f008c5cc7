package records

import (
	"encoding/json"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
)

// OfAccepted names events of one commit.
func OfAccepted(named []intake.EventKey, at time.Time, traceParent string) (Record, error) {
	data, err := json.Marshal(named)
	return Record{Topic: TopicEvents, Type: "events.accepted.v1", Data: data, Metadata: metadata{TraceParent: traceParent}.encode(), At: at}, err
}

// OfRetried names an event again.
func OfRetried(e queries.Event, retried queries.Retried) (Record, error) {
	data, err := json.Marshal([]intake.EventKey{{Tenant: e.Tenant, ID: e.ID}})
	return Record{Topic: TopicEvents, Type: "events.retried.v1", Data: data,
		Metadata: metadata{TraceParent: e.TraceParent, KeyID: retried.KeyID, KeyName: retried.KeyName}.encode(), At: retried.At}, err
}

// OfSetAside is an event that was set aside. It is outside any stream: handled again, it may come again.
func OfSetAside(p fanout.SetAside) (Record, error) {
	data, err := json.Marshal(p)
	return Record{Topic: TopicPoison, Tenant: p.Tenant, Type: "event.poisoned.v1", Data: data, Metadata: metadata{}.encode(), At: p.At}, err
}

// Fingerprint is an event's as it is stored. One that is damaged is no event's, so that the event conflicts with what is there.
func Fingerprint(stored []byte) (print [32]byte) {
	if len(stored) == len(print) {
		copy(print[:], stored)
	}
	return print
}
