// Package demo is the newcomer's first minute: it starts the service in a temporary directory, uses it
// over its API as tenants and product services would, and checks everything it shows.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// arriveWithin bounds each wait: much longer than anything here takes on a busy machine.
const arriveWithin = time.Minute

// stage is what the chapters play on.
type stage struct {
	out       io.Writer
	dir       string
	service   *service
	receiver  *receiver
	collector *collector
	api       client
}

// What ends a demo early: something is not as it should be, or somebody ended it.
var (
	errWrong       = errors.New("the demo found something wrong")
	errInterrupted = errors.New("the demo was interrupted")
)

// Run plays all chapters; an error says what was not as it should be.
func Run(ctx context.Context, out io.Writer) (err error) {
	began := time.Now()
	s := &stage{out: out}
	if s.dir, err = os.MkdirTemp("", "ordinavo-demo-"); err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	if s.receiver, err = newReceiver(); err != nil {
		return err
	}
	defer s.receiver.close()
	if s.collector, err = newCollector(); err != nil {
		return err
	}
	defer s.collector.close()
	if err := s.startService(ctx); err != nil {
		return err
	}
	defer func() { s.service.kill() }()
	s.say("Ordinavo Webhooks, from an event to a receiver that trusts it.\nA service runs at %s with its data in %s.", s.api.url, s.dir)
	if err := s.play(ctx); err != nil {
		return fmt.Errorf("%w: %w", blame(ctx), err)
	}
	s.say("\nAll of it was checked, in %.1f s.", time.Since(began).Seconds())
	return nil
}

// blame is why a chapter did not end well: one that is interrupted waits in vain, which says nothing of the service.
func blame(ctx context.Context) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return errWrong
}

func (s *stage) play(ctx context.Context) error {
	chapters := []struct {
		title string
		play  func(context.Context) error
	}{
		{"An event, and the request that a receiver gets", s.firstEvent},
		{"Two tenants, the same Ordinavo ids, each its own external IDs", s.twoTenants},
		{"What a body holds is the subscription's choice", s.payloadOptions},
		{"Billing events need the tenant's billing feature", s.billing},
		{"A receiver that fails twice", s.failsTwice},
		{"A receiver that is down for good, and back later", s.deadLetter},
		{"The process is killed in the middle of a delivery", s.killed},
		{"One event as a trace", s.trace},
	}
	for i, c := range chapters {
		s.say("\n%d. %s", i+1, c.title)
		if err := c.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(c.title[:1])+c.title[1:], err)
		}
	}
	return nil
}

// startService starts a process of this binary, as an operator would, and waits until it is ready. If it does not get so far, the one before it
// is the last that there was.
func (s *stage) startService(ctx context.Context) error {
	started, err := startService(ctx, s.dir, s.collector.url)
	if err != nil {
		return err
	}
	s.service = started
	s.api = client{url: s.service.url, key: platformKey}
	return nil
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// tick says what was just checked.
func (s *stage) tick(format string, args ...any) { s.say("   ✓ "+format, args...) }

// check ticks when ok, and is an error that says what was expected when not.
func (s *stage) check(ok bool, format string, args ...any) error {
	if !ok {
		return fmt.Errorf("it is not so that "+format, args...)
	}
	s.tick(format, args...)
	return nil
}

// indented shows a text a little to the right.
func (s *stage) indented(text string) {
	for line := range strings.Lines(text) {
		s.say("       %s", strings.TrimRight(line, "\r\n"))
	}
}
