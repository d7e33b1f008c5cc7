package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// cluster is the processes of the real binary on one database.
type cluster struct {
	setup
	lab       *lab
	database  database
	processes []*process
	turn      atomic.Int64
}

// process is one of them.
type process struct {
	command *exec.Cmd
	client  *client
	pprof   string // its address for profiles
	read    sync.WaitGroup
	mu      sync.Mutex
	last    []string // of its log
}

// with runs fn with fresh processes on a fresh database.
func (b *bench) with(ctx context.Context, s setup, fn func(*cluster) error) (err error) {
	c := &cluster{setup: s, lab: b.lab}
	if c.database, err = b.lab.fresh(ctx, s.kind); err != nil {
		return err
	}
	defer c.database.drop()
	defer c.stop()
	for range s.processes {
		p, err := c.start(ctx)
		if err != nil {
			return err
		}
		c.processes = append(c.processes, p)
	}
	if err := fn(c); err != nil {
		return fmt.Errorf("%w\n    the service's last words: %s", err, strings.Join(c.lastWords(), "\n    "))
	}
	return nil
}

// start starts one process; it is not yet one of the cluster's.
func (c *cluster) start(ctx context.Context) (*process, error) {
	p := &process{command: exec.CommandContext(ctx, c.lab.binary, "serve")}
	p.command.Env = append(os.Environ(), "ORDINAVO_LISTEN=127.0.0.1:0", "ORDINAVO_DATABASE_URL="+c.database.url,
		"ORDINAVO_MASTER_KEY="+base64.StdEncoding.EncodeToString(make([]byte, 32)), "ORDINAVO_PLATFORM_KEY="+platformKey,
		"ORDINAVO_EGRESS_ALLOW=127.0.0.0/8", "ORDINAVO_RATE_LIMIT=0", "ORDINAVO_TENANT_RATE_LIMIT=0", "ORDINAVO_TENANT_SUBSCRIPTIONS=10000", "ORDINAVO_TENANT_MAX_OPEN=0", "PPROF_LISTEN=127.0.0.1:0")
	logs, err := p.command.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for p.client == nil && lines.Scan() {
		p.heard(lines.Text())
	}
	p.read.Go(func() {
		for lines.Scan() {
			p.heard(lines.Text())
		}
		_, _ = io.Copy(io.Discard, logs)
	})
	if p.client == nil {
		p.end(syscall.SIGKILL)
		return nil, fmt.Errorf("the service did not start: %w", errors.New(strings.Join(p.last, "\n")))
	}
	return p, nil
}

// heard notes a line of the log: the address, and what might explain a failure.
func (p *process) heard(text string) {
	var line struct{ Msg, Address, Level string }
	if json.Unmarshal([]byte(text), &line) == nil {
		switch {
		case line.Msg == "listening":
			p.client = &client{address: line.Address}
		case line.Msg == "profiles":
			p.pprof = line.Address
		case line.Level == "INFO":
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = append(p.last[max(0, len(p.last)-4):], text)
}

func (c *cluster) lastWords() (lines []string) {
	for _, p := range c.processes {
		p.mu.Lock()
		lines = append(lines, p.last...)
		p.mu.Unlock()
	}
	return lines
}

func (p *process) end(how syscall.Signal) {
	_ = p.command.Process.Signal(how)
	p.read.Wait()
	_ = p.command.Wait()
	if p.client != nil {
		p.client.close()
	}
}

func (c *cluster) stop() {
	for _, p := range c.processes {
		p.client.close()
		p.end(syscall.SIGTERM)
	}
	c.processes = nil
}

// parallel runs fn so many times at once, and returns the first error.
func parallel(n int, fn func() error) error {
	var running sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		running.Go(func() { errs <- fn() })
	}
	running.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
