package main

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// receiver notes when each event arrives first.
type receiver struct {
	server  *http.Server
	url     string
	mu      sync.Mutex
	arrived map[string]time.Time
	count   atomic.Int64
	again   atomic.Int64
}

func newReceiver() (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + listener.Addr().String() + "/hook", arrived: map[string]time.Time{}}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// ServeHTTP takes everything.
func (r *receiver) ServeHTTP(_ http.ResponseWriter, q *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, q.Body)
	id := q.Header.Get("X-Ordinavo-Event-Id")
	r.mu.Lock()
	if _, known := r.arrived[id]; known {
		r.again.Add(1)
	} else {
		r.arrived[id] = now
		r.count.Add(1)
	}
	r.mu.Unlock()
}

// reset forgets what has arrived.
func (r *receiver) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.arrived)
	r.count.Store(0)
	r.again.Store(0)
}

func (r *receiver) at(id string) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.arrived[id]
	return at, ok
}
