package records

import (
	"errors"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Deferred reads a row of events that wait for the tenant's turn; the first has the sequence. If their names cannot be read,
// Unreadable is set and Events has only the place of the first.
func Deferred(owner tenant.ID, sequence int64, names []byte) fanout.Deferred {
	d := fanout.Deferred{Tenant: owner, Position: sequence / MaxEventsPerRecord}
	first := NamedAt(sequence, "")
	if d.Events, d.Unreadable = fanout.DecodeDeferred(names, first.Place); d.Unreadable != nil {
		d.Events = []fanout.Named{first}
	}
	return d
}

// ErrTaken says that deferred events that were listed are no longer there.
var ErrTaken = errors.New("the events were taken by somebody else")

// SequenceOf is the sequence of the first event in a deferred row.
func SequenceOf(d fanout.Deferred) int64 {
	return d.Position*MaxEventsPerRecord + int64(d.Events[0].Place)
}

// NamedAt is the event at a sequence.
func NamedAt(sequence int64, id string) fanout.Named {
	return fanout.Named{Place: int(sequence % MaxEventsPerRecord), ID: id}
}
