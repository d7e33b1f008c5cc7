// Package records encodes and decodes the records of the log, whichever database keeps them: their stored names, their
// content, and what is read out of a stream. It does the same for the events, bodies and secrets beside the log. Writing and
// finding them is up to adapters/sqlite and adapters/postgres.
package records

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/stored"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Topics of the log.
const (
	TopicEvents        = fanout.TopicEvents
	TopicSubscriptions = "subscriptions"
	TopicDeliveries    = "deliveries"
	// TopicTests has the test deliveries that admins asked for.
	TopicTests  = "tests"
	TopicPoison = fanout.TopicPoison
)

// MaxEventsPerRecord leaves room in a sequence number for the place of an event in its record.
const MaxEventsPerRecord = 1 << 16

// Record is a row of the log.
type Record struct {
	Position int64  // 0 until it is appended
	Topic    string // empty when the reader knows it
	Tenant   tenant.ID
	Stream   string // empty outside any stream
	Version  int64
	Type     string
	Data     []byte
	Metadata []byte
	At       time.Time
}

func (r Record) beside() compact.Row {
	return compact.Row{Tenant: string(r.Tenant), Stream: r.Stream, RecordedAt: r.At.UnixMicro()}
}

// Packed is the record with its metadata and data compressed together in the data column.
func (r Record) Packed() Record {
	r.Data, r.Metadata = r.beside().Pack(r.Metadata, r.Data), []byte{}
	return r
}

// Unpack reads data and metadata as they are stored, packed or not.
func (r *Record) Unpack() (err error) {
	if r.Metadata, r.Data, err = r.beside().Unpack(r.Metadata, r.Data); err != nil {
		err = fmt.Errorf("position %d: %w", r.Position, err)
	}
	return err
}

// metadata is what a record carries beside its data.
type metadata struct {
	TraceParent string `json:"traceparent,omitempty"`
	KeyID       string `json:"keyId,omitempty"`
	KeyName     string `json:"keyName,omitempty"`
}

func (m metadata) encode() []byte {
	o := stored.Begin(128)
	o.SomeText("traceparent", m.TraceParent)
	o.SomeText("keyId", m.KeyID)
	o.SomeText("keyName", m.KeyName)
	encoded, _ := o.End() // it has only strings, so it cannot fail
	return encoded
}

func metadataOf(by subscriptions.Actor) []byte {
	return metadata{TraceParent: by.TraceParent, KeyID: by.KeyID, KeyName: by.KeyName}.encode()
}

// Streams reads a whole stream of the log, oldest first; compact.ErrUnreadable when one of its records is damaged.
type Streams func(ctx context.Context, owner tenant.ID, stream string) ([]Record, error)
