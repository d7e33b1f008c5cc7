package rest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace/noop"
	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/adapters/telemetry"
)

// serveEcho serves an API that answers what is sent to /echo.
func serveEcho(t *testing.T, patience time.Duration) *watched {
	t.Helper()
	a := newAPI(Dependencies{Tracer: noop.NewTracerProvider().Tracer(""), WithTraceParent: telemetry.WithTraceParent, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	a.app.Server().ReadTimeout = patience
	a.app.Post("/echo", func(c *fiber.Ctx) error { return c.Send(c.Body()) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, served := &watched{Listener: listener}, make(chan error, 1)
	go func() { served <- a.Serve(w) }()
	t.Cleanup(func() {
		if err := a.app.Shutdown(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return w
}

// watched knows how many bytes the service has read, how many connections it waits for, and how many it has closed.
type watched struct {
	net.Listener
	read, waiting, closed atomic.Int64
}

func (w *watched) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	return &watchedConn{Conn: conn, of: w}, err
}

type watchedConn struct {
	net.Conn
	of   *watched
	once sync.Once
}

func (c *watchedConn) Read(p []byte) (int, error) {
	c.of.waiting.Add(1)
	n, err := c.Conn.Read(p)
	c.of.waiting.Add(-1)
	c.of.read.Add(int64(n))
	return n, err
}

func (c *watchedConn) Close() error {
	c.once.Do(func() { c.of.closed.Add(1) })
	return c.Conn.Close()
}

// say sends to the service, and hears what it answers.
func say(t *testing.T, w *watched, request string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", w.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(90 * time.Second))
	_, _ = io.WriteString(conn, request) // the service may close it meanwhile
	return conn, bufio.NewReader(conn)
}

// hear reads an answer's status, type and body.
func hear(t *testing.T, from *bufio.Reader) (status int, contentType, body string) {
	t.Helper()
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(text)
}

const echo = "POST /echo HTTP/1.1\r\nHost: x\r\n"

// Memory grows with what comes and not with what is announced, however that is done: anybody can announce.
func TestWhatIsAnnouncedTakesNoMemory(t *testing.T) {
	const connections, bound = 16, 8 << 20
	for _, announcement := range []string{
		"Content-Length: 12582912\r\n\r\n{",
		"Transfer-Encoding: chunked\r\n\r\nbffff0\r\n{",
		"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nb00000;x=y\r\n{",
		"Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 2*maxHeader) + "\r\n{\r\nb00000\r\n{",
		"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nb00000\r\n{",
		"Transfer-Encoding: identity\r\nContent-Length: 12582912\r\n\r\n{",
		"Content-Length:\r\n 12582912\r\n\r\n{",
		"Transfer-Encoding:\r\n identity\r\nContent-Length: 12582912\r\n\r\n{",
		"Expect: 100-continue\r\nContent-Length: 12582912\r\n\r\n{",
	} {
		w := serveEcho(t, time.Minute)
		if took := Allocated(func() {
			for range connections {
				say(t, w, echo+announcement)
			}
			until(t, func() bool {
				return w.read.Load() == int64(connections*len(echo+announcement)) && w.waiting.Load()+w.closed.Load() == connections
			})
		}); took > bound {
			t.Errorf("%.60q: %d connections took %d bytes", announcement, connections, took)
		}
	}
}

// What is read ahead changes nothing for who sends it: a body of any kind arrives whole, what was asked before it is answered before it is
// there, the connection stays, and who waits to be told to continue is told so once.
func TestLargeBodiesArriveWhole(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 10_000)
	chunks := fmt.Sprintf("%x;a=b\r\n%s\r\n1\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 50_000, body[:50_000], body[50_000:50_001], 49_999, body[50_001:])
	w := serveEcho(t, time.Minute)
	for name, c := range map[string]struct{ head, body string }{
		"a length":              {"Content-Length: 100000\r\n\r\n", body},
		"chunks":                {"Transfer-Encoding: chunked\r\n\r\n", chunks},
		"a length, once told":   {"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n", body},
		"chunks, once told":     {"expect:100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", chunks},
		"a length of a form":    {"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000\r\n\r\n", body},
		"a length, of HTTP/1.0": {"", body},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request, want := echo+c.head, http.StatusOK
			switch {
			case c.head == "":
				request = "POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 100000\r\n\r\n"
			case strings.Contains(c.head, "form-data"):
				want = http.StatusBadRequest
			}
			small := echo + "Content-Length: 2\r\n\r\n{}"
			conn, from := say(t, w, small+request)
			for range 2 {
				if status, _, got := hear(t, from); status != http.StatusOK || got != "{}" {
					t.Fatalf("what was asked before: %d %q", status, got)
				}
				if strings.Contains(strings.ToLower(c.head), "100-continue") {
					if told, err := from.Peek(len(continueAnswer)); err != nil || !bytes.Equal(told, continueAnswer) {
						t.Fatalf("%q (%v)", told, err)
					}
					_, _ = from.Discard(len(continueAnswer))
				}
				_, _ = io.WriteString(conn, c.body+small+request)
				if status, _, got := hear(t, from); status != want || want == http.StatusOK && got != body {
					t.Fatalf("status %d, %d bytes", status, len(got))
				}
			}
		})
	}
}

// Who announces and does not send hears what it would of a body that is read as it comes.
func TestWhatDoesNotComeIsRefused(t *testing.T) {
	t.Parallel()
	const soon, late = 200 * time.Millisecond, time.Minute
	const fixed, chunked = "Content-Length: 100000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n8001\r\n{"
	mebibyte := "100000\r\n" + strings.Repeat("x", 1<<20) + "\r\n"
	for name, c := range map[string]struct {
		request  string
		patience time.Duration
		halves   bool // closes its side
		want     int
	}{
		"a body that does not come":       {fixed, soon, false, http.StatusRequestTimeout},
		"a chunk that does not come":      {chunked, soon, false, http.StatusRequestTimeout},
		"half a body":                     {fixed, late, true, http.StatusBadRequest},
		"half a chunk":                    {chunked, late, true, http.StatusBadRequest},
		"nobody to tell to continue":      {"Expect: 100-continue\r\n" + fixed, late, true, http.StatusBadRequest},
		"more than is read":               {"Content-Length: 12582913\r\n\r\n", late, false, http.StatusRequestEntityTooLarge},
		"a chunk of more than is read":    {"Transfer-Encoding: chunked\r\n\r\nc00001\r\n", late, false, http.StatusRequestEntityTooLarge},
		"chunks of more than is read":     {"Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(mebibyte, 12) + "8001\r\n", late, false, http.StatusRequestEntityTooLarge},
		"more than is taken":              {"Content-Length: 12582912\r\n\r\n" + strings.Repeat("x", 12<<20), late, false, http.StatusRequestEntityTooLarge},
		"chunks of more than is taken":    {"Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(mebibyte, 12) + "0\r\n\r\n", late, false, http.StatusRequestEntityTooLarge},
		"a length that is no number":      {"Content-Length: 100000x\r\n\r\n{", late, false, http.StatusBadRequest},
		"a chunk that does not end":       {"Transfer-Encoding: chunked\r\n\r\n8001\r\n" + strings.Repeat("x", 0x8001) + "xx\r\n0\r\n\r\n", late, false, http.StatusBadRequest},
		"fields behind chunks that came":  {"Transfer-Encoding: chunked\r\n\r\n8001\r\n" + strings.Repeat("x", 0x8001) + "\r\n0\r\nX-A: b\r\n\r\n", late, false, http.StatusBadRequest},
		"a bare LF behind a chunk":        {"Transfer-Encoding: chunked\r\n\r\n8001\r\n" + strings.Repeat("x", 0x8001) + "\r\n0\n\r\n", late, false, http.StatusBadRequest},
		"a length and chunks that came":   {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n8001\r\n" + strings.Repeat("x", 0x8001) + "\r\n0\r\n\r\n", late, false, http.StatusBadRequest},
		"no coding, and a body that came": {"Transfer-Encoding: identity\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40_000), late, false, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, from := say(t, serveEcho(t, c.patience), echo+c.request)
			if c.halves {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			status, contentType, body := hear(t, from)
			if status == http.StatusContinue {
				status, contentType, body = hear(t, from)
			}
			if status != c.want || contentType != contentTypeProblem {
				t.Errorf("%d %s %s, want %d", status, contentType, body, c.want)
			}
		})
	}
}

// pieces is a connection on which bytes come as they are drawn, and nothing but them.
type pieces struct {
	net.Conn
	t    *rapid.T
	left []byte
}

func (c *pieces) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left[:rapid.IntRange(1, len(c.left)).Draw(c.t, "piece")])
	c.left = c.left[n:]
	return n, nil
}

func (c *pieces) Write(p []byte) (int, error) { return len(p), nil }

// However the bytes come, and however they are read, they are read on as they came, but for the end of a line that announces what
// is not there yet.
func TestReadingAheadChangesNoByte(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("{\n\r\n}", 20_000)
	all := append(requests,
		"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n"+body,
		"POST / HTTP/1.1\r\nContent-Length: 40000\r\nExpect: 100-continue\r\n\r\n"+body[:40_000],
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9c40;a\r\n"+body[:40_000]+"\r\n2\r\n{}\r\nc350\r\n"+body[:50_000]+"\r\n0\r\n\r\n",
	)
	rapid.Check(t, func(t *rapid.T) {
		sent := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(all), 1, 4).Draw(t, "requests"), ""))
		from := &pieces{t: t, left: sent[:rapid.IntRange(len(sent)/2, len(sent)).Draw(t, "here")]}
		here := len(from.left)
		c := &counted{Conn: from, room: newRoom(maxHeld)}
		var got []byte
		var err error
		for n := 0; err == nil; got = append(got, got[len(got):len(got)+n]...) {
			got = append(got, make([]byte, rapid.SampledFrom([]int{1, 100, maxHeader, maxBlock}).Draw(t, "size"))...)[:len(got)]
			n, err = c.Read(got[len(got):cap(got)])
		}
		if !bytes.HasPrefix(sent, got) || len(got) < here && (sent[len(got)] != '\n' || !c.lines.due) || c.lines.wrong != "" {
			t.Fatalf("%d of %d bytes read on, due %v, wrong %q", len(got), here, c.lines.due, c.lines.wrong)
		}
	})
}
