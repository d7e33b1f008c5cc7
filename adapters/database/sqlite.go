package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/sqlite/topics"
)

// OpenSQLite opens the file at path and makes its folder if it is missing; now is this machine's clock.
func OpenSQLite(ctx context.Context, path string, now func() time.Time) (Database, error) {
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return sqliteFile{db, now}, nil
}

// SQLiteExists fails when there is no file at path, which OpenSQLite would make: a command in the wrong folder is to say so instead.
func SQLiteExists(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no database at %s: run this where serve runs, or set ORDINAVO_DATABASE_URL", path)
	}
	return err
}

type sqliteFile struct {
	*sqlite.DB
	now func() time.Time
}

func (f sqliteFile) Now() time.Time { return f.now() }

// Waited is false: the file is there or is made.
func (f sqliteFile) Waited() bool { return false }

func (f sqliteFile) Store(sealer records.Sealer) Store { return sqlite.NewStore(f.DB, sealer) }

func (f sqliteFile) Log(logger *slog.Logger) *eventlog.Log {
	// There is one writer, so it is neither held for long nor taken for each record. 3 KiB name some 130 events.
	return eventlog.New(topics.Of(f.DB), eventlog.Options{Batch: 16, Bytes: 3 << 10, AckDeadline: handledWithin}, logger, f.now)
}
