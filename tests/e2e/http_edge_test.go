package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// conversation writes raw bytes to the service and reads all that it says until it closes the connection.
func conversation(t *testing.T, s *service, request string) string {
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
	said, err := io.ReadAll(connection)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%.80q: the connection stays open after %.60q", request, said)
	}
	return string(said)
}

// Two readers of one connection, a proxy and this service, must never see different requests in it: what they could
// read differently is refused, and the connection ends, whatever is behind it.
func TestNoRequestIsSmuggled(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	const smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	head := "Host: x\r\nAuthorization: Bearer " + platformKey + "\r\nX-Ordinavo-Tenant: " + acme.id + "\r\n"
	post := "POST /v1/events HTTP/1.1\r\n" + head + "Content-Type: application/json\r\n"
	event, err := json.Marshal(acme.visit("visit_report.approved", nil))
	if err != nil {
		t.Fatal(err)
	}
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(event), event)
	for name, request := range map[string]string{
		"LF behind the last chunk":    post + "Transfer-Encoding: chunked\r\n\r\n" + chunk + "0\r\n\n",
		"length and chunks":           post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and length":           post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"two lengths":                 post + "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
		"two equal lengths":           post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
		"a list of lengths":           post + "Content-Length: 2, 2\r\n\r\n{}",
		"a signed length":             post + "Content-Length: +2\r\n\r\n{}",
		"space before the colon":      post + "Content-Length : 2\r\n\r\n{}",
		"chunks with such a space":    post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"another coding":              post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"two codings":                 post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"no coding":                   post + "Transfer-Encoding: identity\r\n\r\n",
		"two headers of codings":      post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"a folded coding":             post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"a folded header":             "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
		"a bare LF":                   "GET /healthz HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
		"LF behind the request line":  "GET /healthz HTTP/1.1\nHost: x\r\n\r\n",
		"LF behind every line":        "GET /healthz HTTP/1.1\nHost: x\n\n",
		"LF behind the headers":       "GET /healthz HTTP/1.1\r\nHost: x\r\n\n",
		"a bare CR":                   "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n\r\n",
		"CR behind the request line":  "GET /healthz HTTP/1.1\rHost: x\r\n\r\n",
		"CR within the request line":  "GET /healthz\r HTTP/1.1\r\nHost: x\r\n\r\n",
		"CR CR LF":                    "GET /healthz HTTP/1.1\r\r\nHost: x\r\n\r\n",
		"CR CR LF behind a header":    "GET /healthz HTTP/1.1\r\nHost: x\r\r\n\r\n",
		"a name with a space":         "GET /healthz HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n",
		"no name":                     "GET /healthz HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
		"no colon":                    "GET /healthz HTTP/1.1\r\nHost: x\r\nNothing\r\n\r\n",
		"a NUL":                       "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n",
		"HTTP/1.0 with chunks":        strings.Replace(post, "1.1", "1.0", 1) + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"chunks that end in LF":       post + "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
		"a size that ends in LF":      post + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
		"a chunk that ends in LF":     post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n",
		"a chunk that ends in CR":     post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r0\r\n\r\n",
		"an extension with LF":        post + "Transfer-Encoding: chunked\r\n\r\n2;a\n{}\r\n0\r\n\r\n",
		"an extension with CR":        post + "Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\n{}\r\n0\r\n\r\n",
		"a last size that ends in LF": post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\n\r\n",
		"a trailer that ends in LF":   post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\n\r\n",
		"a trailer with CR":           post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: b\rc\r\n\r\n",
		"a chunk of 2^64-1":           post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n0\r\n\r\n",
		"a chunk of 0x2":              post + "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
		"a tenant behind the chunks":  strings.Replace(post, "X-Ordinavo-Tenant", "X-Other", 1) + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Ordinavo-Tenant: " + acme.id + "\r\n\r\n",
		"no host":                     "GET /healthz HTTP/1.1\r\n\r\n",
		"two hosts":                   "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"another version":             "GET /healthz HTTP/1.9\r\nHost: x\r\n\r\n",
		"two keys":                    "GET /v1/event-types HTTP/1.1\r\n" + head + "Authorization: Bearer ord_live_other\r\n\r\n",
		"two tenants":                 "GET /v1/events HTTP/1.1\r\n" + head + "X-Ordinavo-Tenant: other\r\n\r\n",
	} {
		said := conversation(t, s, request+smuggled)
		if !strings.HasPrefix(said, "HTTP/1.1 400 ") || strings.Contains(said, `"status":"ok"`) || strings.Count(said, "HTTP/1.1 ") > 2 {
			t.Errorf("%s: the service said %q", name, said)
		}
	}
	if list := into[page[acceptedEvent]](acme.get("/v1/events").want(http.StatusOK)).Data; len(list) != 0 {
		t.Errorf("%d events were accepted", len(list))
	}
}

