package records

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const deliveryStream = "delivery/"

// DeliveryStream names the stream of a delivery.
func DeliveryStream(id string) string { return deliveryStream + id }

// DeliveryOf is the ID of the delivery that a stream belongs to.
func DeliveryOf(stream string) (id string) { return strings.TrimPrefix(stream, deliveryStream) }

// OfDelivery makes the records of the changes that lead from a version of a delivery to its present state.
func OfDelivery(after delivery.Delivery, version int64, changes []delivery.Change, traceParent string) ([]Record, error) {
	list, meta := make([]Record, len(changes)), metadata{TraceParent: traceParent}.encode()
	for i, c := range changes {
		name, data, err := delivery.Encode(c)
		if err != nil {
			return nil, err
		}
		list[i] = Record{
			Topic: TopicDeliveries, Tenant: after.Tenant, Stream: DeliveryStream(after.ID), Version: version + int64(i) + 1,
			Type: name, Data: data, Metadata: meta, At: after.UpdatedAt,
		}
	}
	return list, nil
}

// DeliveryChanges reads the delivery's stream; dispatch.ErrUnreadable when it is damaged.
func (read Streams) DeliveryChanges(ctx context.Context, owner tenant.ID, id string) ([]delivery.Change, error) {
	stream, err := read(ctx, owner, DeliveryStream(id))
	if errors.Is(err, compact.ErrUnreadable) {
		err = fmt.Errorf("%w: %w", dispatch.ErrUnreadable, err)
	}
	if err != nil {
		return nil, err
	}
	changes := make([]delivery.Change, len(stream))
	for i, r := range stream {
		if changes[i], err = delivery.Decode(r.Type, r.Data); err != nil {
			return nil, fmt.Errorf("%w: position %d: %w", dispatch.ErrUnreadable, r.Position, err)
		}
	}
	return changes, nil
}

// DeliveryStreams decodes packed streams, whose records come in order. Each stream ends before its first damaged record.
func DeliveryStreams(list []Record) map[live.Key][]delivery.Change {
	streams := map[live.Key][]delivery.Change{}
	for _, r := range list {
		key := live.Key{Tenant: r.Tenant, DeliveryID: DeliveryOf(r.Stream)}
		stream := streams[key]
		if change, err := r.deliveryChange(); err == nil && r.Version == int64(len(stream))+1 {
			stream = append(stream, change)
		}
		streams[key] = stream
	}
	return streams
}

// LastAttempts decodes packed records of attempts, one for each delivery, and leaves out what is damaged.
func LastAttempts(list []Record) map[string]delivery.Change {
	ends := make(map[string]delivery.Change, len(list))
	for _, r := range list {
		if change, err := r.deliveryChange(); err == nil {
			ends[DeliveryOf(r.Stream)] = change
		}
	}
	return ends
}

func (r Record) deliveryChange() (delivery.Change, error) {
	if err := r.Unpack(); err != nil {
		return nil, err
	}
	return delivery.Decode(r.Type, r.Data)
}

// AttemptEnd is how an attempt ended according to a packed record; zero when the record is damaged.
func (r Record) AttemptEnd() delivery.End {
	if r.Unpack() != nil {
		return delivery.End{}
	}
	end, _, _ := delivery.DecodeEnd(r.Type, r.Data) // zero when it fails
	return end
}
