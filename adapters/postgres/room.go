package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"
)

// makeRoom grows a connection's buffer once for everything that a batch sends. pgx starts with a small one after each large one, and
// grows it column by column.
func makeRoom(conn *pgx.Conn, b *pgx.Batch) {
	size := b.Len() * roomBeside
	for _, q := range b.QueuedQueries {
		for _, argument := range q.Arguments {
			size += sizeOfColumn(argument)
		}
	}
	conn.PgConn().Frontend().Send(room(size))
}

// roomBeside is for everything of a statement but its columns, in bytes.
const roomBeside = 512

// sizeOfColumn is roughly how many bytes a statement's argument takes on the wire; 0 for what is small anyway.
func sizeOfColumn(argument any) int {
	switch column := argument.(type) {
	case []string:
		return columnHeader + sizeOfTexts(column)
	case [][]byte:
		return columnHeader + sizeOfTexts(column)
	case []int64:
		return columnHeader + len(column)*(4+8)
	case []int32:
		return columnHeader + len(column)*(4+4)
	case []int16:
		return columnHeader + len(column)*(4+2)
	}
	return 0
}

// room is a message without content, which makes room for those that follow.
type room int

// Encode implements pgproto3.FrontendMessage.
func (r room) Encode(to []byte) ([]byte, error) { return slices.Grow(to, int(r)), nil }

// Decode implements pgproto3.FrontendMessage.
func (room) Decode([]byte) error { return nil }

// Frontend implements pgproto3.FrontendMessage.
func (room) Frontend() {}
