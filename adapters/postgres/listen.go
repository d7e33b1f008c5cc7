package postgres

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/adapters/records"
)

// channel is the notification channel of this service within its database.
const channel = "ordinavo"

// A notification names who sent it, whether the queue changed, and the topics that were appended to.
const (
	notifySeparator = "\n"
	notifyQueue     = "queue"
	maxNotification = 7900 // bytes; PostgreSQL takes less than 8000
)

// notification is what other processes are to hear of the transaction; empty for nothing. The deliveries topic wakes nobody: its
// readers poll it.
func (tx *Tx) notification() string {
	topics := slices.DeleteFunc(slices.Clone(tx.Topics), func(topic string) bool { return topic == records.TopicDeliveries })
	if len(topics) == 0 && !tx.Queue {
		return ""
	}
	parts := []string{tx.db.name, ""}
	if tx.Queue {
		parts[1] = notifyQueue
	}
	text := strings.Join(append(parts, topics...), notifySeparator)
	if len(text) > maxNotification {
		return strings.Join([]string{tx.db.name, notifyQueue}, notifySeparator) // the topics are found by polling
	}
	return text
}

// notified wakes those who watch for what another process committed.
func (db *DB) notified(payload string) {
	parts := strings.Split(payload, notifySeparator)
	if len(parts) < 2 || parts[0] == db.name {
		return // its own watchers were woken at the commit
	}
	db.Signals.Committed(parts[2:], parts[1] == notifyQueue)
}

// Pauses between two attempts to connect the listening connection.
const (
	firstReconnect = 100 * time.Millisecond
	lastReconnect  = 5 * time.Second
)

// listen keeps one direct connection that hears what other processes commit, until the database is closed.
func (db *DB) listen() {
	wait := firstReconnect
	for db.closing.Err() == nil {
		began := time.Now()
		err := db.listenOnce(db.closing)
		if db.closing.Err() != nil {
			return
		}
		if errors.Is(err, ErrPooler) {
			db.config.Logger.LogAttrs(db.closing, slog.LevelWarn, "what other processes commit is seen by polling", slog.Any("error", err))
			return
		}
		if time.Since(began) > lastReconnect {
			wait = firstReconnect
		}
		db.config.Logger.LogAttrs(db.closing, slog.LevelWarn, "the listening connection was lost, meanwhile the database is polled",
			slog.Duration("retryIn", wait), slog.Any("error", err))
		pause(db.closing, wait)
		wait = min(2*wait, lastReconnect)
	}
}

// sessionName is the application_name by which other processes see that the process of the DB of this name is connected.
func sessionName(name string) string { return "ordinavo " + name }

// session is that name while others can see it, else nil.
func (db *DB) session() *string {
	if !db.listening.Load() {
		return nil
	}
	name := sessionName(db.name)
	return &name
}

// Gone reports whether the process whose DB has this name is seen to be no longer connected. The server ends a listening connection with
// its process. If this process has no listening connection that is seen, the other may not need to have one either.
func (db *DB) Gone(ctx context.Context, name string) bool {
	if !db.listening.Load() {
		return false
	}
	connected := true
	err := db.query(ctx, func(r pgx.Rows) error { return r.Scan(&connected) },
		`SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = $1)`, sessionName(name))
	return err == nil && !connected
}

// connectDirect makes a connection to the server itself, apart from the pool's.
func (db *DB) connectDirect(ctx context.Context) (*pgx.Conn, error) {
	config, err := db.directConfig()
	if err != nil {
		return nil, err
	}
	config.RuntimeParams[applicationName] = sessionName(db.name)
	return pgx.ConnectConfig(ctx, config)
}

func (db *DB) listenOnce(ctx context.Context) error {
	conn, err := db.connectDirect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(bounded)
	}()
	if err := direct(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	db.listening.Store(true)
	defer db.listening.Store(false)
	db.Signals.All() // what was committed while nobody listened
	for {
		heard, err := db.hear(ctx, conn)
		if err != nil {
			return err
		}
		db.notified(heard.Payload)
	}
}

// hear waits for a notification. A server that has long said nothing is asked whether it is still there; see longestAnswer.
func (db *DB) hear(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	for {
		quiet, cancel := context.WithTimeout(ctx, db.config.LongestAnswer)
		heard, err := conn.WaitForNotification(quiet)
		cancel()
		if err == nil || quiet.Err() == nil || ctx.Err() != nil {
			return heard, err
		}
		asked, cancel := context.WithTimeout(ctx, acquireTimeout)
		err = conn.Ping(asked)
		cancel()
		if err != nil {
			return nil, err
		}
	}
}

// ErrPooler says that a connection which must be the server's own leads to a PgBouncer.
var ErrPooler = errors.New("the connection leads through a PgBouncer: set ORDINAVO_DATABASE_DIRECT_URL to the server's own URL")

// direct fails with ErrPooler unless the server itself is at the other end. A pooler greets with a process ID of its own making.
// Notifications do not come through it, and a session's lock or name would be somebody else's.
func direct(ctx context.Context, conn *pgx.Conn) error {
	var pid uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		return err
	}
	if pid != conn.PgConn().PID() {
		return ErrPooler
	}
	return nil
}

// recheck makes watchers look from time to time, since notifications may be lost.
func (db *DB) recheck() {
	for pause(db.closing, db.config.Recheck) {
		db.Signals.All()
	}
}
