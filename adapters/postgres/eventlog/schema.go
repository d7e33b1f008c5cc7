package eventlog

import (
	"database/sql"
	"log/slog"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"

	"github.com/ordinavo/webhooks/adapters/postgres"
)

// Each is a search by key or index, and no row is sorted; a test asks PostgreSQL for its plan.
const (
	// selectRecords reads on from the group's offset, oldest first, unless another process has the group's lock. Where
	// another one works for the group it does not try the lock, which would keep that one from it, unless it is to take over.
	// The batch ends with the record that comes to $7 bytes.
	selectRecords = `SELECT turn.mine, at.position, at.holder, r.position, r.tenant_id, r.stream, r.version, r.type, r.data, r.metadata, r.recorded_at
FROM (SELECT coalesce(max(position), 0) AS position, coalesce(max(holder), '') AS holder
    FROM consumer_offsets WHERE consumer_group = $2 AND topic = $3) AS at
CROSS JOIN LATERAL (SELECT CASE WHEN at.holder IN ('', $5) OR $6 THEN pg_try_advisory_xact_lock($1) ELSE false END AS mine OFFSET 0) AS turn
LEFT JOIN LATERAL (
    SELECT *, sum(octet_length(data)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(data) AS before FROM records
    WHERE topic = $3 AND position > at.position ORDER BY position LIMIT $4) AS r ON r.before < $7`

	// claim takes the group's lock for the transaction, and says where the offset is.
	claim = `SELECT pg_try_advisory_xact_lock($1),
    coalesce((SELECT position FROM consumer_offsets WHERE consumer_group = $2 AND topic = $3), 0)`

	// moveOffset moves the group's offset, if it is still where its reader found it; a new group's begins.
	moveOffset = `UPDATE consumer_offsets SET position = $4, holder = $5 WHERE consumer_group = $1 AND topic = $2 AND position = $3`

	beginOffset = `INSERT INTO consumer_offsets AS o (consumer_group, topic, position, holder) VALUES ($1, $2, $4, $5)
ON CONFLICT (consumer_group, topic) DO UPDATE SET position = excluded.position, holder = excluded.holder WHERE o.position = $3`
)

// takesOver is the place of $6 among the arguments of selectRecords.
const takesOver = 5

// schema gives watermill-sql its queries over the records table. As a publisher's it has no reader.
type schema struct {
	log    *Log
	reader *reader
}

// InsertQuery carries the records; the appender runs it.
func (s schema) InsertQuery(params wsql.InsertQueryParams) (wsql.Query, error) {
	messages, now := make([]postgres.Message, len(params.Msgs)), s.log.now()
	for i, msg := range params.Msgs {
		var err error
		if messages[i], err = toRecord(params.Topic, msg, now); err != nil {
			return wsql.Query{}, err
		}
	}
	return wsql.Query{Query: "append", Args: []any{messages}}, nil
}

// SelectQuery reads the next batch; after a failure each message comes alone, so that it fails alone.
func (s schema) SelectQuery(wsql.SelectQueryParams) (wsql.Query, error) {
	limit := s.reader.options.Batch
	if s.reader.failures > 0 {
		limit = 1
	}
	key := s.reader.key
	return wsql.Query{Query: selectRecords, Args: []any{key.lock(), key.group, key.topic, limit, s.log.db.Name(), false, s.reader.options.Bytes}}, nil
}

// UnmarshalMessage makes a message of a record.
func (s schema) UnmarshalMessage(params wsql.UnmarshalMessageParams) (wsql.Row, error) {
	var r row
	if err := params.Row.Scan(&r); err != nil {
		return wsql.Row{}, err
	}
	msg, err := r.toMessage()
	if err != nil {
		s.log.logger.Error("record with unreadable metadata",
			slog.String("topic", s.reader.key.topic), slog.Int64("position", r.position), slog.Any("error", err))
	}
	return wsql.Row{Offset: r.position, UUID: []byte(msg.UUID), Payload: r.data, Metadata: r.metadata, Msg: msg}, nil
}

// SchemaInitializingQueries is empty: migrations own all DDL.
func (schema) SchemaInitializingQueries(wsql.SchemaInitializingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}

// SubscribeIsolationLevel is that of every transaction here.
func (schema) SubscribeIsolationLevel() sql.IsolationLevel { return isolation }

// offsets gives watermill-sql its queries over the consumer_offsets table.
type offsets struct{ reader *reader }

// AckMessageQuery moves the offset, unless a message of the batch was not acknowledged.
func (o offsets) AckMessageQuery(params wsql.AckMessageQueryParams) (wsql.Query, error) {
	d := o.reader.current
	if err := d.failure(); err != nil {
		return wsql.Query{}, err
	}
	query := moveOffset
	if d.from == 0 {
		query = beginOffset
	}
	key := o.reader.key
	return wsql.Query{Query: query, Args: []any{key.group, key.topic, d.from, params.LastRow.Offset, o.reader.log.db.Name()}}, nil
}

// ConsumedMessageQuery is not needed.
func (offsets) ConsumedMessageQuery(wsql.ConsumedMessageQueryParams) (wsql.Query, error) {
	return wsql.Query{}, nil
}

// NextOffsetQuery is part of SelectQuery.
func (offsets) NextOffsetQuery(wsql.NextOffsetQueryParams) (wsql.Query, error) {
	return wsql.Query{}, nil
}

// SchemaInitializingQueries is empty: migrations own all DDL.
func (offsets) SchemaInitializingQueries(wsql.OffsetsSchemaInitializingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}

// BeforeSubscribingQueries is empty: a group without a row begins with the oldest message.
func (offsets) BeforeSubscribingQueries(wsql.BeforeSubscribingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}
