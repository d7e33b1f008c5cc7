package e2e_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// told is one event of a stream.
type told struct {
	id, event, data string
	at              time.Time
}

// follower listens to a stream.
type follower struct {
	t     *testing.T
	close func()

	mu    sync.Mutex
	heard []told
	ended bool
}

// follow listens until the test ends, and returns once the stream has begun.
func (a api) follow(query string) *follower {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/v1/deliveries/stream"+query, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+a.key)
	for name, value := range a.headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	answer{a.t, "GET /v1/deliveries/stream", response.StatusCode, response.Header, nil}.want(http.StatusOK)
	f := &follower{t: a.t}
	read := make(chan struct{})
	f.close = func() { cancel(); <-read }
	a.t.Cleanup(f.close)
	go func() {
		defer close(read)
		defer func() { _ = response.Body.Close() }()
		f.listen(bufio.NewScanner(response.Body))
	}()
	f.eventually("the stream begins", func() bool { return len(f.heard) > 0 })
	return f
}

func (f *follower) listen(lines *bufio.Scanner) {
	e := told{}
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.event = value
		case "data":
			e.data = value
		case "":
			e.at = time.Now()
			f.mu.Lock()
			f.heard = append(f.heard, e)
			f.mu.Unlock()
			e = told{}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

func (f *follower) eventually(what string, ok func() bool) {
	f.t.Helper()
	eventually(f.t, what, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return ok()
	})
}

// tells waits for what became of an event's delivery, and gives back the event of the stream that said so.
func (f *follower) tells(eventID, status string) (found told) {
	f.t.Helper()
	f.eventually("the stream tells of "+eventID+" "+status, func() bool {
		for _, e := range f.heard {
			var d delivery
			if e.event == "delivery" && json.Unmarshal([]byte(e.data), &d) == nil && d.EventID == eventID && d.Status == status {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// history is what the stream has told of an event: its delivery's statuses.
func (f *follower) history(eventID string) (statuses []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.heard {
		var d delivery
		if e.event == "delivery" && json.Unmarshal([]byte(e.data), &d) == nil && d.EventID == eventID {
			statuses = append(statuses, d.Status)
		}
	}
	return statuses
}

// text is all that the stream has told.
func (f *follower) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.heard)
}

func (f *follower) ends(reason string) {
	f.t.Helper()
	f.eventually("the stream ends: "+reason, func() bool { return f.ended })
	if last := f.heard[len(f.heard)-1]; last.event != "end" || !strings.Contains(last.data, `"`+reason+`"`) {
		f.t.Errorf("it ends with %+v, want %s", last, reason)
	}
}

func TestStreamFollowsDeliveries(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, other := newTenant(t, s), newTenant(t, s)
	hook := receive(t, func(n int, _ arrival, w http.ResponseWriter) {
		if n == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	sub := acme.subscribe(hook, "visit_report.*", nil)
	quiet := acme.subscribe(receive(t, nil), "target.*", nil)
	all, theirs, onlyQuiet := acme.follow(""), other.follow(""), acme.follow("?subscriptionId="+quiet.ID)
	done := acme.follow("?status=succeeded&eventType=visit_report.approved")

	first := acme.emit(acme.visit("visit_report.approved", nil))
	first4 := all.tells(first, "succeeded")
	if got := all.history(first); !slices.Equal(got, []string{"pending", "retrying", "succeeded"}) {
		t.Errorf("it told of %v", got)
	}
	var shown, listed object
	_ = json.Unmarshal([]byte(first4.data), &shown)
	listed = into[page[object]](acme.get("/v1/deliveries?eventId=" + first).want(http.StatusOK)).Data[0]
	if a, b := fmt.Sprint(shown), fmt.Sprint(listed); a != b {
		t.Errorf("it told of\n%s\nand the list has\n%s", a, b)
	}
	second := acme.emit(acme.visit("target.imported", nil))
	onlyQuiet.tells(second, "succeeded")
	all.tells(second, "succeeded")
	done.tells(first, "succeeded")
	if got := append(onlyQuiet.history(first), done.history(second)...); len(got) > 0 {
		t.Errorf("a filter let through %v", got)
	}
	if got := append(theirs.history(first), theirs.history(second)...); len(got) > 0 {
		t.Errorf("another tenant's stream told of %v", got)
	}

	all.close()
	third := acme.emit(acme.visit("visit_report.rejected", nil))
	acme.settled(third, sub.ID, "succeeded")
	again := tenant{acme.with("Last-Event-ID", first4.id), acme.id}.follow("")
	again.tells(third, "succeeded")
	if got := again.history(third); !slices.Equal(got, []string{"pending", "succeeded"}) {
		t.Errorf("after coming back it told of %v", got)
	}
	if got := again.history(first); len(got) > 0 {
		t.Errorf("after coming back it told again of %v", got)
	}
}

// A key that is revoked loses its stream within seconds.
func TestStreamOfARevokedKeyEnds(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	id, key := acme.keyWith("webhook_deliveries.read")
	f := api{t: t, url: acme.url, key: key}.follow("")
	acme.do(http.MethodDelete, "/v1/api-keys/"+id, nil).want(http.StatusNoContent)
	f.ends("revoked")
}

// A stream has no end of its own, and yet keeps nobody from stopping the service. What comes with the next start is found by its last id.
func TestStreamsDoNotHoldUpTheDrain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme := newTenant(t, s)
	sub := acme.subscribe(receive(t, nil), "*", nil)
	f := acme.follow("")
	event := acme.emit(acme.visit("visit_report.approved", nil))
	last := f.tells(event, "succeeded")
	began := time.Now()
	s.signal(t, syscall.SIGTERM)
	f.ends("closing")
	if code := s.exitCode(t); code != 0 || s.log.says("connections were cut off") {
		t.Errorf("exit code %d after %s", code, time.Since(began))
	}
	acme.api = acme.at(start(t, dir))
	event = acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(event, sub.ID, "succeeded")
	tenant{acme.with("Last-Event-ID", last.id), acme.id}.follow("").tells(event, "succeeded")
}

// Whoever does it: two processes share a database, one listens and the other sends.
func TestStreamTellsOfOtherProcesses(t *testing.T) {
	t.Parallel()
	env := []string{"ORDINAVO_DATABASE_URL=" + pgtest.Empty(t), "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	worker := start(t, t.TempDir(), env...)
	listening := start(t, t.TempDir(), append(env, "ORDINAVO_ROLES=api")...)
	acme := newTenant(t, worker)
	sub := acme.subscribe(receive(t, nil), "*", nil)
	f := tenant{acme.at(listening), acme.id}.follow("")
	var delays []time.Duration
	for range 20 {
		event := acme.emit(acme.visit("visit_report.approved", nil))
		heard := f.tells(event, "succeeded")
		changed := acme.settled(event, sub.ID, "succeeded").UpdatedAt
		delays = append(delays, heard.at.Sub(changed))
	}
	slices.Sort(delays)
	t.Logf("from the attempt's end in one process to the listener of another: median %s, longest %s", delays[len(delays)/2], delays[len(delays)-1])
}
