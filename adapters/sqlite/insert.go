package sqlite

import (
	"context"
	"slices"
	"strings"
)

// insertion inserts any number of rows with few statements: each statement costs about as much as one more row, so that more
// than some 16 rows at once no longer pay.
type insertion struct {
	columns int
	by      []rowsAtOnce
}

// rowsAtOnce is a statement for a number of rows.
type rowsAtOnce struct {
	rows  int
	query string
}

// insertInto makes an insertion into the comma-separated columns of a table.
func insertInto(table, columns string) insertion {
	i := insertion{columns: 1 + strings.Count(columns, ",")}
	row := "(" + strings.Repeat("?, ", i.columns-1) + "?)"
	for _, n := range []int{16, 4, 1} {
		values := strings.Join(slices.Repeat([]string{row}, n), ", ")
		i.by = append(i.by, rowsAtOnce{n, "INSERT INTO " + table + " (" + columns + ") VALUES " + values})
	}
	return i
}

// insert writes the rows whose values follow one another in args. After an error the transaction must be rolled back.
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
