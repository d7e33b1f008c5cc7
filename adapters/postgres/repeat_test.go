package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// refusesRecords has the server refuse some of what is appended to the log, by the error that its topic names.
const refusesRecords = `DO $$ BEGIN
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = NEW.topic; END $f$;
CREATE TRIGGER refuse BEFORE INSERT ON records FOR EACH ROW WHEN (NEW.topic LIKE '40___') EXECUTE FUNCTION refuse();
END $$`

// TestATransactionIsRepeatedFiveTimes has it meet another one over and over, in a statement and at its commit.
func TestATransactionIsRepeatedFiveTimes(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	pgtest.Check(t, execute(t.Context(), db, refusesRecords))
	inStatement := func(ctx context.Context, tx *postgres.Tx, code string) error {
		_, err := tx.Exec(ctx, fmt.Sprintf(`DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '%s'; END $$`, code))
		return err
	}
	atCommit := func(ctx context.Context, tx *postgres.Tx, code string) error {
		refused := message(0, 0)
		refused.Topic = code
		return tx.Publish(ctx, []postgres.Message{refused})
	}
	for where, fail := range map[string]func(context.Context, *postgres.Tx, string) error{"in a statement": inStatement, "at the commit": atCommit} {
		for _, c := range []struct {
			code           string
			failures, runs int
			ends           bool // well
		}{
			{"40001", 1000, 6, false},
			{"40P01", 1000, 6, false},
			{"40001", 5, 6, true},
			{"40002", 1000, 1, false}, // which would be the same anew
		} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			runs := 0
			err := db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error {
				if runs++; runs > c.failures {
					return nil
				}
				if runs > 2*c.runs {
					cancel() // rather than for ever
				}
				return fail(ctx, tx, c.code)
			})
			late := ctx.Err()
			cancel()
			if (err == nil) != c.ends || err != nil && !strings.Contains(err.Error(), c.code) || late != nil || runs != c.runs {
				t.Errorf("%s, %d times %s: %d runs, want %d, and then %v (%v)", where, c.failures, c.code, runs, c.runs, err, late)
			}
		}
	}
}
