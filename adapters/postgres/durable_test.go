package postgres

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestACommitLastsWhateverTheDatabaseSets: by the default of a database that others share, a crash would take events that were accepted.
func TestACommitLastsWhateverTheDatabaseSets(t *testing.T) {
	t.Parallel()
	const name = "synchronous_commit"
	for _, c := range []struct{ database, url, want string }{
		{"off", "", "local"}, {"on", "", "on"}, {"local", "", "local"}, {"remote_apply", "", "remote_apply"}, {"on", "off", "off"},
	} {
		direct := pgtest.Empty(t)
		conn, err := pgx.Connect(t.Context(), direct)
		pgtest.Check(t, err)
		_, err = conn.Exec(t.Context(), `ALTER DATABASE `+conn.Config().Database+` SET `+name+` = `+c.database)
		pgtest.Check(t, err)
		pgtest.Check(t, conn.Close(t.Context()))
		urls := []string{direct}
		if c.url == "" {
			urls = append(urls, pgtest.StartBouncer(t, direct).URL(direct))
		} else {
			urls[0] += param(direct) + name + "=" + c.url
		}
		for _, url := range urls {
			db := openAt(t, url)
			pgtest.Check(t, db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
				got, err := one(ctx, tx, value[string], `SHOW `+name)
				if got != c.want {
					t.Errorf("where the database says %s, who connects by %s commits with %s, want %s", c.database, url, got, c.want)
				}
				return err
			}))
		}
	}
}
