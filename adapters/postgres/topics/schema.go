package topics

import (
	"database/sql"
	"strconv"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
)

// schema gives watermill-sql its queries for records: to it, a batch is one message.
type schema struct{ *loop }

// InsertQuery is for watermill-sql's publisher, which is not used.
func (schema) InsertQuery(wsql.InsertQueryParams) (wsql.Query, error) {
	return wsql.Query{}, errUnexpected
}

// SelectQuery asks for the next batch.
func (schema) SelectQuery(wsql.SelectQueryParams) (wsql.Query, error) {
	return wsql.Query{Query: readBatch}, nil
}

// UnmarshalMessage names the batch.
func (s schema) UnmarshalMessage(wsql.UnmarshalMessageParams) (wsql.Row, error) {
	last := s.batch.Last()
	return wsql.Row{Offset: last, Msg: message.NewMessage(strconv.FormatInt(last, 10), nil)}, nil
}

// SchemaInitializingQueries is empty: migrations own all DDL.
func (schema) SchemaInitializingQueries(wsql.SchemaInitializingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}

// SubscribeIsolationLevel is that of every transaction here.
func (schema) SubscribeIsolationLevel() sql.IsolationLevel { return sql.LevelReadCommitted }

// offsets gives watermill-sql its queries for offsets.
type offsets struct{ *loop }

// AckMessageQuery keeps the batch, unless a message of it was not acknowledged.
func (o offsets) AckMessageQuery(wsql.AckMessageQueryParams) (wsql.Query, error) {
	return wsql.Query{Query: keepBatch}, o.failed
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
