package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ordinavo/webhooks/domain/problem"
)

// primary takes the extended part out of a result code of SQLite.
const primary = 0xFF

// disturbed reports whether the file's surroundings are in trouble: the disk is full or fails, or somebody holds the file.
// SQLite may have rolled the transaction back by itself then, and each statement after it would commit alone.
func disturbed(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & primary {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM:
		return true
	}
	return false
}

// translate tells the caller of what passes that it is worth trying again, and keeps the cause for the log.
func translate(err error) error {
	if !disturbed(err) || problem.Is(err, problem.Unavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", problem.New(problem.Unavailable, "The database cannot write or read now; try again in a second."), err)
}
