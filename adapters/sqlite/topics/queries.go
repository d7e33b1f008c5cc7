package topics

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/sqlite"
)

// Each query is a search by key or index; a test checks SQLite's plans.
const (
	selectOffset = `SELECT position FROM consumer_offsets WHERE consumer_group = ? AND topic = ?`

	selectRecords = `SELECT position, tenant_id, stream, version, type, data, metadata, recorded_at
FROM records WHERE topic = ? AND position > ? ORDER BY position LIMIT ?`

	updateOffset = `UPDATE consumer_offsets SET position = ?
WHERE consumer_group = ? AND topic = ? AND position = ?`

	insertOffset = `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES (?, ?, ?)
ON CONFLICT DO NOTHING`

	insertRecord = `INSERT INTO records (topic, tenant_id, stream, version, type, data, metadata, recorded_at)
VALUES (?, ?, ?, 0, ?, ?, ?, ?)`
)

// offset is the position of the last message that the group has acknowledged; 0 if there is none.
func offset(ctx context.Context, db *sqlite.DB, key eventlog.GroupTopic) (position int64, err error) {
	rows, err := db.Query(ctx, selectOffset, key.Group, key.Topic)
	if err != nil {
		return 0, fmt.Errorf("read the offset: %w", err)
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() {
		if err := rows.Scan(&position); err != nil {
			return 0, fmt.Errorf("read the offset: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("read the offset: %w", err)
	}
	return position, nil
}

// after reads a topic's records after a position, within the bounds of the look.
func after(ctx context.Context, db *sqlite.DB, topic string, position int64, look eventlog.Look) ([]eventlog.Record, error) {
	rows, err := db.Query(ctx, selectRecords, topic, position, look.Limit)
	if err != nil {
		return nil, fmt.Errorf("read the topic: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var found []eventlog.Record
	for bytes := look.Bytes; bytes > 0 && rows.Next(); {
		r, stored, err := scan(rows, look.AsStored)
		if err != nil {
			return nil, fmt.Errorf("read the topic: %w", err)
		}
		found = append(found, r)
		bytes -= stored
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the topic: %w", err)
	}
	return found, nil
}

func scan(rows *sql.Rows, asStored bool) (r eventlog.Record, stored int, err error) {
	var at int64
	if err := rows.Scan(&r.Position, &r.TenantID, &r.Stream, &r.Version, &r.Type, &r.Data, &r.Metadata, &at); err != nil {
		return r, 0, err
	}
	stored = len(r.Data)
	beside := compact.Row{Tenant: r.TenantID, Stream: r.Stream, RecordedAt: at}
	switch metadata, data, err := beside.Unpack(r.Metadata, r.Data); {
	case err == nil:
		r.Metadata, r.Data = metadata, data
	case !asStored:
		return r, stored, fmt.Errorf("position %d: %w", r.Position, err)
	}
	return r, stored, nil
}

// advance moves the group's offset if it is still where its reader found it.
func advance(ctx context.Context, tx *sqlite.Tx, key eventlog.GroupTopic, from, to int64) error {
	moved, err := tx.Exec(ctx, updateOffset, to, key.Group, key.Topic, from)
	if err == nil && moved == 0 && from == 0 {
		moved, err = tx.Exec(ctx, insertOffset, key.Group, key.Topic, to)
	}
	if err != nil {
		return fmt.Errorf("move the offset: %w", err)
	}
	if moved == 0 {
		return eventlog.ErrSuperseded
	}
	return nil
}
