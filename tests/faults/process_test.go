package faults_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const platformKey = "ord_live_faults_platform_00000000000000000000"

// patience bounds every wait for something that must happen; it is no measure of how fast it should.
const patience = 90 * time.Second

// process is one of the service's.
type process struct {
	url     string
	command *exec.Cmd
	log     *logBook
	ended   chan struct{}
}

// retries is the retry schedule of all subscriptions that are checked.
var retries = []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, time.Second}

func schedule(delays []time.Duration) string {
	var text []string
	for _, d := range delays {
		text = append(text, d.String())
	}
	return strings.Join(text, ",")
}

// environment is what every process gets; more overrides it.
func environment(d database, more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "ORDINAVO_") || strings.HasPrefix(v, "OTEL_") || strings.HasPrefix(v, "FAULTS_")
	})
	env = append(env, "ORDINAVO_LISTEN=127.0.0.1:0", "ORDINAVO_DATABASE_URL="+d.url, "ORDINAVO_PLATFORM_KEY="+platformKey,
		"ORDINAVO_MASTER_KEY="+base64.StdEncoding.EncodeToString(make([]byte, 32)), "ORDINAVO_EGRESS_ALLOW=127.0.0.0/8",
		"ORDINAVO_SHUTDOWN_TIMEOUT=80s", "ORDINAVO_RETRY_SCHEDULE="+schedule(retries), "ORDINAVO_RATE_LIMIT=0", "ORDINAVO_TENANT_RATE_LIMIT=0")
	if d.direct != "" {
		env = append(env, "ORDINAVO_DATABASE_DIRECT_URL="+d.direct)
	}
	return append(env, more...)
}

// launch starts a process of a binary and waits until it listens, or has ended.
func launch(binary string, env []string) (*process, error) {
	p := &process{command: exec.Command(binary, "serve"), log: &logBook{}, ended: make(chan struct{})}
	p.command.Env = env
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := p.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	go func() {
		p.log.follow(stderr)
		_ = p.command.Wait()
		close(p.ended)
	}()
	err = poll(patience, func() bool { return p.log.address() != "" || p.hasEnded() })
	if err != nil || p.log.address() == "" {
		p.kill()
		return p, fmt.Errorf("the service did not listen: %w\n%s", errors.Join(err, errors.New(p.command.ProcessState.String())), p.log)
	}
	p.url = "http://" + p.log.address()
	return p, nil
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

func (p *process) signal(sig syscall.Signal) { _ = p.command.Process.Signal(sig) }

// logBook is what a process said.
type logBook struct {
	mu    sync.Mutex
	lines []string
	heard string
}

func (b *logBook) follow(from io.Reader) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		b.add(lines.Text())
	}
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
	for _, sign := range []string{"WARNING: DATA RACE", "\npanic:", "fatal error:"} {
		if b.says(sign) {
			return fmt.Errorf("a process's log has %q:\n%s", sign, b)
		}
	}
	return nil
}

// poll asks ok again and again until it says yes. To ask takes a fifth of the time at most, so that what is waited for has the rest.
func poll(within time.Duration, ok func() bool) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		asked := time.Now()
		if ok() {
			return nil
		}
		select {
		case <-time.After(min(max(5*time.Millisecond, 4*time.Since(asked)), 250*time.Millisecond)):
		case <-deadline.C:
			return fmt.Errorf("not within %s", within)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := poll(patience, ok); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// during waits until a time has passed: the length of a fault, never a guess at how long something takes.
func during(d time.Duration) { <-time.After(d) }
