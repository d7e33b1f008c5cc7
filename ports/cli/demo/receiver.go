package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// receiver is a partner's system: an HTTP server whose paths behave as a chapter wants.
type receiver struct {
	server *http.Server
	url    string

	mu    sync.Mutex
	paths map[string]*endpoint
}

// endpoint is one path of the receiver.
type endpoint struct {
	url      string
	arrivals chan arrival
	// behave answers the n-th request, from 1.
	behave func(n int, w http.ResponseWriter, r *http.Request)
	mu     sync.Mutex
	count  int
}

// arrival is a request as it came over the wire.
type arrival struct {
	at     time.Time
	method string
	path   string
	header http.Header
	body   []byte
}

func newReceiver() (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a receiver: %w", err)
	}
	r := &receiver{url: "http://" + listener.Addr().String(), paths: map[string]*endpoint{}}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: arriveWithin}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// at opens a path. A nil behave takes everything with 200.
func (r *receiver) at(path string, behave func(n int, w http.ResponseWriter, q *http.Request)) *endpoint {
	e := &endpoint{url: r.url + path, arrivals: make(chan arrival, 100), behave: behave}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths[path] = e
	return e
}

// ServeHTTP keeps the request and answers as the path does.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	e := r.paths[q.URL.Path]
	r.mu.Unlock()
	if e == nil {
		http.NotFound(w, q)
		return
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	e.mu.Lock()
	e.count++
	n := e.count
	e.mu.Unlock()
	e.arrivals <- arrival{time.Now(), q.Method, q.URL.Path, q.Header.Clone(), body}
	if e.behave != nil {
		e.behave(n, w, q)
	}
}

// next waits for the next request.
func (e *endpoint) next(ctx context.Context) (arrival, error) {
	ctx, cancel := context.WithTimeout(ctx, arriveWithin)
	defer cancel()
	select {
	case a := <-e.arrivals:
		return a, nil
	case <-ctx.Done():
		return arrival{}, errors.New("nothing arrived at " + e.url)
	}
}

// shownHeaders is the order in which a request is shown.
var shownHeaders = []string{"Content-Type", "User-Agent", "X-Ordinavo-Event-Id", "X-Ordinavo-Event-Type", "X-Ordinavo-Delivery-Id",
	"X-Ordinavo-Timestamp", "X-Ordinavo-Signature", "X-Ordinavo-Webhook-Version", "webhook-id", "webhook-timestamp", "webhook-signature", "traceparent"}

// String is the request as it came.
func (a arrival) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s\n", a.method, a.path)
	for _, name := range shownHeaders {
		fmt.Fprintf(&text, "%s: %s\n", name, a.header.Get(name))
	}
	fmt.Fprintf(&text, "\n%s", a.body)
	return text.String()
}
