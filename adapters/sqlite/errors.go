package sqlite

import (
	"errors"
	"fmt"
	"slices"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ordinavo/webhooks/domain/problem"
)

// primary takes the extended part out of a result code of SQLite.
const primary = 0xFF

// disturbed reports whether the file's surroundings are in trouble: the disk is full or fails, or somebody holds the file.
// SQLite may have rolled the transaction back by itself then, and each statement after it would commit alone.
func disturbed(err error) bool {
	return hasCode(err, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM)
}

func hasCode(err error, codes ...int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code()&primary)
}

// translate tells the caller of what passes that it is worth trying again, and keeps the cause for the log.
func translate(err error) error {
	if !disturbed(err) || problem.Is(err, problem.Unavailable) {
		return err
	}
	why := "cannot write or read now"
	if hasCode(err, sqlite3.SQLITE_FULL) {
		why = "has no room on its disk"
	}
	return fmt.Errorf("%w: %w", problem.New(problem.Unavailable, "The database %s; try again in a second.", why), err)
}
