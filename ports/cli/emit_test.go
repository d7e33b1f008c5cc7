package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// service is POST /v1/events as a RoundTripper, so that it works in fake time.
type service struct {
	requests []request
	answers  []func(body []byte) (*http.Response, error) // in turn; then everything is accepted
}

type request struct {
	path, key, contentType, authorization string
	events                                []json.RawMessage
	at                                    time.Time
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var batch struct{ Events []json.RawMessage }
	if err := json.Unmarshal(body, &batch); err != nil {
		return nil, err
	}
	s.requests = append(s.requests, request{r.URL.String(), r.Header.Get("Idempotency-Key"), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), batch.Events, time.Now()})
	if len(s.answers) > 0 {
		answer := s.answers[0]
		s.answers = s.answers[1:]
		return answer(body)
	}
	return accept(body)
}

// accept takes all, and knows those already whose ID says so.
func accept(body []byte) (*http.Response, error) {
	var batch struct{ Events []struct{ EventID string } }
	if err := json.Unmarshal(body, &batch); err != nil {
		return nil, err
	}
	type result struct {
		EventID string `json:"eventId"`
		Status  string `json:"status"`
	}
	results := []result{}
	for _, e := range batch.Events {
		status := "accepted"
		if strings.HasPrefix(e.EventID, "known") {
			status = "duplicate"
		}
		results = append(results, result{e.EventID, status})
	}
	text, err := json.Marshal(map[string]any{"results": results})
	return response(http.StatusAccepted, string(text)), err
}

func response(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func answers(status int, header ...string) func([]byte) (*http.Response, error) {
	return func([]byte) (*http.Response, error) {
		r := response(status, `{"code":"a_code"}`)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r, nil
	}
}

func lost([]byte) (*http.Response, error) { return nil, errors.New("connection reset") }

// emit sends the input to the service, in fake time.
func emit(t *testing.T, s *service, input string) (e *emitter, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e = &emitter{client: &http.Client{Transport: s, Timeout: 30 * time.Second}, url: "http://service", key: "ord_live_x", run: "run", progress: &progress{}}
		err = e.sendAll(t.Context(), json.NewDecoder(strings.NewReader(input)))
	})
	return e, err
}

func one(id string) string { return `{"eventId":"` + id + `","n":12345678901234567890}` }

