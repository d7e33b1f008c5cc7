package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// record is a row of the log to be appended.
type record struct {
	Topic   string
	Tenant  tenant.ID
	Stream  string // empty outside any stream
	Version int64
	Type    string
	Data    []byte
	Meta    metadata
	At      time.Time
}

// metadata is what a record carries beside the change.
type metadata struct {
	TraceParent string `json:"traceparent,omitempty"`
	KeyID       string `json:"keyId,omitempty"`
	KeyName     string `json:"keyName,omitempty"`
}

var insertRecords = insertInto("records", "topic, tenant_id, stream, version, type, data, metadata, recorded_at")

// append writes records, small, in their order. A version that its stream has already is refused by the unique
// index: somebody else was faster.
func (tx *Tx) append(ctx context.Context, records ...record) error {
	args := make([]any, 0, len(records)*insertRecords.columns)
	for _, r := range records {
		meta, err := json.Marshal(r.Meta)
		if err != nil {
			return fmt.Errorf("encode metadata: %w", err)
		}
		beside := compact.Row{Tenant: string(r.Tenant), Stream: r.Stream, RecordedAt: r.At.UnixMicro()}
		args = append(args, r.Topic, r.Tenant, r.Stream, r.Version, r.Type, beside.Pack(meta, r.Data), "", r.At.UnixMicro())
		tx.Appended(r.Topic)
	}
	if err := tx.insert(ctx, insertRecords, args); err != nil {
		return fmt.Errorf("append %d records to the log: %w", len(records), err)
	}
	return nil
}

// lastPosition is that of the record that was appended last in this transaction.
func (tx *Tx) lastPosition(ctx context.Context) (position int64, err error) {
	rows, err := tx.Query(ctx, `SELECT last_insert_rowid()`)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() {
		err = rows.Scan(&position)
	}
	return position, err
}

// stored is a change as a stream keeps it.
type stored struct {
	Position int64
	Tenant   tenant.ID
	Stream   string
	Version  int64
	Type     string
	Data     []byte
	Metadata []byte
	At       time.Time
}

const storedColumns = `position, tenant_id, stream, version, type, data, metadata, recorded_at`

func scanStored(r *sql.Rows) (s stored, err error) {
	if s, err = scanPacked(r); err != nil {
		return s, err
	}
	return s, s.unpack()
}

// scanPacked leaves data and metadata as they are stored, and scans further columns behind those of a record.
func scanPacked(r *sql.Rows, more ...any) (s stored, err error) {
	var at int64
	err = r.Scan(append([]any{&s.Position, &s.Tenant, &s.Stream, &s.Version, &s.Type, &s.Data, &s.Metadata, &at}, more...)...)
	s.At = time.UnixMicro(at).UTC()
	return s, err
}

func (s *stored) unpack() (err error) {
	beside := compact.Row{Tenant: string(s.Tenant), Stream: s.Stream, RecordedAt: s.At.UnixMicro()}
	if s.Metadata, s.Data, err = beside.Unpack(s.Metadata, s.Data); err != nil {
		err = fmt.Errorf("position %d: %w", s.Position, err)
	}
	return err
}

// stream reads a whole stream, oldest first.
func (db *DB) stream(ctx context.Context, owner tenant.ID, stream string) ([]stored, error) {
	return all(ctx, db, scanStored, `SELECT `+storedColumns+` FROM records
		WHERE tenant_id = ? AND stream = ? AND version > 0 ORDER BY version`, owner, stream)
}
