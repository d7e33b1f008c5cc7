package rest_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	usecases "github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// serve listens on a port of its own until the test ends.
func (h *harness) serve() (url string) {
	h.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.api.Serve(listener) }()
	h.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		if err := h.api.Shutdown(ctx); err != nil {
			h.Error(err)
		}
		if err := <-served; err != nil {
			h.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

// sent is one event of a stream.
type sent struct{ id, event, data string }

type follower struct {
	*testing.T
	response *http.Response
	lines    *bufio.Scanner
}

func (h *harness) follow(url, key, query string, headers ...string) *follower {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 90*time.Second) // what does not come fails the test, and does not hang it
	h.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/deliveries/stream"+query, nil)
	if err != nil {
		h.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = response.Body.Close() })
	return &follower{h.T, response, bufio.NewScanner(response.Body)}
}

// next reads one event; a zero one at the end of the stream.
func (f *follower) next() (e sent) {
	f.Helper()
	for f.lines.Scan() && f.lines.Text() != "" {
		name, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.event = value
		case "data":
			e.data = value
		}
	}
	return e
}

// is wants the next event to be about a delivery.
func (f *follower) is(id, status string) sent {
	f.Helper()
	got := f.next()
	var d struct{ ID, Status string }
	if got.event != "delivery" || json.Unmarshal([]byte(got.data), &d) != nil || d.ID != id || d.Status != status || got.id == "" {
		f.Fatalf("got %+v, want %s %s", got, id, status)
	}
	return got
}

// ends wants the next event to say why the stream ends, and the end.
func (f *follower) ends(reason string) {
	f.Helper()
	if got := f.next(); got.event != "end" || !strings.Contains(got.data, `"reason":"`+reason+`"`) {
		f.Errorf("got %+v, want the end: %s", got, reason)
	}
	if got := f.next(); got != (sent{}) {
		f.Errorf("behind the end comes %+v", got)
	}
}

func (h *harness) schedule(owner tenant.ID, id, subscriptionID string) {
	h.store.record(owner, id, delivery.Scheduled{At: h.now, ID: id, Tenant: owner, EventID: "evt_1", EventType: event.TargetImported, SubscriptionID: subscriptionID, SubscriptionVersion: 1, BodyNumber: 1})
}

func (h *harness) step() {
	h.Helper()
	if _, err := h.live.Step(h.Context()); err != nil {
		h.Fatal(err)
	}
}

func TestStreamTellsOfChangesAndGoesOnWhereItEnded(t *testing.T) {
	h := newHarness(t)
	url := h.serve()
	f := h.follow(url, h.admin, "")
	if got := f.next(); got.id == "" || got.data != "" || f.response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("it begins with %+v, %v", got, f.response.Header)
	}
	h.schedule(own, "dlv_1", "sub_1")
	h.schedule(alien, "dlv_2", "sub_2")
	h.schedule(own, "dlv_3", "sub_bound")
	h.step()
	first := f.is("dlv_1", "pending")
	f.is("dlv_3", "pending")
	_ = f.response.Body.Close()

	h.schedule(own, "dlv_4", "sub_1")
	again := h.follow(url, h.admin, "", "Last-Event-ID", first.id)
	again.is("dlv_3", "pending")
	again.next() // says how far that was
	h.schedule(own, "dlv_5", "sub_1")
	h.step()
	again.is("dlv_4", "pending")
	again.is("dlv_5", "pending")
}

// The id says when its change was, so that a client that was away for longer than the log is kept does not take a gap for silence.
func TestStreamOfAClientThatWasAwayForLong(t *testing.T) {
	h := newHarness(t)
	url := h.serve()
	f := h.follow(url, h.admin, "")
	f.next()
	h.schedule(own, "dlv_1", "sub_1")
	h.step()
	last := f.is("dlv_1", "pending")
	_ = f.response.Body.Close()
	h.schedule(own, "dlv_2", "sub_1")
	h.step()
	h.now = h.now.Add(streamKept)
	in := h.follow(url, h.admin, "", "Last-Event-ID", last.id)
	in.is("dlv_2", "pending")
	_ = in.response.Body.Close()
	h.now = h.now.Add(time.Second)
	late := h.follow(url, h.other, "", "Last-Event-ID", last.id)
	if got := late.next(); got.event != "reset" || !strings.Contains(got.data, "too_old") {
		t.Errorf("got %+v", got)
	}
	if got := late.next(); got.id == "" || got.id == last.id {
		t.Errorf("it begins anew with %+v", got)
	}
}

// idAt is the id of what is at a position of the log, as the stream gives it.
func (h *harness) idAt(position int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("2." + strconv.FormatInt(position, 36) + "." + strconv.FormatInt(h.now.Unix(), 36)))
}

