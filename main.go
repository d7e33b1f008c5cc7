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
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/adapters/egress"
	"github.com/ordinavo/webhooks/adapters/faults"
	"github.com/ordinavo/webhooks/adapters/features"
	"github.com/ordinavo/webhooks/adapters/ids"
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
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/ports/cli"
	"github.com/ordinavo/webhooks/ports/cli/config"
	"github.com/ordinavo/webhooks/ports/cli/demo"
	"github.com/ordinavo/webhooks/ports/messages"
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

func assemble(ctx context.Context, c config.Config, address net.Addr, db database.Database, tel *telemetry.Telemetry, log *slog.Logger) (*service, error) {
	sealer, err := newSealer(c)
	if err != nil {
		return nil, err
	}
	store := faults.Store(db.Store(sealer))
	if err := reseal.Check(ctx, store, sealer); err != nil {
		return nil, err
	}
	source := ids.New(now, rand.Reader)
	incarnation := source.New("inc_")
	if err := store.BeginIncarnation(ctx, incarnation, now()); err != nil {
		return nil, fmt.Errorf("begin an incarnation: %w", err)
	}
	gate, err := features.NewGate(ctx, features.NewProvider(store))
	if err != nil {
		return nil, err
	}
	observer := tel.Observer(now)
	own, err := egress.Own(address)
	if err != nil {
		return nil, err
	}
	sender := egress.New(egress.Config{Allow: c.Egress.Allow, Ports: portRanges(c), Own: own, Clock: now, MaxIdleConns: c.MaxInFlight})
	keys := access.NewKeys(store, now, source.New, rand.Reader)
	firstKey, refused, err := keys.FirstKey(ctx, c.PlatformKey.Reveal())
	if err != nil {
		return nil, fmt.Errorf("prepare the first platform key: %w", err)
	}
	if refused {
		log.Warn("the key in ORDINAVO_PLATFORM_KEY was revoked or has expired: it opens nothing, and keys create makes another")
	}
	subs := &subscriptions.Service{Store: store, Gate: gate, URLs: sender, Now: now, NewID: source.New, NewSecret: newSecret, DefaultSchedule: c.RetrySchedule, Quota: c.Quotas.Subscriptions}
	attempter := &dispatch.Attempter{Sender: faults.Sender(sender), Secrets: seal.NewCache(store, seal.CachedSecrets), Observer: observer, Now: now, UserAgent: "Ordinavo-Webhooks/" + version, Trouble: unsigned(log)}
	d := dispatch.New(dispatch.Config{Store: store, Disabler: subs, Observer: observer, Now: now, Jitter: mathrand.Float64, Incarnation: incarnation, MaxInFlight: c.MaxInFlight})
	subs.Mended = d.Forget
	limits := intake.Limits{EventsPerDay: c.Quotas.EventsPerDay, TenantOpen: c.Quotas.Open, Open: c.MaxOpen, FanOutLag: c.MaxFanOutLag}
	backlog := intake.NewBacklog(store, limits, now)
	in := intake.New(intake.Config{Store: store, Quotas: store, Limits: limits, Backlog: backlog, Observer: observer, Now: now, NewID: source.New})
	answers := idempotency.New(store, sealer, now, func() string { return source.New("") })
	deliveries := &queries.Deliveries{Reader: store, Tests: store}
	sweeper := sweep.New(store, now)
	bulk := &jobs.Service{Store: store, Picker: jobs.Picker{Deliveries: store, Gate: gate}, Now: now, NewID: source.New}
	worker := jobs.NewWorker(bulk, store)
	tel.Metrics().ReadReconciliation(func(ctx context.Context) (telemetry.Reconciliation, error) {
		result, err := store.CheckResult(ctx)
		return telemetry.Reconciliation(result), err
	})
	tel.Metrics().ReadQueue(func(ctx context.Context) (telemetry.Queue, error) { return queue(ctx, store, d) })
	s := &service{telemetry: tel, sender: sender, firstKey: firstKey, Process: process.Process{
		Log: log, Now: now, Intake: []loop.Loop{in.Loop()}, ShutdownTimeout: c.ShutdownTimeout,
		Watch: func(ctx context.Context) {
			db.Watch(ctx, func() { d.Wake(); sweeper.Wake(); worker.Wake() }, d.Changed)
		},
	}}
	takeover := dispatch.NewTakeover(store, store, now, incarnation)
	s.Loops = []loop.Loop{takeover.Heartbeat(), retention.New(store, retention.Ages(c.Retention), now).Loop(),
		{Name: "key-use", Step: keys.TouchStep}, {Name: "idempotency", Step: answers.PurgeStep}, reconciliation.NewChecker(store, now, reporting(log)).Loop()}
	var handover fanout.Handover
	if c.Roles.Dispatcher {
		s.Dispatcher, s.Attempter, handover = d, attempter, d
		s.Loops = append(s.Loops, d.Loop(), sweeper.Loop(), worker.Loop())
		s.Loops = append(s.Loops, subscriptions.NewNotices(store, now).Loop())
		s.Loops = append(s.Loops, takeover.Loop())
	}
	if c.Roles.Router {
		fan := fanout.New(fanout.Config{Store: fanout.Remember(store, in.Recent), Gate: gate, Handover: handover, Observer: faults.FanOut(observer), Now: now, NewID: source.New, AtOnce: faults.AtOnce()})
		s.Loops = append(s.Loops, fan.Turns().Loop(), metrics.NewProjection(store, now).Loop())
		s.Router, err = messages.NewRouter(log, db.Log(log, now), fan)
		if err != nil {
			return nil, err
		}
	}
	hub := live.New(store, store, now, live.Limits{Kept: retention.Ages(c.Retention).Shortest()})
	if c.Roles.API {
		s.Loops = append(s.Loops, hub.Loop(), backlog.Loop())
	}
	s.Server = rest.New(rest.Dependencies{
		Intake: in, Subscriptions: subs, SubscriptionList: store, Circuits: store, History: &subscriptions.History{Store: store}, Tester: &subscriptions.Tester{Service: subs, Store: store, Attempter: attempter},
		Directory: store, Tenants: &access.Tenants{Store: store, Now: now}, Keys: keys,
		Events: &queries.Events{Reader: store, Deliveries: store}, Deliveries: deliveries, Retries: &queries.Retries{Store: store, Gate: gate, Now: now}, EventRetries: &queries.EventRetries{Store: store, Now: now}, Jobs: bulk,
		Previews: &preview.Previewer{Service: subs, Store: store, Attempter: attempter}, Doctor: &preview.Doctor{Service: subs, Secrets: attempter.Secrets},
		Live: hub, DeliveryMetrics: store, CatchUp: &catchup.Service{Reader: store, Subscriptions: subs, Signer: attempter, Hub: hub, Now: now, Kept: retention.Ages(c.Retention).Shortest()},
		Reconciliation: &reconciliation.Service{Reader: store, Now: now, Kept: min(c.Retention.Events, c.Retention.Attempts)},
		Idempotency:    answers, Ready: ready(in, store), Metrics: tel.Handler(), Tracer: tel.Tracer(), TraceParent: telemetry.TraceParent,
		Log: log, Now: now, RateLimit: c.RateLimit, TenantRateLimit: c.Quotas.RateLimit, Version: version, ProbesOnly: !c.Roles.API,
	})
	return s, nil
}

