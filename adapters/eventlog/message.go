package eventlog

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/go-json-experiment/json"
)

// The metadata keys that a message of the log has in addition to its record's metadata.
const (
	MetadataType     = "type"      // the record's stored type name
	MetadataTenantID = "tenant_id" // '' for what belongs to no single tenant
	MetadataStream   = "stream"    // '' outside any stream
	MetadataVersion  = "version"   // decimal, in its stream; "0" outside any stream
	MetadataPosition = "position"  // decimal, in the log
)

// MessageType is the stored type of a published message that does not name its own.
const MessageType = "message"

// metadataUUID keeps the UUID of a published message in its record's metadata.
const metadataUUID = "message_uuid"

// Record is a record of the log, without its topic.
type Record struct {
	Position, Version      int64
	TenantID, Stream, Type string
	Data, Metadata         []byte
}

// message uses the position as UUID, unless the record is a published message with its own. Metadata that is not a JSON object of strings
// is left out and reported by the error: the message is good all the same, and no handler could repair what would stop the whole group.
func (r Record) message() (*message.Message, error) {
	position := strconv.FormatInt(r.Position, 10)
	msg := message.NewMessage(position, r.Data)
	err := json.Unmarshal(r.Metadata, (*map[string]string)(&msg.Metadata))
	if err != nil {
		msg.Metadata = message.Metadata{}
		err = fmt.Errorf("read the metadata of the record at %s: %w", position, err)
	}
	if uuid, ok := msg.Metadata[metadataUUID]; ok {
		msg.UUID = uuid
		delete(msg.Metadata, metadataUUID)
	}
	msg.Metadata[MetadataType] = r.Type
	msg.Metadata[MetadataTenantID] = r.TenantID
	msg.Metadata[MetadataStream] = r.Stream
	msg.Metadata[MetadataVersion] = strconv.FormatInt(r.Version, 10)
	msg.Metadata[MetadataPosition] = position
	return msg, err
}

// recordOf takes type, tenant and stream from the metadata. Version and position say where a message was read; the record that it
// becomes gets its own.
func recordOf(msg *message.Message) (Record, error) {
	metadata := maps.Clone(map[string]string(msg.Metadata))
	if metadata == nil {
		metadata = map[string]string{}
	}
	r := Record{Type: metadata[MetadataType], TenantID: metadata[MetadataTenantID], Stream: metadata[MetadataStream], Data: msg.Payload}
	if r.Type == "" {
		r.Type = MessageType
	}
	if r.Data == nil {
		r.Data = []byte{}
	}
	for _, key := range []string{MetadataType, MetadataTenantID, MetadataStream, MetadataVersion, MetadataPosition} {
		delete(metadata, key)
	}
	metadata[metadataUUID] = msg.UUID
	var err error
	if r.Metadata, err = json.Marshal(metadata, json.Deterministic(true)); err != nil {
		return Record{}, fmt.Errorf("write the metadata of message %q: %w", msg.UUID, err)
	}
	return r, nil
}
