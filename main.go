// Ordinavo Webhooks delivers what happens in Ordinavo to the systems of its tenants, signed.
//
// This is the composition root: configuration → adapters → application → ports → run.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/adapters/egress"
	"github.com/ordinavo/webhooks/adapters/faults"
	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/seal"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/ports/cli"
	"github.com/ordinavo/webhooks/ports/cli/config"
	"github.com/ordinavo/webhooks/ports/cli/demo"
	"github.com/ordinavo/webhooks/ports/process"
	"github.com/ordinavo/webhooks/ports/rest"
)

const version = "0.1.0"

// gcPercent is how much the heap may grow before it is collected, unless GOGC says otherwise: a fifth less CPU at full
// load than with Go's 100, for 20 MiB more.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		stop() // drain
		<-signals
		os.Exit(1) // at once
	}()
	os.Exit(cli.Main(ctx, os.Args[1:], os.Environ(), cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, cli.Commands{
		Serve: serve, Demo: demo.Run, MigrateUp: migrateUp, MigrateDown: migrateDown, Schema: schema, Build: build,
		Rebuild: map[string]cli.Rebuilder{"metrics": rebuildMetrics}, Keys: withKeys, RotateMaster: rotateMaster,
	}))
}

// now is the service's clock: what is stored has microseconds, so nothing has more.
var now = faults.Clock(func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) })

