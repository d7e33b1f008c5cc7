package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// exchange writes raw bytes to the service and reads one answer.
func exchange(t *testing.T, s *service, request string) (*http.Response, string) {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(connection, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(response.Body)
	return response, string(body)
}

// What net/http would never send is a problem as well, and never a 5xx.
func TestWhatIsHardlyHTTP(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	before := acme.get("/v1/events").body
	authorized := "Host: x\r\nAuthorization: Bearer " + platformKey + "\r\nX-Ordinavo-Tenant: " + acme.id + "\r\n"
	for name, request := range map[string]string{
		"a path with a space":    "GET /v1/ev ents HTTP/1.1\r\n" + authorized + "\r\n",
		"broken escapes":         "GET /v1/events/%zz HTTP/1.1\r\n" + authorized + "\r\n",
		"raw bytes in the path":  "GET /v1/events/\xff\xfe HTTP/1.1\r\n" + authorized + "\r\n",
		"climbing":               "GET /v1/events/../../etc HTTP/1.1\r\n" + authorized + "\r\n",
		"broken query":           "GET /v1/events?limit=%zz HTTP/1.1\r\n" + authorized + "\r\n",
		"huge header":            "GET /v1/events HTTP/1.1\r\n" + authorized + "X-Big: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"many headers":           "GET /v1/events HTTP/1.1\r\n" + authorized + strings.Repeat("X-Many: x\r\n", 5000) + "\r\n",
		"unknown method":         "BREW /v1/events HTTP/1.1\r\n" + authorized + "\r\n",
		"no HTTP":                "HELO service\r\n\r\n",
		"negative length":        "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: application/json\r\nContent-Length: -1\r\n\r\n",
		"length of letters":      "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: application/json\r\nContent-Length: ten\r\n\r\n{}",
		"broken chunks":          "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
		"compressed":             "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
		"another charset":        "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: application/json; charset=latin1\r\nContent-Length: 2\r\n\r\n{}",
		"another type":           "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: text/xml\r\nContent-Length: 2\r\n\r\n{}",
		"NUL in the key":         "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ord\x00live\r\n\r\n",
		"a key of another kind":  "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eDp5\r\n\r\n",
		"a NUL as tenant":        "GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + platformKey + "\r\nX-Ordinavo-Tenant: a\x00b\r\n\r\n",
		"two Idempotency-Keys":   "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: application/json\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}",
		"Idempotency-Key of NUL": "POST /v1/events HTTP/1.1\r\n" + authorized + "Content-Type: application/json\r\nIdempotency-Key: \x00\r\nContent-Length: 2\r\n\r\n{}",
	} {
		response, body := exchange(t, s, request)
		if response.StatusCode < 400 || response.StatusCode >= 500 || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: got %d %s: %s", name, response.StatusCode, response.Header.Get("Content-Type"), body)
		}
	}
	if after := acme.get("/v1/events").want(http.StatusOK).body; string(after) != string(before) {
		t.Errorf("something was written: %s", after)
	}
}

// A sender that stops in the middle of a body leaves nothing behind, and the service serves on.
func TestHalfARequestLeavesNothing(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	for range 20 {
		connection, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(connection, "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"eventType\":", platformKey)
		_ = connection.Close()
	}
	if list := into[page[acceptedEvent]](acme.get("/v1/events").want(http.StatusOK)).Data; len(list) != 0 {
		t.Errorf("%d events", len(list))
	}
	acme.emit(acme.visit("visit_report.approved", nil))
}