// Where nothing but line ends came there is no request to answer, only a connection to end.
func TestALoneLFEndsTheConnection(t *testing.T) {
	t.Parallel()
	if said := conversation(t, sharedService(t), "\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); said != "" {
		t.Errorf("the service said %q", said)
	}
}

// A sound request is not refused for being unusual: several on one connection, by HTTP/1.0, in chunks with extensions.
func TestSoundHTTPIsTaken(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	const bye = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for name, test := range map[string]struct {
		request string
		answers int
	}{
		"three at once":    {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" + bye, 3},
		"HTTP/1.0":         {"GET /healthz HTTP/1.0\r\n\r\n", 1},
		"an absolute URL":  {"GET http://other.example/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1},
		"chunks":           {"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n" + bye, 2},
		"chunks of LF":     {"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n{\n\r\n1\r\n\n\r\n2 \r\n\n}\r\n000;c\r\n\r\n" + bye, 2},
		"a body of LF":     {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\n\n\r\n\n" + bye, 2},
		"HEAD with a body": {"HEAD /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\n\n\r\n\n" + bye, 2},
		"empty lines":      {"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\r\n" + bye, 2},
		"an empty header":  {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nConnection: close\r\n\r\n", 1},
		"two of some kind": {"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n", 1},
	} {
		if said := conversation(t, s, test.request); strings.Count(said, "HTTP/1.1 200 OK") != test.answers {
			t.Errorf("%s: the service said %q, want %d answers", name, said, test.answers)
		}
	}
}

// Whoever holds ten thousand idle connections keeps nobody else out, and costs little.
func TestIdleConnectionsHinderNobody(t *testing.T) {
	const idle = 10_000
	s := start(t, t.TempDir(), "GOMEMLIMIT=1GiB") // a process takes as many as its memory allows
	before := residentBytes(t, s)
	for i := range idle {
		connection, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		if i%2 == 0 {
			continue // this one never says anything
		}
		fmt.Fprint(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = connection.SetReadDeadline(time.Now().Add(patience))
		if _, err := connection.Read(make([]byte, 4096)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	newTenant(t, s).get("/v1/events").want(http.StatusOK)
	each := (residentBytes(t, s) - before) / idle
	t.Logf("%d bytes for each idle connection", each)
	if each > 96<<10 { // with the race detector; without it, it is 8 KiB
		t.Errorf("an idle connection costs %d bytes", each)
	}
}

// Where memory is short few connections are taken, and those who listen for a tenant leave most of them to others.
func TestListenersLeaveRoomWhereMemoryIsShort(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "GOMEMLIMIT=32MiB")
	acme := newTenant(t, s)
	listen := func() string {
		connection, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		fmt.Fprintf(connection, "GET /v1/deliveries/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Ordinavo-Tenant: %s\r\n\r\n", platformKey, acme.id)
		_ = connection.SetReadDeadline(time.Now().Add(patience))
		line, err := bufio.NewReader(connection).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line
	}
	for i := range 32 { // a sixteenth of 512
		if said := listen(); !strings.Contains(said, " 200 ") {
			t.Fatalf("listener %d: %s", i, said)
		}
	}
	if said := listen(); !strings.Contains(said, " 429 ") {
		t.Errorf("one more: %s", said)
	}
}

// residentBytes is the memory that the process has now.
func residentBytes(t *testing.T, s *service) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("the process has no memory")
	return 0
}
