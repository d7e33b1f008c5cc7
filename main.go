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
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/adapters/egress"
	"github.com/ordinavo/webhooks/adapters/faults"
	"github.com/ordinavo/webhooks/adapters/features"
	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/seal"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/preview"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/ports/cli"
	"github.com/ordinavo/webhooks/ports/cli/config"
	"github.com/ordinavo/webhooks/ports/cli/demo"
	"github.com/ordinavo/webhooks/ports/messages"
	"github.com/ordinavo/webhooks/ports/process"
	"github.com/ordinavo/webhooks/ports/rest"
)

const version = "0.1.0"

func main() {
	os.Exit(cli.Main(process.UntilSignal(), os.Args[1:], os.Environ(), cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, cli.Commands{
		Serve: serve, Demo: demo.Run, MigrateUp: migrateUp, MigrateDown: migrateDown, Schema: schema, Build: build,
		Rebuild: map[string]cli.Rebuilder{"metrics": rebuildMetrics}, Keys: withKeys, RotateMaster: rotateMaster,
	}))
}

// machine is this machine's clock: what is stored has microseconds, so nothing has more. All goes by the database's, which may be another.
var machine = faults.Clock(func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) })

// serve runs the service until ctx ends, then drains it in the order in which an event goes through it. It listens from the start: while
// the database is away, callers are told so.
func serve(ctx context.Context, c config.Config, logs io.Writer) (err error) {
	process.OutliveLog()
	lines := telemetry.Detach(logs)
	defer lines.Close()
	log := telemetry.NewLogger(lines, c.LogLevel)
	slog.SetDefault(log)
	stdlog.SetOutput(io.Discard) // net/http logs there what receivers send, up to a line for each of their frames
	tel, err := telemetry.Start(ctx, telemetry.Config{Version: version, Log: log})
	if err != nil {
		return err
	}
	listener, err := process.Listen(c.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	announce := sync.OnceFunc(func() {
		_ = show(log, slog.LevelInfo, "listening", slog.String("address", listener.Addr().String()), slog.String("version", version))
	})
	waiting := rest.NewWaiting(rest.Dependencies{
		Metrics: tel.Handler(), Tracer: tel.Tracer(), TraceParent: telemetry.TraceParent, WithTraceParent: telemetry.WithTraceParent,
		Served: tel.Metrics().RequestServed, Log: log, Now: machine, RateLimit: c.RateLimit, Memory: process.Memory(), Version: version,
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
	if err := egress.CheckAuthorities(); err != nil && c.Roles.Dispatcher {
		log.Error("no receiver can be called by https: install the authorities that sign certificates (ca-certificates), or name a file of them in SSL_CERT_FILE", "error", err)
	}
	if err := s.prepareFirstKey(ctx, c.PlatformKey.Reveal(), telemetry.NewLogger(logs, c.LogLevel)); err != nil && ctx.Err() == nil {
		return err
	}
	return s.run(ctx, listener) // which drains at once if it was told to stop by now
}

// show logs at any log level what has to be seen: the address, which may have a port that nobody chose, and a key that is not made again.
func show(log *slog.Logger, level slog.Level, message string, attrs ...slog.Attr) error {
	line := slog.NewRecord(time.Now(), level, message, 0)
	line.AddAttrs(attrs...)
	return log.Handler().Handle(context.Background(), line)
}

// begin assembles the service on its database, once that is there; report is told why it is not there yet.
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
	if err := database.Prepare(db, c.AutoMigrate); err != nil {
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
		return database.OpenPostgres(ctx, database.Postgres{URL: c.Database.URL.Reveal(), DirectURL: c.DirectURL.Reveal(), Now: machine, Logger: log, Waiting: report})
	}
	return database.OpenSQLite(ctx, c.Database.Path, machine)
}

// keyFile is where the master key is unless ORDINAVO_MASTER_KEY has it.
func keyFile(c config.Config) string {
	return filepath.Join(filepath.Dir(c.Database.Path), "master.key")
}

// openSealer makes a master key beside the database where there is none, unless something is sealed already.
func openSealer(ctx context.Context, c config.Config, db database.Database) (*seal.Sealer, error) {
	return seal.Open(c.MasterKey.Reveal(), keyFile(c), func() error { return reseal.CheckUnsealed(ctx, db.Store(nil)) })
}

// service is the assembled process, with what has to be closed after it.
type service struct {
	process.Process
	telemetry *telemetry.Telemetry
	sender    *egress.Client
	keys      *access.Keys
	close     func() // lets go of the database
}

// prepareFirstKey shows the platform key if one was made, by a log that says when it could not.
func (s *service) prepareFirstKey(ctx context.Context, wanted string, direct *slog.Logger) error {
	made, refused, err := s.keys.FirstKey(ctx, wanted)
	switch {
	case err != nil:
		return fmt.Errorf("prepare the first platform key: %w", err)
	case refused:
		s.Log.Warn("the key in ORDINAVO_PLATFORM_KEY was revoked or has expired: it opens nothing, and keys create makes another")
	case made != "":
		return show(direct, slog.LevelWarn, "a platform key was made; it is not shown again", slog.String("key", made))
	}
	return nil
}

// run serves until ctx ends, and closes what is left open after it.
func (s *service) run(ctx context.Context, listener net.Listener) error {
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

// assembly is what the service is put together from.
type assembly struct {
	config.Config
	stopping      func() bool // it was told to
	db            database.Database
	store         database.Store
	telemetry     *telemetry.Telemetry
	observer      *telemetry.Observer
	log           *slog.Logger
	newID         func(prefix string) string
	incarnation   string
	gate          *features.Gate
	sender        *egress.Client
	keys          *access.Keys
	answers       *idempotency.Answers
	intake        *intake.Intake
	backlog       *intake.Backlog
	subscriptions *subscriptions.Service
	attempter     *dispatch.Attempter
	takeover      *dispatch.Takeover
	dispatcher    *dispatch.Dispatcher
	sweeper       *sweep.Sweeper
	jobs          *jobs.Service
	jobWorker     *jobs.Worker
	hub           *live.Hub
	queueWatch    *metrics.QueueWatch
}

func assemble(ctx context.Context, c config.Config, address net.Addr, db database.Database, tel *telemetry.Telemetry, log *slog.Logger) (*service, error) {
	a := &assembly{Config: c, stopping: func() bool { return ctx.Err() != nil }, db: db, telemetry: tel, observer: tel.Observer(db.Now), log: log, newID: ids.New(db.Now, rand.Reader).New}
	if err := a.openStore(ctx); err != nil {
		return nil, err
	}
	if err := a.reachOut(ctx, address); err != nil {
		return nil, err
	}
	a.makeUseCases()
	a.gauge()
	s := &service{telemetry: tel, sender: a.sender, keys: a.keys, Process: process.Process{
		Log: log, Now: a.db.Now, Failed: tel.Metrics().StepsFailed, Intake: []loop.Loop{a.intake.Loop()}, Server: a.api(), ShutdownDelay: c.ShutdownDelay, ShutdownTimeout: c.ShutdownTimeout,
		Watch: func(ctx context.Context) {
			db.Watch(ctx, func() { a.dispatcher.Wake(); a.sweeper.Wake(); a.jobWorker.Wake() }, a.dispatcher.Changed, a.dispatcher.Forget)
		},
	}}
	return s, a.takeRoles(&s.Process)
}

// openStore begins work on the database, whose secrets must open with this process's master key.
func (a *assembly) openStore(ctx context.Context) error {
	sealer, err := openSealer(ctx, a.Config, a.db)
	if err != nil {
		return err
	}
	a.store = faults.Store(a.db.Store(sealer))
	if err := reseal.Check(ctx, a.store, sealer); err != nil {
		return err
	}
	a.keys = access.NewKeys(a.store, a.db.Now, a.newID, rand.Reader)
	a.answers = idempotency.New(a.store, sealer, a.db.Now, func() string { return a.newID("") })
	a.incarnation = a.newID("inc_")
	if err := a.store.BeginIncarnation(ctx, a.incarnation, a.db.Now()); err != nil {
		return fmt.Errorf("begin an incarnation: %w", err)
	}
	return nil
}

// reachOut makes the parts that ask others: the gate, which features a tenant has; the sender, receivers for an answer.
func (a *assembly) reachOut(ctx context.Context, address net.Addr) (err error) {
	if a.gate, err = features.NewGate(ctx, features.NewProvider(a.store)); err != nil {
		return err
	}
	own, err := egress.Own(address)
	if err != nil {
		return err
	}
	a.sender = egress.New(egress.Config{Allow: a.Egress.Allow, Ports: portRanges(a.Config), Own: own, Clock: a.db.Now, MaxIdleConns: a.MaxInFlight})
	return nil
}

func (a *assembly) makeUseCases() {
	limits := intake.Limits{EventsPerDay: a.Quotas.EventsPerDay, TenantOpen: a.Quotas.Open, Open: a.MaxOpen, FanOutLag: a.MaxFanOutLag}
	a.backlog = intake.NewBacklog(a.store, limits, a.db.Now)
	a.intake = intake.New(intake.Config{
		Store: a.store, Quotas: a.store, Limits: limits, Backlog: a.backlog, Observer: a.observer, Now: a.db.Now, NewID: a.newID,
	})
	a.subscriptions = &subscriptions.Service{
		Store: a.store, Gate: a.gate, URLs: a.sender, Now: a.db.Now, NewID: a.newID, NewSecret: seal.NewSecret,
		DefaultSchedule: a.RetrySchedule, Quota: a.Quotas.Subscriptions,
	}
	a.attempter = &dispatch.Attempter{
		Sender: faults.Sender(a.sender), Secrets: seal.NewCache(a.store, seal.CachedSecrets), Observer: a.observer, Now: a.db.Now,
		UserAgent: "Ordinavo-Webhooks/" + version, Trouble: telemetry.AttemptTrouble(a.log, time.Now),
	}
	a.takeover = dispatch.NewTakeover(a.store, a.store, a.db.Now, a.incarnation, a.db.Waited())
	a.takeover.Abandoned = a.telemetry.Metrics().AttemptsAbandoned
	a.dispatcher = dispatch.New(dispatch.Config{
		Store: a.store, Disabler: a.subscriptions, Observer: a.observer, Now: a.db.Now, Jitter: mathrand.Float64,
		Incarnation: a.incarnation, MaxInFlight: a.MaxInFlight, Alone: a.takeover.Alone,
	})
	a.sweeper = sweep.New(a.store, a.db.Now)
	a.sweeper.Ended = a.observer.DeliveriesEnded
	a.jobs = &jobs.Service{Store: a.store, Picker: jobs.Picker{Deliveries: a.store, Events: a.store, Gate: a.gate, Kept: retention.Ages(a.Retention).Shortest()}, Now: a.db.Now, NewID: a.newID}
	a.jobWorker = jobs.NewWorker(a.jobs, a.store)
	a.jobWorker.Begun, a.jobWorker.Limits = a.telemetry.Metrics().DeliveriesBegun, jobs.Limits{TenantOpen: limits.TenantOpen, Open: limits.Open}
	a.hub = live.New(a.store, a.store, a.db.Now, live.Limits{Connections: rest.Connections(process.Memory()), Kept: retention.Ages(a.Retention).Shortest()})
}

// gauge lets the metrics read what is not counted as it happens.
func (a *assembly) gauge() {
	a.telemetry.Metrics().ReadReconciliation(a.store.CheckResult)
	a.queueWatch = metrics.NewQueueWatch(a.store, a.dispatcher.Circuits, a.db.Now)
	a.telemetry.Metrics().ShowQueue(a.queueWatch.Last)
	a.telemetry.Metrics().ShowConnections(a.db.Connections)
}

// takeRoles gives the process the work that every process does, and that of its roles.
func (a *assembly) takeRoles(p *process.Process) (err error) {
	p.Loops = []loop.Loop{
		a.takeover.Heartbeat(), retention.New(a.store, retention.Ages(a.Retention), a.db.Now).Loop(),
		{Name: "key-use", Step: a.keys.TouchStep}, {Name: "idempotency", Step: a.answers.PurgeStep},
		reconciliation.NewChecker(a.store, a.db.Now, telemetry.Unbalanced(a.log)).Loop(), a.queueWatch.Loop(),
	}
	var handover fanout.Handover
	if a.Roles.Dispatcher {
		p.Dispatcher, p.Attempter, handover = a.dispatcher, a.attempter, a.dispatcher
		p.Loops = append(p.Loops, a.dispatcher.Loop(), a.sweeper.Loop(), a.jobWorker.Loop(), subscriptions.NewNotices(a.store, a.db.Now).Loop(), a.takeover.Loop())
	}
	if a.Roles.Router {
		fan := fanout.New(fanout.Config{
			Store: fanout.Remember(a.store, a.intake.Recent), Gate: a.gate, Handover: handover, Observer: faults.FanOut(a.observer),
			Now: a.db.Now, NewID: a.newID, AtOnce: faults.AtOnce(), MaxLag: a.MaxFanOutLag,
		})
		p.Loops = append(p.Loops, fan.Turns().Loop(), metrics.NewProjection(a.store, a.db.Now).Loop())
		if p.Router, err = messages.NewRouter(a.log, a.db.Log(a.log), fan); err != nil {
			return err
		}
	}
	if a.Roles.API {
		p.Loops = append(p.Loops, a.hub.Loop(), a.backlog.Loop())
	}
	return nil
}

func (a *assembly) api() *rest.API {
	return rest.New(rest.Dependencies{
		Intake: a.intake,

		Events:       &queries.Events{Reader: a.store, Now: a.db.Now},
		EventRetries: &queries.EventRetries{Store: a.store, Now: a.db.Now},
		Deliveries:   &queries.Deliveries{Reader: a.store, Tests: a.store, Counts: a.store},
		Retries:      &queries.Retries{Store: a.store, Gate: a.gate, Now: a.db.Now},
		Jobs:         a.jobs,

		Subscriptions:    a.subscriptions,
		SubscriptionList: a.store,
		Circuits:         a.store,
		History:          &subscriptions.History{Store: a.store},
		Tester:           &subscriptions.Tester{Service: a.subscriptions, Store: a.store, Attempter: a.attempter},
		Previews:         &preview.Previewer{Service: a.subscriptions, Store: a.store, Attempter: a.attempter},
		Doctor:           &preview.Doctor{Service: a.subscriptions, Secrets: a.attempter.Secrets},
		CatchUp: &catchup.Service{Reader: a.store, Subscriptions: a.subscriptions, Signer: a.attempter, Hub: a.hub, Now: a.db.Now,
			Kept: retention.Ages(a.Retention).Shortest()},

		Live:            a.hub,
		DeliveryMetrics: a.store,
		Reconciliation:  &reconciliation.Service{Reader: a.store, Now: a.db.Now, Kept: min(a.Retention.Events, a.Retention.Attempts)},

		Directory:   a.store,
		Tenants:     &access.Tenants{Store: a.store, Now: a.db.Now},
		Keys:        a.keys,
		Idempotency: a.answers,

		Ready:       a.ready,
		Metrics:     a.telemetry.Handler(),
		Tracer:      a.telemetry.Tracer(),
		TraceParent: telemetry.TraceParent, WithTraceParent: telemetry.WithTraceParent,
		Served: a.telemetry.Metrics().RequestServed, Log: a.log,
		Now:     a.db.Now,
		Version: version,

		RateLimit:       a.RateLimit,
		TenantRateLimit: a.Quotas.RateLimit,
		ProbesOnly:      !a.Roles.API, Memory: process.Memory(),
	})
}

// ready says why the process should get no requests: it is about to stop, or the database does not answer or takes no events.
func (a *assembly) ready(ctx context.Context) error {
	if a.stopping() {
		return problem.New(problem.Unavailable, "The process is about to stop.")
	}
	if err := a.store.Ping(ctx); err != nil {
		return err
	}
	return a.intake.Ready()
}

func portRanges(c config.Config) (ports egress.PortRanges) {
	for _, r := range c.Egress.Ports {
		ports = append(ports, egress.PortRange(r))
	}
	return ports
}

// The commands that work on the database itself, beside serve or instead of it.

// rotateMaster seals everything with the first master key: of ORDINAVO_MASTER_KEY, beside processes that run with the same value, or of the
// key file, which no running process may have read.
func rotateMaster(ctx context.Context, c config.Config) (counts reseal.Counts, err error) {
	work := func(db database.Database) error {
		if err := database.Prepare(db, false); err != nil {
			return err
		}
		sealer, err := openSealer(ctx, c, db)
		if err == nil {
			counts, err = reseal.All(ctx, db.Store(sealer), sealer)
		}
		return err
	}
	if c.MasterKey.IsZero() {
		held := work
		work = database.Alone(func(db database.Database) error {
			return seal.RotateKeyFile(keyFile(c), func() error { return held(db) })
		})
	}
	err = withDatabase(ctx, c, work)
	return counts, err
}

func migrateUp(ctx context.Context, c config.Config) error {
	return withNewDatabase(ctx, c, database.Alone(func(db database.Database) error { return db.Migrate() }))
}

func migrateDown(ctx context.Context, c config.Config, steps int) error {
	return withDatabase(ctx, c, database.Alone(func(db database.Database) error { return db.MigrateDown(steps) }))
}

func schema(ctx context.Context, c config.Config) (current, newest uint, err error) {
	err = withDatabase(ctx, c, func(db database.Database) (err error) {
		current, newest, err = db.SchemaVersion()
		return err
	})
	return current, newest, err
}

// rebuildMetrics may run beside processes that serve the database, even an SQLite file: its transactions are short.
func rebuildMetrics(ctx context.Context, c config.Config, run func(context.Context, *metrics.Rebuild) error) error {
	return withDatabase(ctx, c, func(db database.Database) error {
		if err := database.Prepare(db, false); err != nil {
			return err
		}
		return run(ctx, metrics.NewRebuild(db.Store(nil), db.Now, c.Retention.Attempts))
	})
}

// withKeys may run beside a service, which looks at the keys in the database every second.
func withKeys(ctx context.Context, c config.Config, run func(context.Context, *access.Keys) error) error {
	return withDatabase(ctx, c, func(db database.Database) error {
		if err := database.Prepare(db, false); err != nil {
			return err
		}
		return run(ctx, access.NewKeys(db.Store(nil), db.Now, ids.New(db.Now, rand.Reader).New, rand.Reader))
	})
}

// withDatabase needs a database that is there. Of the commands only migrate up makes an SQLite file, like serve.
func withDatabase(ctx context.Context, c config.Config, do func(database.Database) error) error {
	if c.Database.Kind == config.SQLite {
		if err := database.SQLiteExists(c.Database.Path); err != nil {
			return err
		}
	}
	return withNewDatabase(ctx, c, do)
}

func withNewDatabase(ctx context.Context, c config.Config, do func(database.Database) error) error {
	db, err := openDatabase(ctx, c, slog.Default(), func(err error) { slog.Warn("waiting for the database", "error", err) })
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

func build() (release, commit, schema string) {
	commit = "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return version, commit, fmt.Sprintf("%d (SQLite), %d (PostgreSQL)", sqlite.NewestSchema(), postgres.NewestSchema())
}
