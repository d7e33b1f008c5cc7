package rest_test

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// converse serves the harness's API, writes the bytes to it, and reads all that it says until it closes the connection.
func converse(t *testing.T, requests string) string {
	t.Helper()
	h := newHarness(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.api.Serve(listener) }()
	defer func() {
		if err := h.api.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-served
	}()
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Now().Add(90 * time.Second))
	if _, err := io.WriteString(connection, requests); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(connection)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
		t.Errorf("the connection stays open after %q", said)
	}
	return string(said)
}

const lastRequest = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// A form's reader stops at the form's end. What the body has behind it is still the body, and no request.
func TestWhatIsBehindAFormIsNoRequest(t *testing.T) {
	t.Parallel()
	form := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n"
	body := form + strings.Repeat(" ", 4096-len(form)) + "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n" // 4096 is what the reader takes at once
	head := "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	said := converse(t, head+body+lastRequest)
	if strings.Count(said, "HTTP/1.1 ") != 2 || !strings.HasPrefix(said, "HTTP/1.1 400 ") || !strings.Contains(said, "HTTP/1.1 200 OK") {
		t.Errorf("two requests, and the service said %q", said)
	}
}

// Nobody knows where the next request begins behind one that two readers could read differently, whatever its method.
func TestAnUnknownMethodDoesNotHideFraming(t *testing.T) {
	t.Parallel()
	head := "BREW /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
	if said := converse(t, head+lastRequest); strings.Count(said, "HTTP/1.1 ") != 1 || !strings.HasPrefix(said, "HTTP/1.1 400 ") {
		t.Errorf("the service said %q", said)
	}
	sound := "BREW /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"
	if said := converse(t, sound+lastRequest); strings.Count(said, "HTTP/1.1 ") != 2 || !strings.HasPrefix(said, "HTTP/1.1 405 ") {
		t.Errorf("the service said %q", said)
	}
}

// Proxies and clients that do not know a body's length before it ends send an empty one in chunks, too.
func TestAnEmptyBodyInChunksIsSound(t *testing.T) {
	t.Parallel()
	const head = "POST /v1/nowhere HTTP/1.1\r\nHost: x\r\n"
	for request, answer := range map[string]string{
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                                "HTTP/1.1 404 ",
		"transfer-encoding:Chunked \r\n\r\n000;a=b\r\n\r\n":                          "HTTP/1.1 404 ",
		"Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\n":                      "HTTP/1.1 400 ",
		"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\n\r\n":           "HTTP/1.1 400 ",
		"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n":           "HTTP/1.1 400 ",
		"Transfer-Encoding: identity\r\n\r\n":                                        "HTTP/1.1 400 ",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n": "HTTP/1.1 400 ",
	} {
		said := converse(t, head+request+lastRequest)
		sound := strings.Contains(said, `{"status":"ok"}`)
		if !strings.HasPrefix(said, answer) || sound != strings.Contains(answer, "404") {
			t.Errorf("%q: the service said %q, want %s", request, said, answer)
		}
	}
}

func TestAConnectionIsClosedHoweverThatIsSpelled(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"Connection: close", "Connection: Close", "connection:CLOSE", "Connection: TE, close", "Connection: TE\r\nConnection: close",
		"Connection: close\r\nConnection: TE"} {
		if said := converse(t, "GET /nowhere HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n"+asked+"\r\n\r\n"); !strings.Contains(said, "\r\nConnection: close\r\n") {
			t.Errorf("%s: the service said %q", asked, said)
		}
	}
	if said := converse(t, "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"+lastRequest); strings.Count(said, "HTTP/1.1 ") != 2 {
		t.Errorf("the service said %q", said)
	}
}
