package compact

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// Row has the log's columns of a record other than its metadata and data.
type Row struct {
	Tenant, Stream string
	RecordedAt     int64 // microseconds since 1970
}

// known is what a record's data often repeats: its tenant, its aggregate, and when it was decided.
func (r Row) known() []string {
	_, id, _ := strings.Cut(r.Stream, "/")
	return []string{r.Tenant, id, time.UnixMicro(r.RecordedAt).UTC().Format(time.RFC3339Nano)}
}

// Pack returns a data column that holds both the record's metadata (JSON without line breaks) and its data; the metadata
// column is then empty.
func (r Row) Pack(metadata, data []byte) []byte {
	b := scratch.Get().(*buffers)
	defer scratch.Put(b)
	b.row = append(append(append(b.row[:0], metadata...), '\n'), data...)
	return b.pack(Record, b.row, r.known())
}

// Unpack reads both columns of a record, packed or separate, as in older records and published messages.
func (r Row) Unpack(metadata, data []byte) (unpackedMetadata, unpackedData []byte, err error) {
	if len(metadata) > 0 {
		return metadata, data, nil
	}
	both, err := Unpack(data, r.known()...)
	if err != nil {
		return nil, nil, err
	}
	metadata, data, found := bytes.Cut(both, []byte{'\n'})
	if !found {
		return nil, nil, fmt.Errorf("%w: a record without metadata", ErrUnreadable)
	}
	return metadata, data, nil
}
