package eventlog

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/go-json-experiment/json"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// The metadata keys that a message of the log has besides those of its record's metadata.
const (
	MetadataType     = "type"      // the record's stored type name
	MetadataTenantID = "tenant_id" // '' for what is no single tenant's
	MetadataStream   = "stream"    // '' outside any stream
	MetadataVersion  = "version"   // decimal, in its stream; "0" outside any stream
	MetadataPosition = "position"  // decimal, in the log
)

// MessageType is the stored type of a published message that does not name its own.
const MessageType = "message"

// metadataUUID keeps the UUID of a published message in its record's metadata.
const metadataUUID = "message_uuid"

// row is a record as it is stored.
type row struct {
	position, version      int64
	tenantID, stream, kind string
	data, metadata         []byte
}

// toMessage has the position as UUID, unless the record is a published message with its own.
// Metadata that is no JSON object of strings is left out and named by the error: the message is good
// all the same, and no handler could repair what would stop the whole group.
func (r row) toMessage() (*message.Message, error) {
	position := strconv.FormatInt(r.position, 10)
	msg := message.NewMessage(position, r.data)
	err := json.Unmarshal(r.metadata, (*map[string]string)(&msg.Metadata))
	if err != nil {
		msg.Metadata = message.Metadata{}
		err = fmt.Errorf("read the metadata of the record at %s: %w", position, err)
	}
	if uuid, ok := msg.Metadata[metadataUUID]; ok {
		msg.UUID = uuid
		delete(msg.Metadata, metadataUUID)
	}
	msg.Metadata[MetadataType] = r.kind
	msg.Metadata[MetadataTenantID] = r.tenantID
	msg.Metadata[MetadataStream] = r.stream
	msg.Metadata[MetadataVersion] = strconv.FormatInt(r.version, 10)
	msg.Metadata[MetadataPosition] = position
	return msg, err
}

// toRecord takes type, tenant and stream from the metadata. Version and position say
// where a message was read; the record that it becomes has its own.
func toRecord(topic string, msg *message.Message, now time.Time) (postgres.Message, error) {
	metadata := maps.Clone(map[string]string(msg.Metadata))
	if metadata == nil {
		metadata = map[string]string{}
	}
	m := postgres.Message{
		Topic: topic, Type: metadata[MetadataType], Tenant: tenant.ID(metadata[MetadataTenantID]), Stream: metadata[MetadataStream],
		Data: msg.Payload, At: now,
	}
	if m.Type == "" {
		m.Type = MessageType
	}
	if m.Data == nil {
		m.Data = []byte{}
	}
	for _, key := range []string{MetadataType, MetadataTenantID, MetadataStream, MetadataVersion, MetadataPosition} {
		delete(metadata, key)
	}
	metadata[metadataUUID] = msg.UUID
	var err error
	if m.Metadata, err = json.Marshal(metadata, json.Deterministic(true)); err != nil {
		return m, fmt.Errorf("write the metadata of message %q: %w", msg.UUID, err)
	}
	return m, nil
}
