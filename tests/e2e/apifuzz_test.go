package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Requests of a round: first any, then those only that must be refused and so must change nothing.
const (
	anyRequests     = 60
	refusedRequests = 40
)

// fuzz sends requests that the OpenAPI document allows, and some that it does not, to every operation.
type fuzz struct {
	t          *testing.T
	base       *fuzzBase
	world      *fuzzWorld
	root       object
	document   *document
	operations []fuzzOperation
	generator
	sent  int
	seed  uint64
	stats fuzzStats
}

type fuzzOperation struct {
	id, method, path string
	spec             object
}

// fuzzStats is what the requests came to.
type fuzzStats struct {
	byStatus, succeeded, refusedBy map[string]int
	rows, windows                  int
}

// No 5xx, no status and no answer that the document does not have, and no change by a refused request. API_FUZZ_REQUESTS says how
// many requests, with a seed of the moment; API_FUZZ_SEED makes those of an earlier run again, but for the ids that the service
// chooses. Without either the requests are the same each time, so that a suite that was green stays so.
func TestFuzzFromTheDocument(t *testing.T) {
	t.Parallel()
	usual := uint64(1)
	if os.Getenv("API_FUZZ_REQUESTS") != "" {
		usual = uint64(time.Now().UnixNano())
	}
	requests, seed := numberFrom(t, "API_FUZZ_REQUESTS", 600), numberFrom(t, "API_FUZZ_SEED", usual)
	t.Logf("API_FUZZ_SEED=%d API_FUZZ_REQUESTS=%d", seed, requests)
	s := start(t, t.TempDir())
	f := newFuzz(t, s, seed)
	for round := uint64(0); f.sent < int(requests) && !t.Failed(); round++ {
		f.Rand = rand.New(rand.NewPCG(seed, round))
		f.world = f.base.world(t)
		f.round()
	}
	f.report(requests)
}

func numberFrom(t *testing.T, name string, fallback uint64) uint64 {
	t.Helper()
	if os.Getenv(name) == "" {
		return fallback
	}
	n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func newFuzz(t *testing.T, s *service, seed uint64) *fuzz {
	t.Helper()
	f := &fuzz{t: t, seed: seed, root: into[object](s.platform(t).get("/openapi.json").want(http.StatusOK)),
		stats: fuzzStats{byStatus: map[string]int{}, succeeded: map[string]int{}, refusedBy: map[string]int{}}}
	var err error
	if f.document, err = readDocument(s.url); err != nil { // one of its own: what succeeds here does not count as tested
		t.Fatal(err)
	}
	paths := f.root["paths"].(object)
	for _, path := range sortedKeys(paths) {
		item := paths[path].(object)
		for _, method := range sortedKeys(item) {
			spec := item[method].(object)
			f.operations = append(f.operations, fuzzOperation{spec["operationId"].(string), strings.ToUpper(method), path, spec})
		}
	}
	f.generator = generator{root: f.root, known: f.knownOrNot}
	f.base = newFuzzBase(t, s, f.root)
	return f
}

func (f *fuzz) knownOrNot(name string) (any, bool) {
	known := f.world.ids[name]
	if len(known) == 0 {
		return nil, false
	}
	return pick(f.generator, known), true
}

func (f *fuzz) round() {
	order := f.Perm(len(f.operations))
	for i := range anyRequests {
		f.send(f.request(f.operations[order[(f.sent+i)%len(order)]]))
	}
	f.world.settled()
	before, sent := f.base.snapshot(f.world), []string{}
	for len(sent) < refusedRequests {
		r := f.request(pick(f.generator, f.operations))
		if r.why == "" {
			continue
		}
		sent = append(sent, r.String())
		f.send(r)
	}
	f.world.settled()
	unchanged(f.t, before, f.base.snapshot(f.world), sent)
	f.stats.windows++
	f.stats.rows += len(before)
}

func (r *fuzzRequest) String() string {
	return fmt.Sprintf("%s %s as %s %v %v %.600q", r.method, r.target[:min(len(r.target), 300)], r.caller, r.mutations, r.header, r.body)
}

// send sends the request and holds the answer to what is promised.
func (f *fuzz) send(r *fuzzRequest) {
	f.t.Helper()
	f.sent++
	name := fmt.Sprintf("seed %d, request %d: %s", f.seed, f.sent, r)
	got, err := f.roundTrip(r)
	if err != nil {
		f.t.Errorf("%s: %v", name, err)
		return
	}
	got.request = name
	f.document.check(f.t, r.method, r.target, got)
	f.checkRefusal(r, got)
	f.stats.byStatus[strconv.Itoa(got.status)]++
	if got.status < http.StatusMultipleChoices {
		f.stats.succeeded[r.id]++
		if r.caller != "theirs" {
			f.world.learn(got.body)
		}
	}
}

func (f *fuzz) checkRefusal(r *fuzzRequest, got answer) {
	f.t.Helper()
	if r.why != "" {
		kind, _, _ := strings.Cut(r.why, ":")
		f.stats.refusedBy[kind]++
		if got.status < http.StatusBadRequest {
			f.t.Errorf("%s\nis %s, and got %d: %.300s", got.request, r.why, got.status, got.body)
		}
	}
	if got.status == http.StatusServiceUnavailable {
		f.t.Errorf("%s: got 503 without any load: %s", got.request, got.body)
	}
	if got.status < http.StatusBadRequest {
		return
	}
	var p problem
	if err := json.Unmarshal(got.body, &p); err != nil || p.Status != got.status || p.Code == "" || p.Detail == "" || p.TraceID == "" {
		f.t.Errorf("%s: got %d with %s", got.request, got.status, got.body)
	}
}

// streamPatience is how long an answer without an end is listened to.
const streamPatience = 300 * time.Millisecond

func (f *fuzz) roundTrip(r *fuzzRequest) (answer, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, r.method, f.base.s.url, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	request.URL.Opaque, request.Header = r.target, r.header // the path as it is
	response, err := httpClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	streams := strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream")
	if streams {
		defer time.AfterFunc(streamPatience, cancel).Stop()
	}
	text, err := io.ReadAll(response.Body)
	if streams && errors.Is(err, context.Canceled) {
		err = nil
	}
	return answer{t: f.t, status: response.StatusCode, header: response.Header, body: text}, err
}

// report shows the figures. Many requests must have seen every operation succeed, or the fuzzing is of the gate alone.
func (f *fuzz) report(wanted uint64) {
	var never []string
	for _, o := range f.operations {
		if f.stats.succeeded[o.id] == 0 {
			never = append(never, o.id)
		}
	}
	f.t.Logf("%d requests to %d operations; statuses %v; had to be refused %v; %d rows compared around %d windows of refused requests; never succeeded: %v",
		f.sent, len(f.operations), f.stats.byStatus, f.stats.refusedBy, f.stats.rows, f.stats.windows, never)
	f.t.Logf("succeeded: %v", slices.Sorted(maps.Keys(f.stats.succeeded)))
	if len(never) > 0 && wanted >= 5000 {
		f.t.Errorf("no request to %v has succeeded", never)
	}
	if f.stats.windows == 0 || f.stats.rows == 0 {
		f.t.Error("no window of refused requests was compared")
	}
}
