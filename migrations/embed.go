// Package migrations embeds the schema of each database; migrations own all DDL.
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
