package demo

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
	"strings"
	"sync"
	"time"
)

// platformKey is valid for the demo's own service alone.
const platformKey = "ord_live_demo_0000000000000000000000000000"

// service is a process of this binary that serves.
type service struct {
	process *exec.Cmd
	url     string
	logs    *tail
	ended   chan struct{}
}

func startService(ctx context.Context, dir, collector string) (*service, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this binary: %w", err)
	}
	s := &service{process: exec.CommandContext(ctx, binary, "serve"), logs: &tail{}, ended: make(chan struct{})}
	s.process.Env = append(withoutSettings(os.Environ()),
		"ORDINAVO_LISTEN=127.0.0.1:0",
		"ORDINAVO_DATABASE_URL=sqlite:"+filepath.Join(dir, "ordinavo.db"),
		"ORDINAVO_PLATFORM_KEY="+platformKey,
		"ORDINAVO_EGRESS_ALLOW=127.0.0.0/8",
		"ORDINAVO_RETRY_SCHEDULE=150ms,300ms",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+collector,
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_METRICS_EXPORTER=none",
		"OTEL_BSP_SCHEDULE_DELAY=100",
	)
	logs, err := s.process.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	address := make(chan string, 1)
	go s.follow(logs, address)
	select {
	case s.url = <-address:
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("the service ended at once: %s", s.logs)
	case <-time.After(arriveWithin):
		s.kill()
		return nil, fmt.Errorf("the service did not say where it listens: %s", s.logs)
	}
}

// withoutSettings drops the caller's settings, so that the service does not get them.
func withoutSettings(environ []string) (kept []string) {
	for _, variable := range environ {
		if !strings.HasPrefix(variable, "ORDINAVO_") && !strings.HasPrefix(variable, "OTEL_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// follow reads the log until the process ends, and reports where it listens.
func (s *service) follow(logs io.Reader, address chan<- string) {
	defer close(s.ended)
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.logs.add(lines.Text())
		var entry struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "listening" {
			address <- "http://" + entry.Address
		}
	}
	_ = s.process.Wait()
}

// kill ends the process as a crash would: with SIGKILL, nothing drained.
func (s *service) kill() {
	if err := s.process.Process.Kill(); err == nil || errors.Is(err, os.ErrProcessDone) {
		<-s.ended
	}
}

// tail keeps the end of the log, for when something goes wrong.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > 20 {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