// Another process may have told a client more than this one has read yet; and a log that was restored may end before what a client has.
func TestStreamOfAClientThatIsAhead(t *testing.T) {
	h := newHarness(t)
	url := h.serve()
	h.follow(url, h.admin, "").next()
	h.schedule(own, "dlv_1", "sub_bound")
	ahead := h.follow(url, h.admin, "", "Last-Event-ID", h.idAt(1))
	if got := ahead.next(); got.id != h.idAt(1) {
		t.Errorf("it goes on from %+v", got)
	}
	beyond := h.follow(url, h.bound, "", "Last-Event-ID", h.idAt(1000))
	if got := beyond.next(); got.event != "reset" {
		t.Errorf("behind the end of the log: got %+v", got)
	}
	beyond.next()
	h.schedule(own, "dlv_2", "sub_bound")
	h.step()
	ahead.is("dlv_2", "pending")
	beyond.is("dlv_1", "pending")
	beyond.is("dlv_2", "pending")
}

// What was not for the client is behind it, too, when it comes back.
func TestStreamGoesOnFromWhatWasRead(t *testing.T) {
	h := newHarness(t)
	url := h.serve()
	h.schedule(own, "dlv_1", "sub_1")
	h.schedule(own, "dlv_2", "sub_1")
	f := h.follow(url, h.bound, "", "Last-Event-ID", h.idAt(1))
	if got := f.next(); got.id != h.idAt(2) {
		t.Errorf("it goes on from %+v", got)
	}
}

func TestStreamForABoundKeyIsOfItsSubscription(t *testing.T) {
	h := newHarness(t)
	url := h.serve()
	f := h.follow(url, h.bound, "")
	f.next()
	h.schedule(own, "dlv_1", "sub_1")
	h.schedule(own, "dlv_2", "sub_bound")
	h.step()
	f.is("dlv_2", "pending")
	h.call(h.bound, "GET", "/v1/deliveries/stream?subscriptionId=sub_1", "").expect(http.StatusNotFound)
}

func TestStreamSaysWhyItEnds(t *testing.T) {
	h := newHarness(t)
	url := h.serve()
	unknown := h.follow(url, h.other, "", "Last-Event-ID", "made-up")
	if got := unknown.next(); got.event != "reset" {
		t.Errorf("an id that is none: got %+v", got)
	}
	unknown.next()
	f := h.follow(url, h.admin, "")
	f.next()
	h.store.mu.Lock()
	k := h.store.keys[usecases.HashOf(h.admin)]
	k.RevokedAt = h.now
	h.store.keys[usecases.HashOf(h.admin)] = k
	h.store.mu.Unlock()
	h.now = h.now.Add(3 * time.Second)
	h.step()
	f.ends("revoked")
	h.live.Close()
	unknown.ends("closing")
}

func TestStreamsAreBounded(t *testing.T) {
	h := newHarness(t)
	url := h.serve()
	first := h.follow(url, h.admin, "")
	first.next()
	h.follow(url, h.admin, "").next()
	if got := h.follow(url, h.admin, "").response; got.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a third of one key: %d", got.StatusCode)
	}
	h.follow(url, h.other, "").next()
	if got := h.follow(url, h.bound, "").response; got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("a fourth of the process: %d %v", got.StatusCode, got.Header)
	}
	_ = first.response.Body.Close()
	for tries := 0; h.follow(url, h.admin, "").response.StatusCode != http.StatusOK; tries++ {
		if tries == 1000 {
			t.Fatal("who has gone keeps its place")
		}
		h.schedule(own, fmt.Sprint("dlv_", tries), "sub_1")
		h.step() // it is noticed with what cannot be written
	}
}

// What comes behind the headers of a HEAD's answer, a client takes for the beginning of the next answer. Nobody is left to tell anything.
func TestStreamAnswersAHeadWithItsHeadersAlone(t *testing.T) {
	h := newHarness(t)
	connection, err := net.Dial("tcp", strings.TrimPrefix(h.serve(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(90 * time.Second))
	head := "HEAD /v1/deliveries/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + h.admin + "\r\n\r\n"
	if _, err := io.WriteString(connection, strings.Repeat(head, 5)+lastRequest); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	answers := strings.Split(string(said), "\r\n\r\n")
	for _, answer := range answers[:len(answers)-1] {
		if !strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\n") {
			t.Errorf("the service said %q", said)
		}
	}
	for _, header := range []string{"Cache-Control: no-store\r\n", "X-Accel-Buffering: no\r\n"} { // a proxy would keep the events
		if !strings.Contains(answers[0], header) {
			t.Errorf("without %q: %q", header, answers[0])
		}
	}
	if len(answers) != 7 || !strings.Contains(answers[0], "Content-Type: text/event-stream\r\n") || strings.Contains(answers[0], "Content-Length") {
		t.Errorf("the service said %q", said)
	}
}

func TestStreamInput(t *testing.T) {
	h := newHarness(t)
	for query, status := range map[string]int{
		"?status=delivering": 400, "?status=x": 400, "?eventType=x": 400, "?subscriptionId=x": 400, "?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z": 400, "?limit=5": 400,
	} {
		h.call(h.admin, "GET", "/v1/deliveries/stream"+query, "").expect(status)
	}
	if got := h.call(h.reader, "GET", "/v1/deliveries/stream", ""); got.status != http.StatusForbidden {
		t.Errorf("without %s: %d", access.DeliveriesRead, got.status)
	}
}
