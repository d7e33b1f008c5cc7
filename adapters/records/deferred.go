package records

import (
	"errors"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Deferred is a row of what waits for the tenant's turn, which begins at the sequence. Where its names cannot be read it has
// no event but the place of its first.
func Deferred(owner tenant.ID, sequence int64, names []byte) fanout.Deferred {
	d := fanout.Deferred{Tenant: owner, Position: sequence / MaxEventsPerRecord}
	first := NamedAt(sequence, "")
	if d.Events, d.Unreadable = fanout.DecodeDeferred(names, first.Place); d.Unreadable != nil {
		d.Events = []fanout.Named{first}
	}
	return d
}

// ErrTaken says that what was listed is not there any more.
var ErrTaken = errors.New("the events were taken by somebody else")

// SequenceOf is where the row of what waits begins.
func SequenceOf(d fanout.Deferred) int64 {
	return d.Position*MaxEventsPerRecord + int64(d.Events[0].Place)
}

// NamedAt is the event with the sequence.
func NamedAt(sequence int64, id string) fanout.Named {
	return fanout.Named{Place: int(sequence % MaxEventsPerRecord), ID: id}
}
