package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const platformKey = "ord_live_e2e_platform_000000000000000000000000"

// patience bounds every wait for something that must happen; it is no measure of how fast it should.
const patience = 90 * time.Second

// service is one process of the binary that serves a data directory.
type service struct {
	url     string
	dir     string
	command *exec.Cmd
	stderr  io.Closer // what is read of it
	log     *logBook
	ended   chan struct{}
	waitErr error // set when ended is closed
}

// environment is what every process of the tests gets; more overrides it.
func environment(dir string, more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ORDINAVO_") || strings.HasPrefix(v, "OTEL_")
	})
	env = append(env,
		"GORACE=atexit_sleep_ms=0", // else each process stays a second longer
		"ORDINAVO_LISTEN=127.0.0.1:0",
		"ORDINAVO_DATABASE_URL=sqlite:"+databasePath(dir),
		"ORDINAVO_PLATFORM_KEY="+platformKey,
		"ORDINAVO_EGRESS_ALLOW=127.0.0.0/8",
		"ORDINAVO_RETRY_SCHEDULE=100ms,100ms,100ms",
		"ORDINAVO_RATE_LIMIT=0",
		"ORDINAVO_TENANT_RATE_LIMIT=0",
	)
	return append(env, more...)
}

func databasePath(dir string) string { return filepath.Join(dir, "ordinavo.db") }

// begin starts the service and follows what it logs.
func begin(dir string, more ...string) (*service, error) {
	s := &service{dir: dir, command: exec.Command(binary, "serve"), log: &logBook{}, ended: make(chan struct{})}
	s.command.Env = environment(dir, more...)
	stderr, err := s.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	s.stderr = stderr
	go s.follow(stderr)
	return s, nil
}

// launch starts the service and waits until it listens.
func launch(dir string, more ...string) (*service, error) {
	s, err := begin(dir, more...)
	if err != nil {
		return nil, err
	}
	err = poll(patience, func() bool { return s.log.address() != "" || s.hasEnded() })
	if err != nil || s.log.address() == "" {
		_ = s.command.Process.Kill()
		<-s.ended
		return nil, fmt.Errorf("the service did not listen: %w\n%s", errors.Join(err, s.waitErr), s.log)
	}
	s.url = "http://" + s.log.address()
	return s, nil
}

// start is launch for a test: the process ends with the test, and its log must not tell of races or panics.
func start(t *testing.T, dir string, more ...string) *service {
	t.Helper()
	s, err := launch(dir, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if err := s.log.trouble(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the service's log:\n%s", s.log)
		}
	})
	return s
}

func (s *service) follow(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		s.log.add(lines.Text())
	}
	s.waitErr = s.command.Wait()
	close(s.ended)
}

func (s *service) hasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// kill ends the process as a crash would.
func (s *service) kill() {
	_ = s.command.Process.Kill()
	<-s.ended
}

func (s *service) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.command.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// exitCode waits for the process's end.
func (s *service) exitCode(t *testing.T) int {
	t.Helper()
	eventually(t, "the process ends", s.hasEnded)
	return s.command.ProcessState.ExitCode()
}

// stop drains the process, and says what was not as it should be.
func (s *service) stop() error {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	if err := poll(2*patience, s.hasEnded); err != nil {
		s.kill()
		return fmt.Errorf("it did not drain: %w\n%s", err, s.log)
	}
	return errors.Join(s.waitErr, s.log.trouble())
}

// logBook is what the process said.
type logBook struct {
	mu    sync.Mutex
	lines []string
	heard string
}

func (b *logBook) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	var entry struct{ Msg, Address string }
	if b.heard == "" && json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
		b.heard = entry.Address
	}
}

// Write is for a command's stderr.
func (b *logBook) Write(text []byte) (int, error) {
	b.add(strings.TrimSuffix(string(text), "\n"))
	return len(text), nil
}

func (b *logBook) address() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heard
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.lines, "\n")
}

func (b *logBook) says(text string) bool { return strings.Contains(b.String(), text) }

// trouble is what no process may ever say.
func (b *logBook) trouble() error {
	for _, sign := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
		if b.says(sign) {
			return fmt.Errorf("the service's log has %q:\n%s", sign, b)
		}
	}
	return nil
}

// run runs a command of the binary to its end.
func run(t *testing.T, env []string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, args...)
	var out, errs strings.Builder
	command.Env, command.Stdin, command.Stdout, command.Stderr = env, strings.NewReader(stdin), &out, &errs
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), errs.String()
}
