package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// object is JSON as a caller would write it.
type object = map[string]any

// api calls the service as one caller. Every answer is held to the OpenAPI document.
type api struct {
	t       *testing.T
	url     string
	key     string
	headers map[string]string
}

// platform is the operators' caller.
func (s *service) platform(t *testing.T) api { return api{t: t, url: s.url, key: platformKey} }

func (a api) with(name, value string) api {
	headers := map[string]string{name: value}
	for n, v := range a.headers {
		if n != name {
			headers[n] = v
		}
	}
	a.headers = headers
	return a
}

func (a api) as(tenant string) api { return a.with("X-Ordinavo-Tenant", tenant) }

func (a api) withKey(key string) api { a.key = key; return a }

func (a api) at(s *service) api { a.url = s.url; return a }

// answer is one of the service's.
type answer struct {
	t       *testing.T
	request string
	status  int
	header  http.Header
	body    []byte
}

var httpClient = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// do sends a request; body may be nil, raw bytes, or something that becomes JSON.
func (a api) do(method, path string, body any) answer {
	a.t.Helper()
	got, err := a.try(context.Background(), method, path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	return got
}

// try is do for a service that may be away.
func (a api) try(ctx context.Context, method, path string, body any) (answer, error) {
	a.t.Helper()
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		content = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, content)
	if err != nil {
		return answer{}, err
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.key != "" {
		request.Header.Set("Authorization", "Bearer "+a.key)
	}
	for name, value := range a.headers {
		request.Header.Set(name, value)
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	answered := io.Reader(response.Body)
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		answered = http.NoBody // it has no end; see listen
	}
	text, err := io.ReadAll(answered)
	if err != nil {
		return answer{}, err
	}
	got := answer{a.t, method + " " + path, response.StatusCode, response.Header, text}
	documentOf(a.t, a.url).check(a.t, method, path, got)
	return got, nil
}

func (a api) get(path string) answer { a.t.Helper(); return a.do(http.MethodGet, path, nil) }
func (a api) post(path string, body any) answer {
	a.t.Helper()
	return a.do(http.MethodPost, path, body)
}

// want ends the test when the status is another.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: got %d, want %d: %s", a.request, a.status, status, a.body)
	}
	return a
}

// problem is an answer that says no.
type problem struct {
	Type, Title, Code, Detail, TraceID string
	Status                             int
	RequiredScope                      string
	Errors                             map[string][]string
}

// refused wants a problem with the status and the code.
func (a answer) refused(status int, code string) problem {
	a.t.Helper()
	a.want(status)
	p := into[problem](a)
	if p.Code != code || p.Status != status {
		a.t.Fatalf("%s: got %d %s, want %d %s: %s", a.request, p.Status, p.Code, status, code, a.body)
	}
	return p
}

func into[T any](a answer) (v T) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%s: %v in %s", a.request, err, a.body)
	}
	return v
}

// page is one answer of a list.
type page[T any] struct {
	Data       []T
	NextCursor *string
}

type subscription struct {
	ID, TenantID, Name, URL, Status, Secret string
	StatusReason                            *string
	Version                                 int64
}

type delivery struct {
	ID, EventID, EventType, SubscriptionID, Status string
	AttemptCount                                   int
	NextAttemptAt                                  *time.Time
	UpdatedAt                                      time.Time
	Warnings                                       []string
	Request                                        struct {
		URL, Body string
		Headers   map[string]string
	}
	Attempts []attempt
}

type attempt struct {
	Number          int
	StartedAt       time.Time
	DurationMs      float64
	Outcome         string
	RequestHeaders  map[string]string
	ResponseStatus  *int
	ResponseHeaders map[string]string
	ResponseBody    string
	Error           *string
	TraceID         string
}

type acceptedEvent struct {
	EventID, EventType, TenantID, TraceID string
	Dispositions, Replays                 []disposition
}

type disposition struct {
	SubscriptionID, Outcome, Reason string
	DeliveryID, Status              *string
}

func (d disposition) String() string {
	parts := []string{d.SubscriptionID, d.Outcome, d.Reason}
	for _, p := range []*string{d.DeliveryID, d.Status} {
		if p != nil {
			parts = append(parts, *p)
		}
	}
	return strings.Join(parts, " ")
}
