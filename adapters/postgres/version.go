package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// oldestServer is the first version that knows all that migrations and statements use, such as autovacuum_vacuum_insert_scale_factor.
const oldestServer = 13

var errTooOld = errors.New("the server is too old")

// newEnough fails for a server that is too old. The first statement that it does not know would not tell why, and nor would a parameter of a
// connection, which may be waited for in vain. A server whose version says nothing, like one that is a fork, is tried. Who greets with a version
// that is too old is asked: a PgBouncer greets with that of the server that it met first, and keeps it when that has been upgraded.
func newEnough(ctx context.Context, conn *pgx.Conn) error {
	version := conn.PgConn().ParameterStatus("server_version")
	if major(version) >= oldestServer {
		return nil
	}
	var asked string
	if err := conn.QueryRow(ctx, "SHOW server_version", pgx.QueryExecModeSimpleProtocol).Scan(&asked); err != nil {
		return err
	}
	if major(asked) >= oldestServer {
		return nil
	}
	return fmt.Errorf("%w: it is PostgreSQL %s, and %d is the oldest that will do", errTooOld, asked, oldestServer)
}

// major is the number that a version begins with, and oldestServer where there is none.
func major(version string) int {
	n := oldestServer
	_, _ = fmt.Sscanf(version, "%d", &n)
	return n
}
