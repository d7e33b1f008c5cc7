// Package schema runs golang-migrate so that a process that dies in the middle of a migration leaves nothing to repair.
package schema

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

// ErrNewer says that the database was written by a newer binary.
var ErrNewer = errors.New("the database's schema is newer than this binary knows")

// ErrHalfWay says that a migration may have been done in part: an early build wrote its version apart from it.
func ErrHalfWay(version uint) error {
	return fmt.Errorf("migration %d stopped half-way: restore the database, or repair it and set its version "+
		"(UPDATE schema_migrations SET version = …, dirty = false)", version)
}

// Explain says what to do about a migration that stopped half-way: golang-migrate advises to force a version, which is no command here.
func Explain(err error) error {
	var dirty migrate.ErrDirty
	if errors.As(err, &dirty) {
		return ErrHalfWay(uint(dirty.Version))
	}
	return err
}

// Newest is the number of the last migration in the directory.
func Newest(files fs.FS, dir string) (uint, error) {
	all, err := versions(files, dir)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[len(all)-1], nil
}

// MayTakeBack fails unless as many migrations lead to the version: these have gaps in their numbers, and whoever asks for more means something
// else than to lose everything, such as the version to go back to.
func MayTakeBack(files fs.FS, dir string, version uint, n int) error {
	all, err := versions(files, dir)
	if err != nil {
		return err
	}
	if applied := len(slices.DeleteFunc(all, func(v uint) bool { return v > version })); n > applied {
		return fmt.Errorf("only %d migrations can be taken back", applied)
	}
	return nil
}

// versions is the numbers of the migrations in the directory, in order.
func versions(files fs.FS, dir string) (all []uint, err error) {
	source, err := iofs.New(files, dir)
	if err != nil {
		return nil, err
	}
	version, err := source.First()
	for err == nil {
		all = append(all, version)
		version, err = source.Next(version)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return all, source.Close()
}

// Atomic writes each migration and the version it leads to in one transaction. The driver must run a migration's statements
// in a transaction and keep the version in schema_migrations. By itself, golang-migrate marks the schema dirty first; after a
// process died or met a lock, somebody would have to find out by hand what had been done.
func Atomic(driver database.Driver) database.Driver { return &atomic{Driver: driver} }

type atomic struct {
	database.Driver
	target int // the version that the next migration leads to
}

// SetVersion only notes the version that a migration leads to; Run writes it.
func (a *atomic) SetVersion(version int, dirty bool) error {
	a.target = version
	return nil
}

func (a *atomic) Run(migration io.Reader) error {
	record := "\n;DELETE FROM schema_migrations;\n"
	if a.target != database.NilVersion {
		record += fmt.Sprintf("INSERT INTO schema_migrations (version, dirty) VALUES (%d, false);\n", a.target)
	}
	return Cause(a.Driver.Run(io.MultiReader(migration, strings.NewReader(record))))
}

// ErrMoved says that the schema is no longer at the version that a migration was to begin with.
var ErrMoved = errors.New("another migration was at work meanwhile: look at the schema's version, and repeat what is still to be done")

// From migrates only if the schema is at the version once the driver has its lock. A server goes on with what a killed process has sent; who
// repeats that waits for it, and would do it twice.
func From(driver database.Driver, version uint) database.Driver { return &from{driver, version} }

type from struct {
	database.Driver
	version uint
}

func (f *from) Lock() error {
	if err := f.Driver.Lock(); err != nil {
		return err
	}
	version, _, err := f.Version()
	if err == nil && max(version, 0) != int(f.version) {
		err = ErrMoved
	}
	if err != nil {
		return errors.Join(err, f.Unlock())
	}
	return nil
}

// Until begins no migration once ctx has ended; the one under way goes on to its end. golang-migrate's own way to stop is a data race.
func Until(ctx context.Context, driver database.Driver) database.Driver { return &until{driver, ctx} }

type until struct {
	database.Driver
	ctx context.Context
}

func (u *until) Run(migration io.Reader) error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	return u.Driver.Run(migration)
}

// Cause lets errors.As find the database's own error, which golang-migrate's errors hide.
func Cause(err error) error {
	var pointer *database.Error
	if errors.As(err, &pointer) {
		return fmt.Errorf("%w: %w", err, pointer.OrigErr)
	}
	var value database.Error
	if errors.As(err, &value) {
		return fmt.Errorf("%w: %w", err, value.OrigErr)
	}
	return err
}
