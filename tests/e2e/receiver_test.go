package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// arrival is one request that a receiver got.
type arrival struct {
	method string
	header http.Header
	body   []byte
}

func (a arrival) eventID() string    { return a.header.Get("X-Ordinavo-Event-Id") }
func (a arrival) deliveryID() string { return a.header.Get("X-Ordinavo-Delivery-Id") }

// receiver is a tenant's system. It keeps what arrives and answers as it is told.
type receiver struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	arrivals []arrival
	behave   func(n int, a arrival, w http.ResponseWriter)
}

// receive starts a receiver that says 200; behave, which may be nil, gets the arrival's number from 1 on.
func receive(t *testing.T, behave func(n int, a arrival, w http.ResponseWriter)) *receiver {
	t.Helper()
	r := &receiver{t: t, behave: behave}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL + "/hook"
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // cut off in the middle: that is no arrival
	}
	a := arrival{q.Method, q.Header.Clone(), body}
	r.mu.Lock()
	r.arrivals = append(r.arrivals, a)
	n, behave := len(r.arrivals), r.behave
	r.mu.Unlock()
	if behave != nil {
		behave(n, a, w)
	}
}

func (r *receiver) behaves(behave func(n int, a arrival, w http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behave = behave
}

func (r *receiver) all() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrivals)
}

// wait waits until n requests came, and returns them all.
func (r *receiver) wait(n int) []arrival {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d arrivals", n), func() bool { return len(r.all()) >= n })
	return r.all()
}

// exactly ends the test when there are other arrivals than n. Call it when all is settled.
func (r *receiver) exactly(n int) []arrival {
	r.t.Helper()
	got := r.all()
	if len(got) != n {
		r.t.Fatalf("the receiver got %d requests, want %d", len(got), n)
	}
	return got
}

// answers makes a behaviour: the n-th arrival gets the n-th status, all others the last.
func answers(statuses ...int) func(int, arrival, http.ResponseWriter) {
	return func(n int, _ arrival, w http.ResponseWriter) {
		w.WriteHeader(statuses[min(n, len(statuses))-1])
	}
}