// serve runs the service until ctx ends, then drains it in the order in which an event goes through it. It listens
// from the first: while the database is away, who asks is told so.
func serve(ctx context.Context, c config.Config, logs io.Writer) (err error) {
	log := telemetry.NewLogger(logs, c.LogLevel)
	slog.SetDefault(log)
	stdlog.SetOutput(io.Discard) // net/http writes there what receivers send, up to a line for each frame of theirs
	tel, err := telemetry.Start(ctx, telemetry.Config{Version: version, Log: log})
	if err != nil {
		return err
	}
	listener, err := listen(c.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	announce := sync.OnceFunc(func() { log.Info("listening", "address", listener.Addr().String(), "version", version) })
	waiting := rest.NewWaiting(rest.Dependencies{
		Metrics: tel.Handler(), Tracer: tel.Tracer(), TraceParent: telemetry.TraceParent, Log: log, Now: now, RateLimit: c.RateLimit, Version: version,
	})
	var s *service
	err = process.While(listener, waiting, func() (err error) {
		s, err = begin(ctx, c, listener.Addr(), tel, log, func(err error) {
			announce()
			log.Warn("waiting for the database", "error", err)
		})
		return err
	})
	if err != nil && ctx.Err() != nil {
		log.Info("stopped while it waited for the database")
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	announce()
	return s.run(ctx, listener)
}

func listen(address string) (*net.TCPListener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener.(*net.TCPListener), nil
}

// begin assembles the service on its database, once that is there; report hears why it is not yet.
func begin(ctx context.Context, c config.Config, address net.Addr, tel *telemetry.Telemetry, log *slog.Logger, report func(error)) (*service, error) {
	db, err := openDatabase(ctx, c, log, report)
	if err != nil {
		return nil, err
	}
	unlock, err := db.Lock()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	free := func() { _, _ = unlock(), db.Close() }
	if err := database.Prepare(ctx, db, c.AutoMigrate); err != nil {
		free()
		return nil, err
	}
	s, err := assemble(ctx, c, address, db, tel, log)
	if err != nil {
		free()
		return nil, err
	}
	s.close = free
	return s, nil
}

func openDatabase(ctx context.Context, c config.Config, log *slog.Logger, report func(error)) (database.Database, error) {
	if c.Database.Kind == config.PostgreSQL {
		return database.OpenPostgres(ctx, database.Postgres{URL: c.Database.URL.Reveal(), DirectURL: c.DirectURL.Reveal(), Logger: log, Waiting: report})
	}
	return database.OpenSQLite(ctx, c.Database.Path)
}

// service is the assembled process with what has to be closed after it.
type service struct {
	process.Process
	telemetry *telemetry.Telemetry
	sender    *egress.Client
	firstKey  string // to be shown, once
	close     func() // lets go of the database
}

// run serves until ctx ends, and closes what is left open after it.
func (s *service) run(ctx context.Context, listener net.Listener) error {
	if s.firstKey != "" {
		s.Log.Warn("a platform key was made; it is not shown again", "key", s.firstKey)
	}
	err := s.Run(ctx, listener)
	s.sender.Close()
	flush, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if telemetryErr := s.telemetry.Shutdown(flush); telemetryErr != nil {
		s.Log.Warn("telemetry was not flushed", "error", telemetryErr)
	}
	s.Log.Info("stopped")
	return err
}

// flushTimeout bounds the last export of traces and metrics.
const flushTimeout = 5 * time.Second

func newSealer(c config.Config) (*seal.Sealer, error) {
	if c.MasterKey.IsZero() {
		keys, err := seal.LoadOrCreateKeyFile(keyFile(c))
		if err != nil {
			return nil, err
		}
		return seal.New(keys[0], keys[1:]...)
	}
	keys, err := seal.ParseKeys(c.MasterKey.Reveal())
	if err != nil {
		return nil, fmt.Errorf("ORDINAVO_MASTER_KEY: %w", err)
	}
	return seal.New(keys[0], keys[1:]...)
}

// keyFile is where the master key is unless ORDINAVO_MASTER_KEY has it.
func keyFile(c config.Config) string {
	return filepath.Join(filepath.Dir(c.Database.Path), "master.key")
}

// rotateMaster seals everything with the first of the master keys: those of ORDINAVO_MASTER_KEY beside processes that run
// with the same, or of the key file, which no process may have read meanwhile.
func rotateMaster(ctx context.Context, c config.Config) (counts reseal.Counts, err error) {
	work := func(db database.Database) error {
		if err := database.Prepare(ctx, db, false); err != nil {
			return err
		}
		sealer, err := newSealer(c)
		if err == nil {
			counts, err = reseal.All(ctx, db.Store(sealer), sealer)
		}
		return err
	}
	if c.MasterKey.IsZero() {
		work = alone(inKeyFile(keyFile(c), work))
	}
	err = withDatabase(ctx, c, work)
	return counts, err
}

// inKeyFile works with a new key in the file beside the old one, which goes once that went well.
func inKeyFile(path string, work func(database.Database) error) func(database.Database) error {
	return func(db database.Database) error {
		if err := seal.AddNewKey(path); err != nil {
			return err
		}
		if err := work(db); err != nil {
			return err
		}
		return seal.KeepNewestKey(path)
	}
}

func migrateUp(ctx context.Context, c config.Config) error {
	return withDatabase(ctx, c, alone(func(db database.Database) error { return db.Migrate(ctx) }))
}

func migrateDown(ctx context.Context, c config.Config, steps int) error {
	return withDatabase(ctx, c, alone(func(db database.Database) error { return db.MigrateDown(ctx, steps) }))
}

// alone keeps a schema from being changed under a process that serves a file.
func alone(do func(database.Database) error) func(database.Database) error {
	return func(db database.Database) error {
		unlock, err := db.Lock()
		if err != nil {
			return err
		}
		return errors.Join(do(db), unlock())
	}
}

func schema(ctx context.Context, c config.Config) (current, newest uint, err error) {
	err = withDatabase(ctx, c, func(db database.Database) (err error) {
		current, newest, err = db.SchemaVersion(ctx)
		return err
	})
	return current, newest, err
}

// rebuildMetrics works beside processes that serve the database, an SQLite file's too: its transactions are short.
func rebuildMetrics(ctx context.Context, c config.Config, run func(context.Context, *metrics.Rebuild) error) error {
	return withDatabase(ctx, c, func(db database.Database) error {
		if err := database.Prepare(ctx, db, false); err != nil {
			return err
		}
		return run(ctx, metrics.NewRebuild(db.Store(nil), now, c.Retention.Attempts))
	})
}

// withKeys works beside a service that runs: who is asked for a key looks at the database every second.
func withKeys(ctx context.Context, c config.Config, run func(context.Context, *access.Keys) error) error {
	return withDatabase(ctx, c, func(db database.Database) error {
		if err := database.Prepare(ctx, db, false); err != nil {
			return err
		}
		return run(ctx, access.NewKeys(db.Store(nil), now, ids.New(now, rand.Reader).New, rand.Reader))
	})
}

func withDatabase(ctx context.Context, c config.Config, do func(database.Database) error) error {
	db, err := openDatabase(ctx, c, slog.Default(), func(err error) { slog.Warn("waiting for the database", "error", err) })
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

func build() (string, string, uint) {
	commit := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return version, commit, sqlite.NewestSchema()
}
