package faults_test

import (
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// arrival is one request that a receiver got.
type arrival struct {
	at              time.Time
	path            string
	event, delivery string
	body            [32]byte
	text            []byte
	header          http.Header
	status          int // that it was answered with
	answered        time.Time
}

// receiver is the systems of all tenants, one for each path. It keeps what arrives.
type receiver struct {
	url string

	mu       sync.Mutex
	arrivals []arrival
	// tally, unless it is nil, is how often each event came to each path; then only sampled arrivals are kept.
	tally map[string]int
	// answer is how a path answers; nil is 200 at once.
	answer func(a arrival) int
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return // cut off in the middle: that is no arrival
	}
	a := arrival{at: time.Now(), path: q.URL.Path, event: q.Header.Get("X-Ordinavo-Event-Id"), delivery: q.Header.Get("X-Ordinavo-Delivery-Id"),
		body: sha256.Sum256(body), text: body, header: q.Header, status: http.StatusOK}
	a.answered = a.at
	r.mu.Lock()
	at, answer := len(r.arrivals), r.answer
	kept := r.tally == nil || sampled(a.event)
	if kept {
		r.arrivals = append(r.arrivals, a)
	}
	if r.tally != nil {
		r.tally[a.path+a.event]++
	}
	r.mu.Unlock()
	if answer == nil {
		return
	}
	status := answer(a)
	if kept {
		r.mu.Lock()
		r.arrivals[at].status, r.arrivals[at].answered = status, time.Now()
		r.mu.Unlock()
	}
	w.WriteHeader(status)
}

// answers changes how everybody answers from now on.
func (r *receiver) answers(how func(a arrival) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = how
}

func (r *receiver) all() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.arrivals)
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.arrivals)
}

// forget drops what came of the events until now.
func (r *receiver) forget(events []accepted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := map[string]bool{}
	for _, e := range events {
		gone[e.id] = true
	}
	r.arrivals = slices.DeleteFunc(r.arrivals, func(a arrival) bool { return gone[a.event] })
}

// taken is how many requests came, or events to paths where they are counted.
func (r *receiver) taken() int { return max(r.count(), r.distinct()) }

// distinct is how many events came to paths, however often.
func (r *receiver) distinct() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tally)
}
