package sqlite

import (
	"errors"
	"fmt"
	"slices"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/problem"
)

// primary masks the extended part of an SQLite result code.
const primary = 0xFF

// disturbed reports trouble around the file: the disk is full or fails, or somebody holds the file. SQLite may then have rolled
// the transaction back by itself, and each later statement would commit on its own.
func disturbed(err error) bool {
	return hasCode(err, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM)
}

func hasCode(err error, codes ...int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code()&primary)
}

// translate tells the caller to try again after a passing trouble, or never to, and keeps the cause for the log.
func translate(err error) error {
	if hasCode(err, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG) {
		return fmt.Errorf("%w: %w", fanout.ErrRefused, err)
	}
	if !disturbed(err) || problem.Is(err, problem.Unavailable) {
		return err
	}
	why := "cannot write or read now"
	if hasCode(err, sqlite3.SQLITE_FULL) {
		why = "has no room on its disk"
	}
	return unavailable(why, err)
}

func unavailable(why string, err error) error {
	return fmt.Errorf("%w: %w", problem.New(problem.Unavailable, "The database %s; try again in a second.", why), err)
}
