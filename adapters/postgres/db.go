// Package postgres keeps everything in one PostgreSQL database that any number of processes share.
//
// It needs nothing of a connection beyond the current transaction: no settings, no session locks, and prepared statements only
// where a connection leads to the server itself. So it works behind PgBouncer in transaction mode. One more connection, to the
// server itself, listens for what other processes commit; without it, commits are found by polling.
//
// Position order of the log is commit order: see Tx.flush.
package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/share"
)

// Config says how to reach a database. Only URL is needed.
type Config struct {
	// URL is that of the server, or of a PgBouncer in front of it.
	URL string
	// DirectURL is the server's own when URL is a PgBouncer's; LISTEN does not work through a PgBouncer.
	DirectURL string
	// MaxConns bounds this process's connections, not counting the listening one (default: pool_max_conns of the URL, or 16; at least 4).
	// Lookups and lists for the API's users take at most half of them.
	MaxConns int
	// Recheck is how often watchers look without having been notified (default 1 s).
	Recheck time.Duration
	// LongestAnswer bounds the wait for what a round trip answers (default 5 min); see longestAnswer.
	LongestAnswer time.Duration
	// LongestCommit bounds that wait for a commit (default 10 s), unless the server waits for a standby; see Tx.patiently.
	LongestCommit time.Duration
	// Now is this machine's clock (default time.Now); see DB.Now.
	Now    func() time.Time
	Logger *slog.Logger
	// Starting ends when the process is told to stop: then nobody waits any longer for what the start does to the schema (default never).
	Starting context.Context
}

func (c Config) withDefaults() Config {
	if c.DirectURL == "" {
		c.DirectURL = c.URL
	}
	if c.Recheck == 0 {
		c.Recheck = time.Second
	}
	if c.LongestAnswer == 0 {
		c.LongestAnswer = longestAnswer
	}
	if c.LongestCommit == 0 {
		c.LongestCommit = rollbackTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Starting == nil {
		c.Starting = context.Background()
	}
	return c
}

// DB is a database as this process uses it. All methods are safe for concurrent use.
type DB struct {
	config   Config
	pool     *pgxpool.Pool
	places   *places
	looking  *share.Slots // for lookups for users that run at once
	changing *share.Slots // for transactions for users that run at once
	name     string       // tells this process's notifications from those of others
	wakeup.Signals
	vacuums vacuums
	growth  growth

	clock     clock
	listening atomic.Bool // the listening connection is up
	waited    atomic.Bool // the server was away when this process began

	closing  context.Context // ends with Close
	starting context.Context // ends with it or with Config.Starting
	cancel   context.CancelFunc
	running  sync.WaitGroup
	close    func()
}

// ErrClosed is the answer after Close.
var ErrClosed = errors.New("the database is closed")

// applicationName is the parameter by which sessions are known in pg_stat_activity.
const applicationName = "application_name"

// acquireTimeout bounds the wait for a free connection.
const acquireTimeout = 5 * time.Second

// Open prepares the connections and begins to listen. It does not connect, nor migrate; see Await.
func Open(config Config) (*DB, error) {
	config = config.withDefaults()
	parsed, err := parseURL(config.URL)
	if err != nil {
		return nil, err
	}
	if config.MaxConns == 0 {
		if config.MaxConns, err = connsOf(config.URL, parsed); err != nil {
			return nil, err
		}
	}
	if config.MaxConns < fewestConns || config.Recheck < 0 {
		return nil, fmt.Errorf("a database has at least %d connections, and no negative recheck", fewestConns)
	}
	reachForPrimary(parsed.ConnConfig)
	speakPlainly(parsed.ConnConfig)
	parsed.ConnConfig.RuntimeParams[applicationName] = cmp.Or(parsed.ConnConfig.RuntimeParams[applicationName], "ordinavo") // see cancelWaiting
	parsed.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	parsed.ConnConfig.StatementCacheCapacity = 0
	db := &DB{config: config, looking: share.NewSlots(config.MaxConns / 2), changing: share.NewSlots(config.MaxConns / 4), name: rand.Text()}
	parsed.BeforeConnect, parsed.PrepareConn = prepareToConnect(config.URL), db.renewPlans
	parsed.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		encodeColumns(conn.TypeMap())
		if set := conn.Config().RuntimeParams[idleTimeout]; set != "" {
			conn.PgConn().CustomData()[idleTimeout] = set
		}
		return noteEarly(ctx, conn)
	}
	parsed.MaxConns = int32(config.MaxConns)
	if db.pool, err = pgxpool.NewWithConfig(context.Background(), parsed); err != nil {
		return nil, fmt.Errorf("prepare the connections: %w", err)
	}
	db.places = newPlaces(config.MaxConns, func() bool { return db.pool.Stat().ConstructingConns() > 0 })
	db.clock.set(config.Now(), time.Now())
	db.closing, db.cancel = context.WithCancel(context.Background())
	starting, stop := context.WithCancel(config.Starting)
	db.starting = starting
	context.AfterFunc(db.closing, stop)
	db.close = sync.OnceFunc(db.shut)
	db.running.Go(db.listen)
	db.running.Go(db.recheck)
	return db, nil
}

// Close stops the background work, waits for the connections to be released and closes them. A second call does nothing.
func (db *DB) Close() error {
	db.close()
	return nil
}

