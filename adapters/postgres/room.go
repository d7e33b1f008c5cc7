package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"
)

// makeRoom has a connection's buffer grow once for all that a batch sends. pgx makes a small one after each that was large, and
// lets it grow column by column.
func makeRoom(conn *pgx.Conn, b *pgx.Batch) {
	size := b.Len() * roomBeside
	for _, q := range b.QueuedQueries {
		for _, argument := range q.Arguments {
			size += sizeOfColumn(argument)
		}
	}
	conn.PgConn().Frontend().Send(room(size))
}

// roomBeside is for all of a statement but its columns, in bytes.
const roomBeside = 512

// sizeOfColumn is about how many bytes a statement's argument takes when it is sent; 0 for what is small anyway.
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

// room is a message of no bytes, which leaves room for those that follow it.
type room int

// Encode is pgx's.
func (r room) Encode(to []byte) ([]byte, error) { return slices.Grow(to, int(r)), nil }

// Decode is pgx's.
func (room) Decode([]byte) error { return nil }

// Frontend is pgx's.
func (room) Frontend() {}
