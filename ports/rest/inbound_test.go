package rest

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ordinavo/webhooks/adapters/telemetry"
)

// Whoever has no key fills no memory with halves of bodies: beyond the room there is, they get 503, and small requests pass
// still. The room is there again once they are gone.
func TestWhatIsReceivedIsBounded(t *testing.T) {
	t.Parallel()
	a := NewWaiting(Dependencies{Tracer: noop.NewTracerProvider().Tracer(""), WithTraceParent: telemetry.WithTraceParent, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	a.room = newRoom(1 << 20)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve(listener) }()
	t.Cleanup(func() {
		if err := a.app.Shutdown(); err != nil {
			t.Error(err)
		}
		<-served
	})
	const fixed, chunked = "Content-Length: 900000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"
	body, chunks := strings.Repeat("x", 900_000), strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 220)
	holder := sending(t, listener, fixed+body[1:])
	until(t, func() bool { return a.room.left.Load() < 1<<20-800_000 })
	for name, request := range map[string]string{"a body": fixed + body, "chunks": chunked + chunks + "0\r\n\r\n"} {
		if status, retryAfter := answer(t, sending(t, listener, request)); status != http.StatusServiceUnavailable || retryAfter == "" {
			t.Errorf("%s beyond the room: %d, Retry-After %q", name, status, retryAfter)
		}
	}
	if status, _ := answer(t, sending(t, listener, "Content-Length: 20000\r\n\r\n"+body[:20_000])); status != http.StatusMethodNotAllowed {
		t.Errorf("a small request: %d", status)
	}
	_ = holder.Close()
	until(t, func() bool { return a.room.left.Load() == 1<<20 })
	for name, request := range map[string]string{"a body": fixed + body, "chunks": chunked + chunks + "0\r\n\r\n"} {
		if status, _ := answer(t, sending(t, listener, request)); status != http.StatusMethodNotAllowed {
			t.Errorf("%s when there is room again: %d", name, status)
		}
	}
	until(t, func() bool { return a.room.left.Load() == 1<<20 })
}

// TestWhereMemoryIsShortLessIsReceived: of a container with 128 MiB, whoever has no key could else take twice as much.
func TestWhereMemoryIsShortLessIsReceived(t *testing.T) {
	t.Parallel()
	for memory, want := range map[int64]int64{0: 256 << 20, 64 << 20: maxRead, 102 << 20: 102 << 20 / 8, 1 << 30: 128 << 20, 4 << 30: 256 << 20, math.MaxInt64: 256 << 20} {
		a := NewWaiting(Dependencies{Tracer: noop.NewTracerProvider().Tracer(""), WithTraceParent: telemetry.WithTraceParent, Log: slog.New(slog.DiscardHandler), Now: time.Now, Memory: memory})
		if got := a.room.left.Load(); got != want {
			t.Errorf("of %d MiB %d are held, want %d", memory>>20, got, want)
		}
		if got, most := a.app.Server().Concurrency, cmp.Or(memory, math.MaxInt64)/(64<<10); int64(got) != min(16<<10, most) {
			t.Errorf("with %d MiB it takes %d connections", memory>>20, got)
		}
	}
}

// until waits for what another goroutine does.
func until(t *testing.T, done func() bool) {
	t.Helper()
	often, patience := time.NewTicker(time.Millisecond), time.After(90*time.Second)
	defer often.Stop()
	for !done() {
		select {
		case <-often.C:
		case <-patience:
			t.Fatal("it does not come to that")
		}
	}
}

// sending sends a request that no route takes, as far as the service reads it.
func sending(t *testing.T, listener net.Listener, rest string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(90 * time.Second))
	_, _ = fmt.Fprintf(conn, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s", rest) // the service may close it meanwhile
	return conn
}

func answer(t *testing.T, conn net.Conn) (status int, retryAfter string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode, response.Header.Get("Retry-After")
}

// exhausted is a listener of a process that may open no more files for a while.
type exhausted struct {
	net.Listener
	left int
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.left--; l.left >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// No room for another connection is not the end of the service: those that it has go on, and others are taken when there is.
func TestServingOutlivesALackOfFiles(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	a := NewWaiting(Dependencies{Tracer: noop.NewTracerProvider().Tracer(""), WithTraceParent: telemetry.WithTraceParent, Log: log, Now: time.Now})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		defer func() { _ = listener.Close() }() // whoever waits is told
		served <- a.Serve(&exhausted{listener, 2})
	}()
	if status, _ := answer(t, sending(t, listener, "Content-Length: 2\r\n\r\n{}")); status != http.StatusMethodNotAllowed {
		t.Errorf("it answers %d", status)
	}
	if err := a.app.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := strings.Count(logged.String(), "too many open files"); n != 1 {
		t.Errorf("%d lines say why:\n%s", n, logged.String())
	}
}

// An operator is told that connections are turned away, of which no route hears.
func TestTooManyConnectionsAreTold(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelError}))
	a := NewWaiting(Dependencies{Tracer: noop.NewTracerProvider().Tracer(""), WithTraceParent: telemetry.WithTraceParent, Log: log, Now: time.Now, Memory: 2 * perConnection})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve(listener) }()
	for range 2 {
		sending(t, listener, "") // half a request
	}
	for range 2 {
		if status, _ := answer(t, sending(t, listener, "Content-Length: 2\r\n\r\n{}")); status != http.StatusServiceUnavailable {
			t.Errorf("it answers %d", status)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = a.app.ShutdownWithContext(ctx) // the connections are still open
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := strings.Count(logged.String(), "connections are refused"); n != 1 || !strings.Contains(logged.String(), "open=2") {
		t.Errorf("%d lines say why:\n%s", n, logged.String())
	}
}
