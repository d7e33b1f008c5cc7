package sqlite

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// Any number of rows comes as it was given, in its order: each size is made up of the sizes that a statement has.
func TestInsert(t *testing.T) {
	db := filled(t, 100)
	into := insertInto("inserted", "name, n, missing")
	err := db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, `CREATE TABLE inserted (row INTEGER PRIMARY KEY, name TEXT, n INTEGER, missing TEXT)`); err != nil {
			return err
		}
		for size := range 50 {
			var args []any
			var want []string
			for i := range size {
				args, want = append(args, fmt.Sprint("row ", i), int64(i), nil), append(want, fmt.Sprintf("row %d %d", i, i))
			}
			if _, err := tx.Exec(ctx, `DELETE FROM inserted`); err != nil {
				return err
			}
			if err := tx.insert(ctx, into, args); err != nil {
				return err
			}
			got, err := all(ctx, db, value[string], `SELECT name || ' ' || n FROM inserted WHERE missing IS NULL ORDER BY row`)
			if err != nil {
				return err
			}
			if !slices.Equal(got, want) {
				t.Errorf("of %d rows came %q", size, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