func TestEveryFormOfInput(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		want  int
	}{
		"nothing":          {"", 0},
		"white space":      {" \n\t\n", 0},
		"one event":        {one("a"), 1},
		"indented":         {"\n  {\n \"eventId\": \"a\"\n}\n", 1},
		"a list":           {"[" + one("a") + "," + one("b") + "]", 2},
		"an empty list":    {"[]", 0},
		"a batch":          {`{"events": [` + one("a") + "," + one("b") + "," + one("c") + "]}", 3},
		"NDJSON":           {one("a") + "\n" + one("b") + "\r\n\n" + one("c"), 3},
		"all of them":      {one("a") + "[" + one("b") + "]\n" + `{"events":[` + one("c") + "]}", 3},
		"no batch, though": {`{"eventId": "a", "events": 7}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{}
			e, err := emit(t, s, c.input)
			if err != nil || e.accepted != c.want || e.duplicates != 0 || len(s.requests) > 1 {
				t.Fatalf("%d accepted in %d requests, %v", e.accepted, len(s.requests), err)
			}
			if c.want == 0 {
				return
			}
			r := s.requests[0]
			if r.path != "http://service/v1/events" || r.contentType != "application/json" || r.authorization != "Bearer ord_live_x" || r.key == "" {
				t.Errorf("sent %+v", r)
			}
			if name == "one event" && string(r.events[0]) != one("a") {
				t.Errorf("the event became %s", r.events[0])
			}
		})
	}
}

func TestInputThatIsNone(t *testing.T) {
	for name, c := range map[string]struct{ input, says string }{
		"broken JSON": {one("a") + "\n{", "byte"},
		"a number":    {one("a") + "\n7", "an event is a JSON object"},
		"cut short":   {one("a") + "\n[{}", "byte"},
		"whose?":      {`{"tenantId": "t2", "events": [` + one("a") + "]}", "tenantId stands beside events"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := emit(t, &service{}, c.input); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBatchesAreBounded(t *testing.T) {
	s := &service{}
	e, err := emit(t, s, strings.Repeat(one("a")+"\n", 1200)+strings.Repeat(one("known")+"\n", 34))
	if err != nil || e.accepted != 1200 || e.duplicates != 34 {
		t.Fatalf("%d accepted, %d duplicates, %v", e.accepted, e.duplicates, err)
	}
	keys := map[string]bool{}
	var sizes []int
	for _, r := range s.requests {
		keys[r.key] = true
		sizes = append(sizes, len(r.events))
	}
	if !slices.Equal(sizes, []int{500, 500, 234}) || len(keys) != 3 {
		t.Errorf("sent batches of %v under %d keys", sizes, len(keys))
	}
	s = &service{}
	large := `{"eventId":"a","summary":"` + strings.Repeat("x", 1<<20) + `"}`
	if e, err := emit(t, s, strings.Repeat(large, 9)); err != nil || e.accepted != 9 || len(s.requests) != 3 {
		t.Errorf("%d large ones in %d requests, %v", e.accepted, len(s.requests), err)
	}
}

// HTML in free text made requests three times as long as what they carry, and the service cut them off.
func TestEventsAreSentAsTheyAreWritten(t *testing.T) {
	event := `{"visitReport":{"summary":"<p>Pump & valve > 3 years</p>"}}`
	s := &service{answers: []func([]byte) (*http.Response, error){func(body []byte) (*http.Response, error) {
		if want := `{"events":[` + event + `,` + event + `]}`; strings.TrimSpace(string(body)) != want {
			t.Errorf("sent %s, want %s", body, want)
		}
		return accept(body)
	}}}
	if e, err := emit(t, s, event+"\n"+event); err != nil || e.accepted != 2 {
		t.Errorf("accepted %d, %v", e.accepted, err)
	}
}

// A request that got no answer, or only a busy one, is sent again under the same key.
func TestTheSameRequestIsSentAgain(t *testing.T) {
	cut := func(body []byte) (*http.Response, error) {
		r, err := accept(body)
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"results": [`), broken{}))
		return r, err
	}
	for name, c := range map[string]struct {
		answer func([]byte) (*http.Response, error)
		pause  time.Duration
	}{
		"503":              {answers(503), 200 * time.Millisecond},
		"500":              {answers(500), 200 * time.Millisecond},
		"429":              {answers(429), 200 * time.Millisecond},
		"429 in a second":  {answers(429, "Retry-After", "1"), time.Second},
		"429 in an hour":   {answers(429, "Retry-After", "3600"), 5 * time.Second},
		"still at it":      {answers(409, "Retry-After", "1"), time.Second},
		"an answer lost":   {lost, 200 * time.Millisecond},
		"an answer cut":    {cut, 200 * time.Millisecond},
		"an answer broken": {func([]byte) (*http.Response, error) { return response(202, "<html>"), nil }, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{answers: []func([]byte) (*http.Response, error){c.answer}}
			e, err := emit(t, s, one("a")+one("b"))
			if err != nil || e.accepted != 2 || len(s.requests) != 2 {
				t.Fatalf("%d accepted in %d requests, %v", e.accepted, len(s.requests), err)
			}
			first, second := s.requests[0], s.requests[1]
			if first.key != second.key || !slices.EqualFunc(first.events, second.events, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
				t.Errorf("sent again as %+v after %+v", second, first)
			}
			if pause := second.at.Sub(first.at); pause != c.pause {
				t.Errorf("after %s, want %s", pause, c.pause)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestItGivesUpAfterAWhile(t *testing.T) {
	s := &service{}
	for range 100 {
		s.answers = append(s.answers, answers(503))
	}
	_, err := emit(t, s, one("a"))
	if err == nil || !strings.Contains(err.Error(), "503") || len(s.requests) != 8 {
		t.Fatalf("%d requests, %v", len(s.requests), err)
	}
	for i, want := range []time.Duration{200, 400, 800, 1600, 3200, 5000, 5000} { // ms
		if pause := s.requests[i+1].at.Sub(s.requests[i].at); pause != want*time.Millisecond {
			t.Errorf("pause %d is %s", i, pause)
		}
	}
}

func TestARefusalEndsItAndSaysWhere(t *testing.T) {
	for _, status := range []int{400, 401, 403, 409, 413} {
		s := &service{answers: []func([]byte) (*http.Response, error){accept, answers(status)}}
		e, err := emit(t, s, strings.Repeat(one("a"), 502))
		if err == nil || !strings.Contains(err.Error(), "events 501 to 502") || !strings.Contains(err.Error(), "a_code") || e.accepted != 500 || len(s.requests) != 2 {
			t.Errorf("%d: %d accepted in %d requests, %v", status, e.accepted, len(s.requests), err)
		}
	}
}

// What comes behind a refusal might make no sense without what was refused.
func TestNothingIsSentBehindARefusal(t *testing.T) {
	s := &service{answers: []func([]byte) (*http.Response, error){answers(403)}}
	e, err := emit(t, s, strings.Repeat(one("a"), 1200))
	if err == nil || !strings.Contains(err.Error(), "events 1 to 500") || e.accepted != 0 || len(s.requests) != 1 {
		t.Errorf("%d accepted in %d requests, %v", e.accepted, len(s.requests), err)
	}
}

// answering is a service that can be called.
func answering(t *testing.T, answer func(*http.Request) (*http.Response, error)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := answer(r)
		if err != nil {
			t.Error(err)
			return
		}
		w.WriteHeader(got.StatusCode)
		_, _ = io.Copy(w, got.Body)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestEmit(t *testing.T) {
	received := make(chan string, 10)
	server := answering(t, func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		received <- r.Header.Get("Idempotency-Key")
		return accept(body)
	})
	file := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(file, []byte("\ufeff"+one("a")+"\n"+one("known")), 0o600); err != nil { // as Windows writes it
		t.Fatal(err)
	}
	for name, want := range map[string]string{file: "1 accepted, 1 duplicates\n", "-": "2 accepted, 0 duplicates\n"} {
		var out, errs bytes.Buffer
		err := Emit(t.Context(), name, Streams{In: strings.NewReader(one("a") + one("b")), Out: &out, Err: &errs}, server.URL+"/", "ord_live_x")
		if err != nil || out.String() != want || errs.Len() != 0 {
			t.Fatalf("%s: %v; printed %q and %q", name, err, out.String(), errs.String())
		}
	}
	if first, second := <-received, <-received; first == second || first == "" {
		t.Errorf("two runs have the keys %q and %q", first, second)
	}
	if err := Emit(t.Context(), filepath.Join(t.TempDir(), "none"), Streams{Out: io.Discard, Err: io.Discard}, server.URL, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// Who mended the line that was refused and sent the whole file again had every event before it accepted a second time.
func TestEmitSaysWhereToGoOn(t *testing.T) {
	refusals := 0
	server := answering(t, func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("refused")) {
			refusals++
			return &http.Response{StatusCode: http.StatusBadRequest, Status: "400 Bad Request", Body: http.NoBody}, nil
		}
		return accept(body)
	})
	for input, want := range map[string]bool{strings.Repeat(one("a"), emitBatch) + one("refused"): true, one("refused"): false} {
		err := Emit(t.Context(), "-", Streams{In: strings.NewReader(input), Out: io.Discard, Err: io.Discard}, server.URL, "ord_live_x")
		if err == nil || strings.Contains(err.Error(), fmt.Sprintf("behind the first %d events", emitBatch)) != want {
			t.Errorf("it says: %v", err)
		}
	}
	if refusals != 2 {
		t.Errorf("%d were refused", refusals)
	}
}

// The service may have what got no answer: whoever goes on there without looking would have it accepted a second time.
func TestEmitSaysWhatMayBeAcceptedAsWell(t *testing.T) {
	refused := func([]byte) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	brokenOff := func([]byte) (*http.Response, error) {
		answer := response(http.StatusAccepted, "")
		answer.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"results":[`), iotest.ErrReader(io.ErrUnexpectedEOF)))
		return answer, nil
	}
	for name, c := range map[string]struct {
		answers []func([]byte) (*http.Response, error)
		want    string
	}{
		"an answer broke off":           {[]func([]byte) (*http.Response, error){accept, brokenOff, answers(401)}, "events 501 to 502 may be accepted as well"},
		"then the service was busy":     {[]func([]byte) (*http.Response, error){accept, answers(502), answers(503), answers(401)}, "events 501 to 502 may be accepted as well"},
		"then the service was away":     {[]func([]byte) (*http.Response, error){accept, lost, refused, answers(401)}, "events 501 to 502 may be accepted as well"},
		"an answer was lost":            {[]func([]byte) (*http.Response, error){accept, lost, answers(401)}, "events 501 to 502 may be accepted as well"},
		"a proxy had none":              {[]func([]byte) (*http.Response, error){accept, answers(504), answers(401)}, "events 501 to 502 may be accepted as well"},
		"of the first batch":            {[]func([]byte) (*http.Response, error){lost, answers(401)}, "events 1 to 500 may be accepted as well"},
		"of one that was sent again":    {[]func([]byte) (*http.Response, error){lost, accept, answers(401)}, ""},
		"the service was away":          {[]func([]byte) (*http.Response, error){accept, refused, answers(401)}, ""},
		"the service was busy, and not": {[]func([]byte) (*http.Response, error){accept, answers(503), answers(401)}, ""},
	} {
		e, err := emit(t, &service{answers: c.answers}, strings.Repeat(one("a"), emitBatch+2))
		if err = e.whereToGoOn(err); err == nil || strings.Contains(err.Error(), "as well") != (c.want != "") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: it says %v", name, err)
		}
	}
}

// Who types events, or follows a file, ends that by a signal, and is told what was accepted until then.
func TestEmitDoesNotWaitForInputOnceItIsToEnd(t *testing.T) {
	server := answering(t, (&service{}).RoundTrip)
	in, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		ended <- Emit(ctx, "-", Streams{In: in, Out: &out, Err: io.Discard}, server.URL, "ord_live_0123456789abcdef")
	}()
	for range emitBatch + 2 { // the last is read once the first batch is accepted
		if _, err := fmt.Fprintln(typed, one("evt_1")); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(90 * time.Second):
		t.Fatal("it waits for input")
	}
	if want := fmt.Sprintf("%d accepted, 0 duplicates\n", emitBatch); out.String() != want {
		t.Errorf("it says %q, want %q", out.String(), want)
	}
}

// silent has nothing to read until it is closed.
type silent struct {
	asked  atomic.Int32
	closed chan struct{}
}

func (s *silent) Read([]byte) (int, error) {
	s.asked.Add(1)
	<-s.closed
	return 0, io.EOF
}

// Who asks a second time does so while the first still waits.
func TestEmitReadsNoMoreOnceItIsToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		in := &silent{closed: make(chan struct{})}
		defer close(in.closed)
		ended := make(chan error, 1)
		go func() {
			ended <- Emit(ctx, "-", Streams{In: in, Out: io.Discard, Err: io.Discard}, "http://localhost", "ord_live_0123456789abcdef")
		}()
		synctest.Wait()
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		synctest.Wait()
		if asked := in.asked.Load(); asked != 1 {
			t.Errorf("%d read from the input at once", asked)
		}
	})
}

// What Windows writes into a file may have a mark before it, which counts as bytes of the file, or be in two bytes for each character.
func TestMarksBeforeTheInput(t *testing.T) {
	for input, says := range map[string]string{
		"\ufeff7": "before byte 4", "\xff\xfe{\x00}\x00": "UTF-16", "\xfe\xff\x00{\x00}": "UTF-16", "\ufeff": "", "": "", "\xef\xbb": "byte",
	} {
		err := Emit(t.Context(), "-", Streams{In: strings.NewReader(input), Out: io.Discard, Err: io.Discard}, "http://localhost", "ord_live_x")
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q gave %v, want %q", input, err, says)
		}
	}
}

func TestProgressIsForTerminalsAlone(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var buffer bytes.Buffer
	for _, w := range []io.Writer{file, &buffer} {
		p := newProgress(w)
		p.show("1 accepted", 1)
		p.end()
	}
	if info, err := file.Stat(); err != nil || info.Size() != 0 || buffer.Len() != 0 {
		t.Errorf("printed %d bytes to a file, %d to a pipe, %v", info.Size(), buffer.Len(), err)
	}
	p := &progress{terminal: &buffer, began: time.Now()}
	p.show("3 accepted, 4 duplicates", 7)
	if !strings.Contains(buffer.String(), "3 accepted, 4 duplicates") || !strings.HasPrefix(buffer.String(), "\r") {
		t.Errorf("printed %q", buffer.String())
	}
	p.end()
	if !strings.HasSuffix(buffer.String(), "\r\033[K") {
		t.Errorf("left %q", buffer.String())
	}
}
