package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// refusesRecords has the server refuse some of what is appended to the log, by the error that its topic names.
const refusesRecords = `DO $$ BEGIN
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = NEW.topic; END $f$;
CREATE TRIGGER refuse BEFORE INSERT ON records FOR EACH ROW WHEN (NEW.topic ~ '^[45]') EXECUTE FUNCTION refuse();
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
		return tx.Publish(ctx, refused)
	}
	for where, fail := range map[string]func(context.Context, *postgres.Tx, string) error{"in a statement": inStatement, "at the commit": atCommit} {
		for _, c := range []struct {
			code           string
			failures, runs int
			ends           bool // well
		}{
			{"40001", 1000, 6, false},
			{"40P01", 1000, 6, false},
			{"57014", 1000, 6, false}, // as by a migration that goes first
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

// withDefault is the URL for a user, or a database, that has a setting of its own by default.
func withDefault(t *testing.T, to, setting, value string) string {
	t.Helper()
	u, err := url.Parse(to)
	pgtest.Check(t, err)
	query := u.Query()
	query.Set(setting, value)
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}

// TestALimitOfTheOperatorsIsNotMetSixTimes: a statement_timeout cancels with the same code as a migration.
func TestALimitOfTheOperatorsIsNotMetSixTimes(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: withDefault(t, migrated.Copy(t), "statement_timeout", "1600ms")})
	pgtest.Check(t, execute(t.Context(), db, `CREATE SEQUENCE runs`))
	err := db.Query(t.Context(), func(pgx.Rows) error { return nil }, `SELECT nextval('runs'), pg_sleep(60)`)
	if n := count(t, db, `SELECT last_value FROM runs`); !problem.Is(err, problem.Unavailable) || n > 2 {
		t.Errorf("it was run %d times, and then %v", n, err)
	}
}

// TestALockThatIsNotToBeHadIsAnsweredAsBusy has somebody hold it for longer than a lock_timeout of the operator's lets others wait.
func TestALockThatIsNotToBeHadIsAnsweredAsBusy(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	db, other := openURL(t, postgres.Config{URL: withDefault(t, url, "lock_timeout", "1100ms")}), openURL(t, postgres.Config{URL: url})
	holder, err := other.Begin(t.Context())
	pgtest.Check(t, err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.Exec(t.Context(), `LOCK TABLE sweeps IN ACCESS EXCLUSIVE MODE`)
	pgtest.Check(t, err)
	runs := 0
	err = db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		runs++
		return write(ctx, tx)
	})
	if !problem.Is(err, problem.Unavailable) || runs < 2 || runs > 4 {
		t.Errorf("it was run %d times, and then %v", runs, err)
	}
}

// TestAReadIsRepeatedUntilARowCame has it collide each time, which a sequence counts.
func TestAReadIsRepeatedUntilARowCame(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	pgtest.Check(t, execute(t.Context(), db, `DO $$ BEGIN
CREATE SEQUENCE runs;
CREATE FUNCTION collide(code text, times bigint) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN IF nextval('runs') <= times THEN RAISE EXCEPTION 'made up' USING ERRCODE = code; END IF; RETURN true; END $f$;
END $$`))
	for _, c := range []struct {
		sql        string
		rows, runs int
		ends       bool // well
	}{
		{`SELECT collide('40P01', 5)`, 1, 6, true},
		{`SELECT collide('57014', 5)`, 1, 6, true},
		{`SELECT collide('57014', 1000)`, 0, 6, false},
		{`SELECT true FROM generate_series(1, 2) AS i WHERE i = 1 OR collide('57014', 1)`, 1, 1, false}, // the caller has the row
	} {
		pgtest.Check(t, execute(t.Context(), db, `SELECT setval('runs', 1, false)`))
		rows, runs := 0, 0
		err := db.Query(t.Context(), func(r pgx.Rows) error { rows++; return nil }, c.sql)
		pgtest.Check(t, db.Query(t.Context(), func(r pgx.Rows) error { return r.Scan(&runs) }, `SELECT last_value FROM runs`))
		if rows != c.rows || runs != c.runs || (err == nil) != c.ends || err != nil && !problem.Is(err, problem.Unavailable) {
			t.Errorf("%s: %d rows in %d runs, want %d in %d, and then %v", c.sql, rows, runs, c.rows, c.runs, err)
		}
	}
}

// TestWhoIsAlwaysTooLateIsToldToTryAgain has another process accept the same event each time before this one does.
func TestWhoIsAlwaysTooLateIsToldToTryAgain(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	runs := 0
	err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		runs++
		_, err := tx.Exec(ctx, `DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '23505', CONSTRAINT = 'events_w1_pkey'; END $$`)
		return err
	})
	if !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "is busy") || runs != 6 {
		t.Errorf("%d runs, want 6, and then %v", runs, err)
	}
}
