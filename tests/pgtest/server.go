package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL in a temporary directory.
type Server struct {
	URL  string // of its administrative database
	Port int

	dir        string
	binaries   string
	credential *syscall.Credential
	postgres   *exec.Cmd
	exited     chan struct{}
	leash      io.Closer
}

// Start makes and starts a server on a free port of the loopback interface, with fsync on unless a setting
// (like "fsync=off") says otherwise. It stops with Stop, or with this process.
func Start(settings ...string) (*Server, error) {
	binaries, err := findBinaries()
	if err != nil {
		return nil, err
	}
	s := &Server{binaries: binaries}
	if s.credential, err = unprivileged(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "ordinavo-pg-"); err != nil {
		return nil, err
	}
	if err := s.start(settings); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

func (s *Server) start(settings []string) error {
	if s.credential != nil {
		if err := os.Chown(s.dir, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			return err
		}
	}
	initdb := s.command("initdb", "--pgdata", s.data(), "--username", "ordinavo", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Port = port
	s.URL = fmt.Sprintf("postgres://ordinavo@127.0.0.1:%d/postgres?sslmode=disable", port)
	if err := s.hold(); err != nil {
		return err
	}
	if err := s.Resume(settings...); err != nil {
		return errors.Join(err, s.leash.Close())
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command runs as somebody whom PostgreSQL accepts, in a directory that he may enter.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.binaries, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.credential}
	return cmd
}

// hold starts a watchdog that reads from a pipe of this process. Its end, by whatever cause, ends
// the server too and removes the directory.
func (s *Server) hold() error {
	watchdog := s.command("pg_ctl")
	watchdog.Path = "/bin/sh"
	watchdog.Args = []string{"sh", "-c", `cat >/dev/null; "$0" stop --pgdata "$1/data" --mode immediate --silent; cd /; rm -rf "$1"`,
		filepath.Join(s.binaries, "pg_ctl"), s.dir}
	leash, err := watchdog.StdinPipe()
	if err != nil {
		return err
	}
	s.leash = leash
	if err := watchdog.Start(); err != nil {
		return fmt.Errorf("start the watchdog: %w", err)
	}
	go func() { _ = watchdog.Wait() }()
	return nil
}

// Resume starts the server again after Kill or Halt, with the same data and port.
func (s *Server) Resume(settings ...string) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.Port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.dir, "-c", "max_connections=300"}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.postgres = s.command("postgres", args...)
	s.postgres.Stdout, s.postgres.Stderr = log, log
	if err := s.postgres.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	exited, cmd := make(chan struct{}), s.postgres
	s.exited = exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	return s.await()
}

// await polls until the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("postgres did not start:\n%s", log)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// CreateOn makes a database whose tables are in a directory, which it makes, and returns the database's URL.
func (s *Server) CreateOn(dir string) (url string, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	if s.credential != nil {
		if err := os.Chown(dir, int(s.credential.Uid), int(s.credential.Gid)); err != nil {
			return "", err
		}
	}
	name := randomName("elsewhere")
	if err := execute(s.URL, "CREATE TABLESPACE "+name+" LOCATION '"+dir+"'"); err != nil {
		return "", err
	}
	return within(s.URL, name), execute(s.URL, "CREATE DATABASE "+name+" TEMPLATE template0 TABLESPACE "+name)
}

// Guard has the server ask who they are of those whom the lines concern, which are pg_hba.conf's, and starts it again.
func (s *Server) Guard(lines ...string) error {
	file := filepath.Join(s.data(), "pg_hba.conf")
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, slices.Concat([]byte(strings.Join(lines, "\n")+"\n"), before), 0o600); err != nil {
		return err
	}
	s.Halt()
	return s.Resume()
}

// Kill ends the server as a crash does.
func (s *Server) Kill() { s.end(syscall.SIGQUIT) }

// Halt ends the server after it has cut its connections.
func (s *Server) Halt() { s.end(syscall.SIGINT) }

// Pause stops the server's processes in their tracks, as a machine that hangs does; Continue lets them go on.
func (s *Server) Pause() { s.signalAll(syscall.SIGSTOP) }

// Continue ends a Pause.
func (s *Server) Continue() { s.signalAll(syscall.SIGCONT) }

// signalAll reaches the backends, too: each is the leader of a session of its own.
func (s *Server) signalAll(how syscall.Signal) {
	pids := []int{s.postgres.Process.Pid}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pids[0], pids[0]))
	for _, field := range strings.Fields(string(children)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, how)
	}
}

func (s *Server) end(how syscall.Signal) {
	_ = s.postgres.Process.Signal(how)
	<-s.exited
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() error {
	s.Kill()
	return s.leash.Close()
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// findBinaries looks where Debian keeps them, newest version first, then on PATH.
func findBinaries() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	if onPath, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(onPath); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, dir := range dirs {
		if hasAll(dir, "initdb", "postgres", "pg_ctl") {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: no initdb, postgres and pg_ctl in /usr/lib/postgresql/*/bin or on PATH: "+
		"install Debian's package postgresql, or set %s to the URL of a server", ErrMissing, EnvURL)
}

func version(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

func hasAll(dir string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err != nil
	})
}

// unprivileged is whom to run the server as: PostgreSQL refuses root. It is nil for everybody else.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("account %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("root may not run PostgreSQL, and there is no account postgres or nobody")
}
