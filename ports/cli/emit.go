package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bounds of emit.
const (
	emitBatch     = 500             // events in one request
	emitBatchSize = 4 << 20         // bytes in one request
	emitTries     = 8               // of one request, when the service is busy or away
	maxEmitPause  = 5 * time.Second // between two tries
)

// emitter sends events to a running service.
type emitter struct {
	client   *http.Client
	url, key string
	run      string // names this run in Idempotency-Keys
	progress *progress

	batch      []json.RawMessage
	size       int
	number     int
	accepted   int
	duplicates int
	unanswered bool // the batch may be accepted, though no answer said so
}

// Emit sends the events of the file, or of in when the file is "-": single events, lists,
// {"events": [...]} and NDJSON alike. A request that got no answer is sent again under the same
// Idempotency-Key, so nothing is sent twice.
func Emit(ctx context.Context, file string, s Streams, url, key string) error {
	in := s.In
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = opened.Close() }()
		in = opened
	}
	if key == "" {
		return errors.New("emit needs a key with the scope events.write: give it as --key, ORDINAVO_TOKEN or ORDINAVO_PLATFORM_KEY")
	}
	nonce := make([]byte, 8)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	e := &emitter{client: &http.Client{Timeout: 30 * time.Second}, url: strings.TrimRight(url, "/"), key: key, run: hex.EncodeToString(nonce), progress: newProgress(s.Err)}
	values, err := jsonIn(bufio.NewReaderSize(awaited{ctx, in}, 1<<20))
	if err != nil {
		return err
	}
	err = e.sendAll(ctx, values)
	e.progress.end()
	fmt.Fprintf(s.Out, "%d accepted, %d duplicates\n", e.accepted, e.duplicates)
	return e.whereToGoOn(err)
}

// jsonIn takes a byte order mark, with which Windows begins many a file (RFC 8259, section 8.1), for white space: what is said of a byte counts
// from the file's first.
func jsonIn(in *bufio.Reader) (*json.Decoder, error) {
	const mark = "\ufeff"
	begin, _ := in.Peek(len(mark))
	switch {
	case string(begin) == mark:
		copy(begin, "   ") // where it is read from next
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")):
		return nil, errors.New("the input is UTF-16, which Windows PowerShell makes of what it redirects into a file: JSON is UTF-8 (Out-File -Encoding utf8)")
	}
	return json.NewDecoder(in), nil
}

// whereToGoOn adds to what ended it early what the service has of the input, or may have.
func (e *emitter) whereToGoOn(err error) error {
	if err == nil {
		return nil
	}
	taken := e.accepted + e.duplicates
	if taken > 0 {
		err = fmt.Errorf("%w\ngo on behind the first %d events of the input: of those, one without an eventId would be accepted again, as another", err, taken)
	}
	if e.unanswered {
		err = fmt.Errorf("%w\nevents %d to %d may be accepted as well, since an answer was lost: look for them first, unless each has an eventId", err, taken+1, taken+len(e.batch))
	}
	return err
}

// awaited reads until ctx ends: a terminal or a pipe may have nothing for as long as it likes.
type awaited struct {
	ctx context.Context
	in  io.Reader
}

// Read leaves p to the input when ctx ends first, so it is the last one then.
func (a awaited) Read(p []byte) (int, error) {
	if a.ctx.Err() != nil { // it may be asked again all the same
		return 0, context.Cause(a.ctx)
	}
	read := make(chan struct{})
	var got int
	var failed error
	go func() {
		defer close(read)
		got, failed = a.in.Read(p)
	}()
	select {
	case <-read:
		return got, failed
	case <-a.ctx.Done():
		return 0, context.Cause(a.ctx)
	}
}

func (e *emitter) sendAll(ctx context.Context, values *json.Decoder) error {
	for {
		var value json.RawMessage
		if err := values.Decode(&value); errors.Is(err, io.EOF) {
			return e.flush(ctx)
		} else if err != nil {
			return fmt.Errorf("the input, at byte %d: %w", values.InputOffset(), err)
		}
		events, err := eventsOf(value)
		if err != nil {
			return fmt.Errorf("the input, before byte %d: %w", values.InputOffset(), err)
		}
		for _, event := range events {
			if err := e.add(ctx, event); err != nil {
				return err
			}
		}
	}
}

