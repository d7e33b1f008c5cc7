package pgtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bouncer is a pgbouncer in transaction mode, with fewer connections to the server (three for a database) than a
// service has to it.
type Bouncer struct{ host string }

// StartBouncer starts one before the server at the URL; it ends with the test.
func StartBouncer(t testing.TB, server string) Bouncer {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		if binary = "/usr/sbin/pgbouncer"; !exists(binary) {
			Check(t, fmt.Errorf("%w, or no pgbouncer: install Debian's package pgbouncer", ErrMissing))
		}
	}
	at, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, configureBouncer(t, at, port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: nobody(t)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	b := Bouncer{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	for end := time.Now().Add(adminTimeout); !answers(b.URL(server)); {
		if time.Now().After(end) {
			t.Fatal("pgbouncer does not answer")
		}
	}
	return b
}

func configureBouncer(t testing.TB, server *url.URL, port int) (file string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ordinavo-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
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
	file = filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// URL leads through the bouncer to the database that the server's own URL names.
func (b Bouncer) URL(direct string) string {
	u, err := url.Parse(direct)
	if err != nil {
		return direct // it was connected to, so this cannot be
	}
	u.Host = b.host
	return u.String()
}

func answers(database string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return false
	}
	return conn.Close(ctx) == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// nobody is whom pgbouncer runs as: it refuses root.
func nobody(t testing.TB) *syscall.Credential {
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