func (db *DB) shut() {
	db.cancel()
	db.running.Wait()
	db.pool.Close()
}

// Await returns when the database answers, and has said what time it is there. It reports each failure, and gives up on errors that waiting cannot fix.
func (db *DB) Await(ctx context.Context, report func(error)) error {
	for {
		err := db.ping(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || misconfigured(err) {
			return fmt.Errorf("connect to the database: %w", err)
		}
		db.waited.Store(true)
		report(fmt.Errorf("the database does not answer, trying again: %w", err))
		if !pause(ctx, time.Second) {
			return fmt.Errorf("connect to the database: %w", err)
		}
	}
}

// Waited reports whether Await had to wait.
func (db *DB) Waited() bool { return db.waited.Load() }

func (db *DB) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	return db.learnClock(ctx)
}

// pause is false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Connections is how the pool is used; the listening connection is not part of it.
func (db *DB) Connections() metrics.Connections {
	pool := db.pool.Stat()
	return metrics.Connections{Used: int(pool.AcquiredConns()), Idle: int(pool.IdleConns()), Max: int(pool.MaxConns()), Waiting: db.places.queue(), Polling: !db.listening.Load()}
}

// acquire takes a connection from the pool.
func (db *DB) acquire(ctx context.Context) (*lent, error) {
	bounded, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := db.take(bounded)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, puddle.ErrClosedPool):
		return nil, ErrClosed
	case ctx.Err() != nil:
		return nil, fmt.Errorf("wait for a connection: %w", context.Cause(ctx))
	case bounded.Err() != nil:
		return nil, unavailable(fmt.Errorf("wait for a connection: %w", err))
	}
	return nil, translate(ctx, err)
}

func (db *DB) take(ctx context.Context) (*lent, error) {
	if err := db.places.enter(ctx); err != nil {
		return nil, err
	}
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		db.places.holdBack()
		return nil, err
	}
	return &lent{conn, db.places}, nil
}

// reader runs queries: in a transaction, or each by itself.
type reader interface {
	// query calls each for every row.
	query(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error
	// send runs all queries of a batch in one round trip.
	send(ctx context.Context, b *pgx.Batch) error
}

// query asks again when it collided with others before the first row came: a statement gets its locks, or loses them, at its beginning.
func (db *DB) query(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error {
	began := time.Now()
	for repeats := 0; ; repeats++ {
		rows := 0
		err := db.queryOnce(ctx, func(r pgx.Rows) error { rows++; return each(r) }, sql, args)
		if err == nil || rows > 0 {
			return err
		}
		if err = again(ctx, err, repeats, time.Since(began)); err != nil {
			return err
		}
	}
}

func (db *DB) queryOnce(ctx context.Context, each func(pgx.Rows) error, sql string, args []any) error {
	conn, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	bounded, cancel := context.WithTimeout(ctx, db.config.LongestAnswer)
	defer cancel()
	return translate(ctx, readRows(bounded, conn.Conn(), each, sql, args))
}

func (db *DB) send(ctx context.Context, b *pgx.Batch) error {
	conn, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	bounded, cancel := context.WithTimeout(ctx, db.config.LongestAnswer)
	defer cancel()
	return translate(ctx, conn.SendBatch(bounded, b).Close())
}

func readRows(ctx context.Context, conn *pgx.Conn, each func(pgx.Rows) error, sql string, args []any) error {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	return rowByRow(each)(rows)
}

// from reads in the transaction that the context carries, else from the last committed state.
func (db *DB) from(ctx context.Context) reader {
	if tx, ok := ctx.Value(txKey{}).(*Tx); ok {
		return tx
	}
	return db
}

// forUsers is from, for what the API's users look up and list, and what is reconciled. However slow or numerous those reads get, connections
// are left for accepting events, delivering, recording outcomes and this process's heartbeat; and however numerous a tenant's are, another's have
// their turn.
func (db *DB) forUsers(ctx context.Context) reader {
	if tx, ok := ctx.Value(txKey{}).(*Tx); ok {
		return tx
	}
	return looker{db}
}

// looker reads as the DB does, once it has one of the slots.
type looker struct{ *DB }

func (l looker) query(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error {
	leave, err := l.enter(ctx, l.looking, "look something up")
	if err != nil {
		return err
	}
	defer leave()
	return l.DB.query(ctx, each, sql, args...)
}

func (l looker) send(ctx context.Context, b *pgx.Batch) error {
	leave, err := l.enter(ctx, l.looking, "look something up")
	if err != nil {
		return err
	}
	defer leave()
	return l.DB.send(ctx, b)
}

// enter waits for a slot as long as for a connection.
func (db *DB) enter(ctx context.Context, slots *share.Slots, to string) (leave func(), err error) {
	bounded, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	leave, err = slots.Enter(bounded)
	if err != nil {
		err = fmt.Errorf("wait to %s: %w", to, err)
	}
	if err != nil && ctx.Err() == nil {
		err = unavailable(err)
	}
	return leave, err
}

// Query reads rows, in the transaction that the context carries if there is one.
func (db *DB) Query(ctx context.Context, each func(pgx.Rows) error, sql string, args ...any) error {
	return db.from(ctx).query(ctx, each, sql, args...)
}

// Name tells this process's use of the database from that of others.
func (db *DB) Name() string { return db.name }
