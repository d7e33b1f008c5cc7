// Package sqlite keeps everything in one SQLite file: the zero-setup default.
//
// SQLite has one writer. This package makes that explicit: one connection writes,
// its users queue for it, and each transaction is BEGIN IMMEDIATE, since a read
// transaction that turns into a write fails under WAL if another wrote in between.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver, in pure Go

	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/share"
)

// DB is an open database file. All methods are safe for concurrent use.
type DB struct {
	wakeup.Signals
	path     string
	file     os.FileInfo // what was there at the start
	readers  *sql.DB
	looking  *share.Slots // for lookups for users that run at once
	changing *share.Slots // for changes by users that wait for the writer, or have it
	writing  *sql.DB      // for the connection that writes and the one that moves the log, which never wait for readers
	reads    sync.Map     // query text to *sql.Stmt
	write    chan *writer // holds the one writer while nobody uses it
	queue    atomic.Int64 // how many wait for it
	closed   <-chan struct{}
	close    func() error

	checkpoints checkpoints
	moving      sync.WaitGroup // the goroutine that moves the log
}

// ErrClosed refuses writes after Close.
var ErrClosed = errors.New("the database is closed")

// writer is the one connection that writes, with its prepared statements.
type writer struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

// Open opens the file at path and makes its folder if it is missing. It does not migrate.
func Open(ctx context.Context, path string) (*DB, error) {
	path, file, err := makeFile(path)
	if err != nil {
		return nil, err
	}
	reading := max(6, runtime.NumCPU())
	readers, err := connect(path, reading)
	if err != nil {
		return nil, err
	}
	writing, err := connect(path, 3) // the third takes the writer's place when its connection is broken
	if err != nil {
		return nil, errors.Join(err, readers.Close())
	}
	open, end := context.WithCancel(context.Background())
	db := &DB{path: path, file: file, readers: readers, looking: share.NewSlots(reading / 2), changing: share.NewSlots(1), writing: writing,
		write: make(chan *writer, 1), closed: open.Done(), checkpoints: checkpoints{pages: logPages, due: logPages, wake: make(chan struct{}, 1)}}
	db.close = sync.OnceValue(func() error { return db.shut(end) })
	w, err := db.connectWriter(ctx)
	if err == nil {
		_, _ = w.conn.ExecContext(ctx, sortIn(filepath.Dir(path))) // where nothing can be written, SQLite looks further
	}
	if err != nil {
		end()
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), writing.Close(), readers.Close())
	}
	db.write <- w
	db.moving.Go(func() { db.moveLog(open) })
	return db, nil
}

// makeFile makes the file and its folder if they are missing, and says what it is called whatever links lead to it: the lock goes by its name.
func makeFile(path string) (real string, file os.FileInfo, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", nil, fmt.Errorf("make the database's folder: %w", err)
	}
	// SQLite's own files beside it get this mode, too.
	if file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return "", nil, fmt.Errorf("open the database's file: %w", err)
	} else if err := file.Close(); err != nil {
		return "", nil, fmt.Errorf("open the database's file: %w", err)
	}
	if real, err = filepath.EvalSymlinks(path); err == nil {
		file, err = os.Stat(real)
	}
	if err != nil {
		return "", nil, fmt.Errorf("find the database's file: %w", err)
	}
	return real, file, nil
}

// connect prepares at most so many connections to the file.
func connect(path string, connections int) (*sql.DB, error) {
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(5000)",
		"journal_mode(WAL)",
		"synchronous(FULL)", // as fast as NORMAL with group commits, and a commit survives a power cut
		fmt.Sprintf("wal_autocheckpoint(%d)", logPagesAtMost),
		"foreign_keys(1)",
		// Readers get little, since there are several: what they have cached is void with each commit, and what they sort beyond that goes to a
		// file. With 16 MiB one that reconciled an hour took 27.
		"cache_size(-2048)",
	}}
	pool, err := sql.Open("sqlite", "file:"+escapePath(path)+"?"+pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	return pool, nil
}

// escapePath escapes the characters that would end the path of a file: URI.
func escapePath(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
}

// sortIn has SQLite make its temporary files in a folder, for all connections of the process. In a container whose root cannot be written, and
// that has no /tmp, it would find no other, and what readers sort beyond their cache would fail for good.
func sortIn(folder string) string {
	return "PRAGMA temp_store_directory = '" + strings.ReplaceAll(folder, "'", "''") + "'"
}

func (db *DB) connectWriter(ctx context.Context) (*writer, error) {
	conn, err := db.writing.Conn(ctx)
	if err != nil {
		return nil, err
	}
	// What it sorts, or may have to undo, is little.
	if _, err := conn.ExecContext(ctx, "PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &writer{conn: conn, statements: map[string]*sql.Stmt{}}, nil
}

// Close waits for the transaction under way and closes the file, which then has everything: with the last connection, SQLite
// moves its write-ahead log there and deletes it. Whoever waits for the writer, now or later, gets ErrClosed. A second call
// does nothing.
func (db *DB) Close() error { return db.close() }

func (db *DB) shut(end context.CancelFunc) error {
	end()
	db.moving.Wait()
	(<-db.write).close()
	err := errors.Join(db.writing.Close(), db.readers.Close())
	_ = db.checkpoints.index.Close() // last: closing a file drops all of the process's locks on it, SQLite's too (POSIX, fcntl)
	return err
}

// Connections is how the file's connections are used: the one that writes is always in use.
func (db *DB) Connections() metrics.Connections {
	r, w := db.readers.Stats(), db.writing.Stats()
	return metrics.Connections{Used: r.InUse + w.InUse, Idle: r.Idle + w.Idle, Max: r.MaxOpenConnections + w.MaxOpenConnections, Waiting: int(db.queue.Load())}
}

// Query reads the last committed state outside any transaction, and takes no lock that a writer waits for.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	statement, err := db.prepare(ctx, query)
	if err != nil {
		return nil, translate(err)
	}
	rows, err := statement.QueryContext(ctx, args...)
	return rows, translate(err)
}

// prepare keeps the statement of a query; each connection then prepares it once.
func (db *DB) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if kept, ok := db.reads.Load(query); ok {
		return kept.(*sql.Stmt), nil
	}
	statement, err := db.readers.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	kept, others := db.reads.LoadOrStore(query, statement)
	if others {
		_ = statement.Close()
	}
	return kept.(*sql.Stmt), nil
}

// prepare keeps a statement for the life of the connection: preparing most of them costs more than running them.
func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement, ok := w.statements[query]; ok {
		return statement, nil
	}
	// A statement outlives the request that used it first, so it must not die with its context.
	statement, err := w.conn.PrepareContext(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil, err
	}
	w.statements[query] = statement
	return statement, nil
}