// eventsOf takes a list of events, an object that holds one, or a single event.
func eventsOf(value json.RawMessage) (events []json.RawMessage, err error) {
	switch value[0] {
	case '[':
		err = json.Unmarshal(value, &events)
		return events, err
	case '{':
		var batch struct {
			Events   []json.RawMessage `json:"events"`
			TenantID *any              `json:"tenantId"`
		}
		if err := json.Unmarshal(value, &batch); err != nil || batch.Events == nil {
			return []json.RawMessage{value}, nil
		}
		if batch.TenantID != nil {
			return nil, errors.New("tenantId stands beside events: it belongs into each of them")
		}
		return batch.Events, nil
	default:
		return nil, errors.New("an event is a JSON object")
	}
}

func (e *emitter) add(ctx context.Context, event json.RawMessage) error {
	if len(e.batch) == emitBatch || len(e.batch) > 0 && e.size+len(event) > emitBatchSize {
		if err := e.flush(ctx); err != nil {
			return err
		}
	}
	e.batch = append(e.batch, event)
	e.size += len(event)
	return nil
}

func (e *emitter) flush(ctx context.Context) error {
	if len(e.batch) == 0 {
		return nil
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // which would make six bytes of each < and &, and of HTML more than the service takes
	if err := encoder.Encode(map[string]any{"events": e.batch}); err != nil {
		return err
	}
	e.number++
	first := e.accepted + e.duplicates
	pause := 200 * time.Millisecond
	for try := 1; ; try++ {
		retryAfter, err := e.send(ctx, body.Bytes())
		if err == nil {
			break
		}
		if retryAfter < 0 || try == emitTries {
			return fmt.Errorf("events %d to %d: %w", first+1, first+len(e.batch), err)
		}
		if err := wait(ctx, max(pause, retryAfter)); err != nil {
			return err
		}
		pause = min(2*pause, maxEmitPause)
	}
	e.batch, e.size, e.unanswered = e.batch[:0], 0, false
	e.progress.show(fmt.Sprintf("%d accepted, %d duplicates", e.accepted, e.duplicates), e.accepted+e.duplicates)
	return nil
}

// send posts the batch once. A negative retryAfter means that trying again would not help.
func (e *emitter) send(ctx context.Context, body []byte) (retryAfter time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+e.key)
	request.Header.Set("Idempotency-Key", "emit-"+e.run+"-"+strconv.Itoa(e.number))
	answer, err := e.client.Do(request)
	if err != nil {
		e.unanswered = e.unanswered || hasArrived(err)
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		e.unanswered = true
		return 0, err
	}
	if answer.StatusCode != http.StatusAccepted {
		e.unanswered = e.unanswered || answer.StatusCode == http.StatusBadGateway || answer.StatusCode == http.StatusGatewayTimeout // a proxy's
		return mayRetry(answer), fmt.Errorf("the service answered %s: %s", answer.Status, bytes.TrimSpace(text))
	}
	return 0, e.count(text)
}

// hasArrived reports whether the service may have got a request that failed: not where no connection came about.
func hasArrived(err error) bool {
	var dial *net.OpError
	return !errors.As(err, &dial) || dial.Op != "dial"
}

// mayRetry is negative unless the service was busy. It may also be busy with this very request, whose answer was lost: the same
// Idempotency-Key then gives a conflict with Retry-After.
func mayRetry(answer *http.Response) time.Duration {
	after := answer.Header.Get("Retry-After")
	if answer.StatusCode < http.StatusInternalServerError && answer.StatusCode != http.StatusTooManyRequests && after == "" {
		return -1
	}
	seconds, _ := strconv.Atoi(after)
	return min(time.Duration(max(0, seconds))*time.Second, maxEmitPause)
}

func (e *emitter) count(text []byte) error {
	var answer struct {
		Results []struct {
			Status string `json:"status"`
		} `json:"results"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	for _, r := range answer.Results {
		if r.Status == "duplicate" {
			e.duplicates++
		} else {
			e.accepted++
		}
	}
	return nil
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
