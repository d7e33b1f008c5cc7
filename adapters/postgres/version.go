package postgres

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// oldestServer is the first version that knows all that migrations and statements use, such as autovacuum_vacuum_insert_scale_factor.
const oldestServer = 13

var errTooOld = errors.New("the server is too old")

// newEnough fails for a server that is too old. The first statement that it does not know would not tell why, and nor would a parameter of a
// connection, which may be waited for in vain. A server whose version says nothing, like one that is a fork, is tried.
func newEnough(conn *pgx.Conn) error {
	version, major := conn.PgConn().ParameterStatus("server_version"), oldestServer
	if _, _ = fmt.Sscanf(version, "%d", &major); major < oldestServer {
		return fmt.Errorf("%w: it is PostgreSQL %s, and %d is the oldest that will do", errTooOld, version, oldestServer)
	}
	return nil
}
