package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

const key = "ord_live_bench_00000000000000000000000000"

// service is a process of the real binary.
type service struct {
	kind    string // of its database
	process *exec.Cmd
	url     string
	client  *http.Client
}

// lab is what every measurement of a run shares.
type lab struct {
	dir, binary string
	postgres    *pgtest.Server // nil when only SQLite is measured
	databases   int
}

func newLab(ctx context.Context, withPostgres bool) (l *lab, err error) {
	l = &lab{}
	if l.dir, err = os.MkdirTemp("", "ordinavo-bench-"); err != nil {
		return nil, err
	}
	l.binary = filepath.Join(l.dir, "ordinavo-webhooks")
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", l.binary, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w: %s", err, text)
	}
	if withPostgres {
		if l.postgres, err = pgtest.Start(); err != nil {
			return nil, fmt.Errorf("start PostgreSQL: %w", err)
		}
	}
	return l, nil
}

func (l *lab) close() {
	if l.postgres != nil {
		l.postgres.Stop()
	}
	_ = os.RemoveAll(l.dir)
}

// fresh makes an empty database and returns its URL.
func (l *lab) fresh(ctx context.Context, kind string) (string, error) {
	l.databases++
	name := fmt.Sprintf("bench_%d", l.databases)
	if kind == "SQLite" {
		return "sqlite:" + filepath.Join(l.dir, name, "o.db"), nil
	}
	conn, err := pgx.Connect(ctx, l.postgres.URL)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return strings.Replace(l.postgres.URL, "/postgres?", "/"+name+"?", 1), nil
}

// withService runs fn with a fresh service on a fresh database.
func (l *lab) withService(ctx context.Context, kind string, fn func(*service) error) (err error) {
	url, err := l.fresh(ctx, kind)
	if err != nil {
		return fmt.Errorf("make a database: %w", err)
	}
	s := &service{kind: kind, process: exec.CommandContext(ctx, l.binary, "serve"),
		client: &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	s.process.Env = append(os.Environ(), "ORDINAVO_LISTEN=127.0.0.1:0", "ORDINAVO_DATABASE_URL="+url, "ORDINAVO_MASTER_KEY="+base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"ORDINAVO_PLATFORM_KEY="+key, "ORDINAVO_EGRESS_ALLOW=127.0.0.0/8", "ORDINAVO_RATE_LIMIT=0")
	logs, err := s.process.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return err
	}
	defer func() {
		_ = s.process.Process.Signal(syscall.SIGTERM)
		_ = s.process.Wait()
	}()
	lines := bufio.NewScanner(logs)
	for s.url == "" && lines.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			s.url = "http://" + line.Address
		}
	}
	if s.url == "" {
		return errors.New("the service did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	return fn(s)
}

func (s *service) post(ctx context.Context, path string, body any) error {
	text, ok := body.([]byte)
	if !ok {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("X-Ordinavo-Tenant", "bench")
	request.Header.Set("Content-Type", "application/json")
	answer, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("POST %s: %s: %s", path, answer.Status, said)
	}
	return err
}

// prepare makes a tenant with a directory and one subscription to the receiver.
func (s *service) prepare(ctx context.Context, to string) error {
	type object = map[string]any
	return errors.Join(
		s.post(ctx, "/v1/tenants", object{"tenantId": "bench", "name": "Bench"}),
		s.post(ctx, "/v1/directory", object{"customers": []object{{"ordinavoCustomerId": 12, "customerNumber": "RRM-001", "name": "Rhein-Ruhr Medical Supply"}},
			"externalIds": []object{{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 12, "externalId": "CUST-10042"}}}),
		s.post(ctx, "/v1/subscriptions", object{"name": "bench", "url": to, "eventTypes": []string{"visit_report.*"}, "sourceSystem": "sap", "maxInFlight": 64}),
	)
}

// used is the CPU seconds and the resident MiB of the process so far.
func (s *service) used() (cpu, rss float64) {
	dir := filepath.Join("/proc", strconv.Itoa(s.process.Process.Pid))
	stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
	fields := strings.Fields(string(stat))
	for _, i := range []int{13, 14} {
		if i < len(fields) {
			ticks, _ := strconv.ParseFloat(fields[i], 64)
			cpu += ticks / 100
		}
	}
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			rss = kib / 1024
		}
	}
	return cpu, rss
}
