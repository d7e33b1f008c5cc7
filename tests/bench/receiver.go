package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// receiver notes when each event arrives first at each of its paths.
type receiver struct {
	server *http.Server
	url    string
	count  atomic.Int64 // different arrivals
	again  atomic.Int64 // those that came twice
	bytes  atomic.Int64 // of the last body

	mu      sync.Mutex
	arrived map[arrival]time.Time
	answers map[string]http.HandlerFunc // of paths that do not just take everything
}

// arrival is an event at a path.
type arrival struct{ event, path string }

const hook = "/hook"

func newReceiver() (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + listener.Addr().String()}
	r.reset()
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// ServeHTTP notes what arrives; a path with an answer of its own is not noted.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	now := time.Now()
	n, _ := io.Copy(io.Discard, q.Body)
	r.mu.Lock()
	answer := r.answers[q.URL.Path]
	r.mu.Unlock()
	if answer != nil {
		answer(w, q)
		return
	}
	r.bytes.Store(n)
	r.note(q, now)
}

func (r *receiver) note(q *http.Request, at time.Time) {
	key := arrival{q.Header.Get("X-Ordinavo-Event-Id"), q.URL.Path}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.arrived[key]; known {
		r.again.Add(1)
		return
	}
	r.arrived[key] = at
	r.count.Add(1)
}

// answer makes a path answer so; nil takes everything again.
func (r *receiver) answer(path string, how http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[path] = how
}

// refuse is the answer of a receiver that is down.
func refuse(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }

// hang is the answer of one that takes the request and says nothing.
func hang(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }

// slowly takes what its sender waits for; what is cut off does not count as arrived.
func (r *receiver) slowly(long time.Duration) http.HandlerFunc {
	return func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-time.After(long):
			r.note(q, time.Now())
		case <-q.Context().Done():
		}
	}
}

// reset forgets everything.
func (r *receiver) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived, r.answers = map[arrival]time.Time{}, map[string]http.HandlerFunc{}
	r.count.Store(0)
	r.again.Store(0)
}

func (r *receiver) at(event, path string) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.arrived[arrival{event, path}]
	return at, ok
}

// stalled is for how long nothing may arrive that is waited for.
const stalled = 60 * time.Second

// await returns when n different arrivals were counted since the reset.
func (r *receiver) await(ctx context.Context, n int) error {
	seen, since := r.count.Load(), time.Now()
	for seen < int64(n) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		time.Sleep(10 * time.Millisecond) // seldom: each look takes from the service's CPU
		if now := r.count.Load(); now != seen {
			seen, since = now, time.Now()
		}
		if time.Since(since) > stalled {
			return fmt.Errorf("only %d of %d arrived", seen, n)
		}
	}
	return nil
}
