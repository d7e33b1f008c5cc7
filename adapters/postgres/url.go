package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	defaultConns = 16
	fewestConns  = 4 // with three nothing was delivered
	poolSize     = "pool_max_conns"
)

// parseURL reads the URL as the pool does, whose own parameters (pool_max_conns and others) no server knows.
func parseURL(url string) (*pgxpool.Config, error) {
	parsed, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the database's URL: %w", err)
	}
	if parsed.HealthCheckPeriod <= 0 { // of which a ticker would panic, which ends the process
		return nil, errors.New("the database's URL: pool_health_check_period must be more than 0")
	}
	return parsed, nil
}

// directConfig is for connections to the server itself, apart from the pool's.
func (db *DB) directConfig() (*pgx.ConnConfig, error) {
	parsed, err := parseURL(db.config.DirectURL)
	if err != nil {
		return nil, err
	}
	reachForPrimary(parsed.ConnConfig)
	speakPlainly(parsed.ConnConfig)
	return parsed.ConnConfig, nil
}

// connsOf is how many connections the pool may have: as many as its URL says, if it does.
func connsOf(url string, parsed *pgxpool.Config) (int, error) {
	asWritten, err := pgx.ParseConfig(url)
	switch {
	case err != nil:
		return 0, fmt.Errorf("the database's URL: %w", err)
	case asWritten.RuntimeParams[poolSize] == "":
		return defaultConns, nil
	case parsed.MaxConns < fewestConns:
		return 0, fmt.Errorf("the database's URL: %s must be at least %d", poolSize, fewestConns)
	}
	return int(parsed.MaxConns), nil
}

// place is where the schema goes, and whether one is there.
const place = `SELECT current_setting('server_encoding'), current_schema(), to_regclass('schema_migrations') IS NOT NULL`

// hasPlace fails where no schema could be made, and says why. A schema that is there goes on in whatever encoding it was made: that of a server on
// Windows, WIN1252, has all that migrations need, and may have all that was ever sent.
func hasPlace(ctx context.Context, conn *pgx.Conn) error {
	var encoding string
	var schema *string
	var made bool
	err := conn.QueryRow(ctx, place, pgx.QueryExecModeSimpleProtocol).Scan(&encoding, &schema, &made)
	switch {
	case err != nil:
		return err
	case schema == nil:
		return errors.New("the connection's search_path names no schema that is there and may be used: make one (CREATE SCHEMA), or name another")
	case !made && encoding != "UTF8" && encoding != "SQL_ASCII":
		return fmt.Errorf("the database has the encoding %s, which lacks characters that events have: make it anew WITH ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	return nil
}
