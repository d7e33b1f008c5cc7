package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var insertRecords = insertInto("records", "topic, tenant_id, stream, version, type, data, metadata, recorded_at")

// append writes records compressed and in order. The unique index refuses a version that the stream already
// has: somebody else was faster.
func (tx *Tx) append(ctx context.Context, list ...records.Record) error {
	args := make([]any, 0, len(list)*insertRecords.columns)
	for _, r := range list {
		args = append(args, r.Topic, r.Tenant, r.Stream, r.Version, r.Type, r.Packed().Data, "", r.At.UnixMicro())
		tx.Appended(r.Topic)
	}
	if err := tx.insert(ctx, insertRecords, args); err != nil {
		return fmt.Errorf("append %d records to the log: %w", len(list), err)
	}
	return nil
}

// lastPosition is the position of the last record appended in this transaction.
func (tx *Tx) lastPosition(ctx context.Context) (int64, error) {
	return one(ctx, tx.db, value[int64], `SELECT last_insert_rowid()`)
}

const recordColumns = `position, tenant_id, stream, version, type, data, metadata, recorded_at`

func scanRecord(r *sql.Rows) (records.Record, error) { return scanRecordWith(r) }

// scanRecordWith leaves data and metadata as they are stored, and scans further columns after those of a record.
func scanRecordWith(r *sql.Rows, more ...any) (s records.Record, err error) {
	var at int64
	err = r.Scan(append([]any{&s.Position, &s.Tenant, &s.Stream, &s.Version, &s.Type, &s.Data, &s.Metadata, &at}, more...)...)
	s.At = time.UnixMicro(at).UTC()
	return s, err
}

// stream reads a whole stream, oldest first.
func (db *DB) stream(ctx context.Context, owner tenant.ID, stream string) ([]records.Record, error) {
	return all(ctx, db.forUsers(), func(r *sql.Rows) (records.Record, error) {
		s, err := scanRecord(r)
		if err == nil {
			err = s.Unpack()
		}
		return s, err
	}, `SELECT `+recordColumns+` FROM records WHERE tenant_id = ? AND stream = ? AND version > 0 ORDER BY version`, owner, stream)
}