// ready says why the process cannot work: the database does not answer, or takes no events.
func ready(in *intake.Intake, store database.Store) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := store.Ping(ctx); err != nil {
			return err
		}
		return in.Ready()
	}
}

// reporting logs what does not balance.
func reporting(log *slog.Logger) func(context.Context, reconciliation.Checked, reconciliation.Missing) {
	return func(ctx context.Context, hour reconciliation.Checked, missing reconciliation.Missing) {
		log.ErrorContext(ctx, "accepted events are not the sum of their dispositions", "tenantId", hour.Tenant, "hour", hour.Begins, "missing", missing.String())
	}
}

// unsigned logs why requests could not be signed.
func unsigned(log *slog.Logger) func(context.Context, dispatch.Leased, error) {
	return func(ctx context.Context, l dispatch.Leased, err error) {
		log.ErrorContext(ctx, "a request could not be signed", "tenantId", l.Delivery.Tenant, "deliveryId", l.Delivery.ID, "error", err)
	}
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

func newSecret() secret.Secret {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: the process dies first
	return secret.FromBytes(random)
}

func portRanges(c config.Config) (ports egress.PortRanges) {
	for _, r := range c.Egress.Ports {
		ports = append(ports, egress.PortRange(r))
	}
	return ports
}

// queue reads what the gauges show.
func queue(ctx context.Context, store database.Store, d *dispatch.Dispatcher) (telemetry.Queue, error) {
	at := now()
	depth, oldestDue, err := store.QueueDepth(ctx, at)
	if err != nil {
		return telemetry.Queue{}, err
	}
	aside, err := store.CountSetAside(ctx)
	if err != nil {
		return telemetry.Queue{}, err
	}
	unrouted, err := store.OldestUnrouted(ctx)
	if err != nil {
		return telemetry.Queue{}, err
	}
	waiting, err := store.WaitingFrom(ctx)
	for _, since := range waiting {
		if unrouted.IsZero() || since.Before(unrouted) {
			unrouted = since
		}
	}
	return telemetry.Queue{Depth: depth, OldestDue: age(oldestDue, at), OldestUnrouted: age(unrouted, at), Deferring: len(waiting), SetAside: aside, Circuits: d.Circuits()}, err
}

// age is 0 for nothing.
func age(since, at time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return at.Sub(since)
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
