// Package migrations embeds the schema of each database; migrations own all DDL. The processes of the version before
// one go on while it runs and after it, so it takes nothing away that they use.
package migrations

import "embed"

// SQLite holds sqlite/NNNN_name.up.sql and .down.sql.
//
//go:embed sqlite/*.sql
var SQLite embed.FS

// PostgreSQL holds postgres/NNNN_name.up.sql and .down.sql.
//
//go:embed postgres/*.sql
var PostgreSQL embed.FS
