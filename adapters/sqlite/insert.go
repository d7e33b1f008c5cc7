package sqlite

import (
	"context"
	"slices"
	"strings"
)

// insertion inserts any number of rows by as few statements as pay: a statement costs as much beside its rows as one of
// them does, up to some 16 rows.
type insertion struct {
	columns int
	by      []rowsAtOnce
}

// rowsAtOnce is a statement for so many rows.
type rowsAtOnce struct {
	rows  int
	query string
}

// insertInto makes an insertion into the table's columns, which are separated by commas.
func insertInto(table, columns string) insertion {
	i := insertion{columns: 1 + strings.Count(columns, ",")}
	row := "(" + strings.Repeat("?, ", i.columns-1) + "?)"
	for _, n := range []int{16, 4, 1} {
		values := strings.Join(slices.Repeat([]string{row}, n), ", ")
		i.by = append(i.by, rowsAtOnce{n, "INSERT INTO " + table + " (" + columns + ") VALUES " + values})
	}
	return i
}

// insert writes rows whose values follow each other in args. It writes all of them, or the transaction must be undone.
func (tx *Tx) insert(ctx context.Context, i insertion, args []any) error {
	for _, by := range i.by {
		for n := by.rows * i.columns; len(args) >= n; args = args[n:] {
			if _, err := tx.Exec(ctx, by.query, args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}
