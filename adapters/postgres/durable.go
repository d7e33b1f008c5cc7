package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// answersEarly is the key, in a connection's custom data, of whether the server answers a commit before that would outlive a crash.
const answersEarly = "answers early"

// early is so by a default of the server's, the database's or the role's. Whoever writes it into the URL means this service.
const early = `SELECT setting = 'off' AND source <> 'client' FROM pg_settings WHERE name = 'synchronous_commit'`

// commitLastingly makes each transaction say that its commit is to last: who was answered with 202 does not emit again what a crash of the
// server has taken. It waits for no standby, as it would not have. All other values last, and differ by what standbys are waited for; which
// ones is the operator's affair.
const commitLastingly = `SET LOCAL synchronous_commit = local`

func noteEarly(ctx context.Context, conn *pgx.Conn) error {
	var is bool
	err := conn.QueryRow(ctx, early, pgx.QueryExecModeSimpleProtocol).Scan(&is)
	conn.PgConn().CustomData()[answersEarly] = is
	return err
}
