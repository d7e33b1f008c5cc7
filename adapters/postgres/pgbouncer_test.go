package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/storetest"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestStoreBehindPgBouncer runs the contract through a pgbouncer in transaction mode with fewer connections to the
// server than the service has to it, so that each transaction has another one.
func TestStoreBehindPgBouncer(t *testing.T) {
	bouncer := startBouncer(t)
	for _, name := range []string{
		"intake/events come back as they were appended", "intake/a rollback leaves nothing", "schedule/a plan is stored whole",
		"lease/brings all that an attempt takes", "lease/two lessees never share one", "save/from open to open to closed to open again",
		"deliveries/every filter, alone and with others", "directory/the same IDs in two tenants and two source systems",
		"subscriptions/the stored state is the fold of the stream after every change", "idempotency/of many at once, one gets the key",
		"failures/cancelled in the middle of a transaction", "failures/reads that are cancelled do not panic",
	} {
		t.Run(name, func(t *testing.T) {
			direct := migrated[8].Copy(t)
			db := openURL(t, postgres.Config{URL: bouncer(direct), DirectURL: direct})
			for _, found := range storetest.Probe(t.Context(), name, storetest.Database{Store: postgres.NewStore(db, tagging{}), Close: db.Close}) {
				t.Error(found)
			}
		})
	}
}

// TestBehindPgBouncerAlone has no URL of the server itself: what a session would be for is left alone, and it says so.
func TestBehindPgBouncerAlone(t *testing.T) {
	direct := migrated[1].Copy(t)
	bouncer := startBouncer(t)
	var log syncedBuffer
	db := openURL(t, postgres.Config{URL: bouncer(direct), Recheck: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := db.Migrate(); err != nil {
		t.Errorf("an up-to-date schema: %v", err)
	}
	for end := time.Now().Add(patience); !strings.Contains(log.String(), "ORDINAVO_DATABASE_DIRECT_URL"); {
		if time.Now().After(end) {
			t.Fatalf("it does not say that it polls: %s", log.String())
		}
	}
	store := postgres.NewStore(db, tagging{})
	if err := store.BeginIncarnation(t.Context(), "inc_1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, `SELECT count(*) FROM incarnations WHERE session IS NOT NULL`); n != 0 {
		t.Error("others would take this process for dead: its session is not to be seen behind PgBouncer")
	}
	watch := db.WatchTopic("t")
	defer watch.Stop()
	<-watch.C // by looking
	empty := openURL(t, postgres.Config{URL: bouncer(pgtest.Empty(t))})
	if err := empty.Migrate(); !errors.Is(err, postgres.ErrPooler) {
		t.Errorf("a schema that is to be migrated: %v", err)
	}
	if n := strings.Count(log.String(), "ORDINAVO_DATABASE_DIRECT_URL"); n != 1 {
		t.Errorf("it says it %d times", n)
	}
}

// syncedBuffer is a log to look into while it is written.
type syncedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *syncedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestManyThroughFewConnections has transactions of one kind of statement meet those of another on the same connections.
func TestManyThroughFewConnections(t *testing.T) {
	direct := migrated[1].Copy(t)
	db := openURL(t, postgres.Config{URL: startBouncer(t)(direct), DirectURL: direct})
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := range 50 {
				err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
					if _, err := tx.Exec(ctx, fmt.Sprintf(`SELECT $1::int + %d`, (w+i)%7), i); err != nil {
						return err
					}
					return tx.Publish(ctx, []postgres.Message{message(w, i)})
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if n := count(t, db, `SELECT count(*) FROM records`); n != 400 {
		t.Errorf("%d records, want 400", n)
	}
}

// startBouncer starts a pgbouncer before the server, and returns the URL that leads through it to that of a database.
func startBouncer(t *testing.T) func(direct string) string {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		if binary = "/usr/sbin/pgbouncer"; !exists(binary) {
			pgtest.Check(t, fmt.Errorf("%w, or no pgbouncer: install Debian's package pgbouncer", pgtest.ErrMissing))
		}
	}
	server, err := url.Parse(migrated[1].Shared(t))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ordinavo-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := freePort(t)
	config := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
`, server.Hostname(), server.Port(), server.User.Username(), port)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: nobody(t)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	through := *server
	through.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	db := openURL(t, postgres.Config{URL: through.String()})
	if err := db.Await(t.Context(), func(error) {}); err != nil {
		t.Fatal(err)
	}
	return func(direct string) string {
		to, err := url.Parse(direct)
		if err != nil {
			t.Fatal(err)
		}
		to.Host = through.Host
		return to.String()
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// nobody is whom pgbouncer runs as: it refuses root.
func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
