package egress

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ordinavo/webhooks/domain/delivery"
)

const short = 60 * time.Millisecond

// inTime is enough for the head of an answer, on a machine that does much else.
const inTime = 3 * time.Second

func say(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

// hold waits until the client has gone.
func hold(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// repeat writes until the client has gone.
func repeat(conn net.Conn, text string) {
	for {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

func reset(conn net.Conn) { _ = conn.(*net.TCPConn).SetLinger(0) }

func TestHostileReceivers(t *testing.T) {
	for _, test := range []struct {
		name    string
		timeout time.Duration
		answer  func(net.Conn)
		want    delivery.Kind
		status  int
	}{
		{"black hole", inTime, hold, delivery.KindTimeout, 0},
		{"hangs up", long, func(net.Conn) {}, delivery.KindConnectionLost, 0},
		{"resets before the answer", long, reset, delivery.KindConnectionLost, 0},
		{"half a status line", long, func(c net.Conn) { say(c, "HTTP/1.1 2") }, delivery.KindConnectionLost, 0},
		{"half a header", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nX: ") }, delivery.KindConnectionLost, 0},
		{"not HTTP", long, func(c net.Conn) { say(c, "SSH-2.0-OpenSSH_9.6\r\n") }, delivery.KindConnectionLost, 0},
		{"HTTP/0.9", long, func(c net.Conn) { say(c, "<html>ok</html>") }, delivery.KindConnectionLost, 0},
		{"negative length", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n") }, delivery.KindConnectionLost, 0},
		{"two lengths", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
		}, delivery.KindConnectionLost, 0},
		{"body too short", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf") }, delivery.KindConnectionLost, 200},
		{"reset in the body", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			reset(c)
		}, delivery.KindConnectionLost, 200},
		{"bad chunk", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		}, delivery.KindConnectionLost, 200},
		{"body never ends in time", inTime, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			hold(c)
		}, delivery.KindTimeout, 200},
		{"broken body after a failure", inTime, func(c net.Conn) {
			say(c, "HTTP/1.1 410 Gone\r\nContent-Length: 9\r\n\r\nhalf")
			hold(c)
		}, delivery.KindHTTPStatus, 410},
		{"breaks off after 63 KiB", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"+strings.Repeat("x", 63<<10))
		}, delivery.KindConnectionLost, 200},
		{"breaks off after 65 KiB", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"+strings.Repeat("x", 65<<10))
		}, delivery.KindSucceeded, 200},
		{"endless body", long, func(c net.Conn) { say(c, "HTTP/1.0 200 OK\r\n\r\n"); repeat(c, strings.Repeat("x", 4096)) }, delivery.KindSucceeded, 200},
		{"endless chunks", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			repeat(c, "4\r\nabcd\r\n")
		}, delivery.KindSucceeded, 200},
		{"endless interim answers", long, func(c net.Conn) { repeat(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") }, delivery.KindResponseTooLarge, 0},
		{"a few interim answers", long, func(c net.Conn) {
			say(c, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 5)+"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}, delivery.KindSucceeded, 200},
		{"one interim answer more", long, func(c net.Conn) {
			say(c, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 6)+"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}, delivery.KindResponseTooLarge, 0},
		{"headers of 15 KiB", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "+strings.Repeat("x", 15<<10)+"\r\n\r\n")
		}, delivery.KindSucceeded, 200},
		{"headers of 17 KiB", long, func(c net.Conn) {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "+strings.Repeat("x", 17<<10)+"\r\n\r\n")
		}, delivery.KindResponseTooLarge, 0},
		{"endless header", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nX: "); repeat(c, strings.Repeat("x", 4096)) }, delivery.KindResponseTooLarge, 0},
		{"endless headers", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\n"); repeat(c, "X-Header: value\r\n") }, delivery.KindResponseTooLarge, 0},
		{"endless status line", long, func(c net.Conn) { repeat(c, "HTTP/1.1 200 "+strings.Repeat("O", 4096)) }, delivery.KindResponseTooLarge, 0},
		{"redirect", long, func(c net.Conn) { say(c, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") }, delivery.KindRedirect, 302},
		{"upgrade", long, func(c net.Conn) {
			say(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			hold(c)
		}, delivery.KindHTTPStatus, 101},
		{"HTTP/1.0", long, func(c net.Conn) { say(c, "HTTP/1.0 200 OK\r\n\r\nok") }, delivery.KindSucceeded, 200},
		{"NUL in a header", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n") }, delivery.KindConnectionLost, 0},
		{"escape code in a header", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nX: \x1b[31m\r\nContent-Length: 0\r\n\r\n") }, delivery.KindConnectionLost, 0},
		{"bare CR in a header", long, func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n") }, delivery.KindConnectionLost, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client, dials := newClient(t, Config{})
			request := post(raw(t, func(conn net.Conn, _ string) { test.answer(conn) }))
			request.Timeout = test.timeout
			got := client.Send(t.Context(), request)
			wantKind(t, got, test.want)
			if got.Status != test.status || len(got.ResponseBody) > maxBodyKept || len(dials.dialled()) != 1 {
				t.Errorf("status %d, %d bytes kept, %d dials", got.Status, len(got.ResponseBody), len(dials.dialled()))
			}
			if strings.Contains(got.Error, "127.0.0.1") || len(got.Error) > 100 {
				t.Errorf("error %q", got.Error)
			}
			client.Close() // before the receivers are waited for: a kept connection would hold them
		})
	}
}

func TestDrippingAnswerTimesOut(t *testing.T) {
	for name, head := range map[string]string{"headers": "HTTP/1.1 200 OK\r\nX: ", "body": "HTTP/1.1 200 OK\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			client, _ := newClient(t, Config{})
			request := post(raw(t, func(conn net.Conn, _ string) {
				say(conn, head)
				drip := time.NewTicker(5 * time.Millisecond)
				defer drip.Stop()
				for range drip.C {
					if _, err := io.WriteString(conn, "x"); err != nil {
						return
					}
				}
			}))
			request.Timeout = short
			wantKind(t, client.Send(t.Context(), request), delivery.KindTimeout)
		})
	}
}

func TestBodyIsKeptUpToItsBound(t *testing.T) {
	for _, size := range []int{0, 1, maxBodyKept - 1, maxBodyKept, maxBodyKept + 1, maxBodyRead, maxBodyRead + 1, 1 << 20} {
		body := bytes.Repeat([]byte("ä"), size/2+1)[:size]
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
		client, dials := newClient(t, Config{})
		for range 2 {
			got := send(t, client, server.URL)
			wantKind(t, got, delivery.KindSucceeded)
			if !bytes.Equal(got.ResponseBody, body[:min(size, 4<<10)]) { // contract, section 5
				t.Errorf("size %d: kept %d bytes", size, len(got.ResponseBody))
			}
		}
		if want := 1; size < maxBodyRead && len(dials.dialled()) != want {
			t.Errorf("size %d: %d dials", size, len(dials.dialled()))
		} else if size > maxBodyRead && len(dials.dialled()) != 2 {
			t.Errorf("size %d: the connection with the unread rest was used again", size)
		}
	}
}

func TestCompressedAnswerStaysCompressed(t *testing.T) {
	var bomb bytes.Buffer
	writer := gzip.NewWriter(&bomb)
	_, _ = writer.Write(make([]byte, 1<<20))
	_ = writer.Close()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("compression was asked for")
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	client, _ := newClient(t, Config{})
	if got := send(t, client, server.URL); !bytes.Equal(got.ResponseBody, bomb.Bytes()) {
		t.Errorf("kept %d bytes of %d", len(got.ResponseBody), bomb.Len())
	}
}

func TestRedirectLoopIsNotFollowed(t *testing.T) {
	calls := 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
	})
	client, _ := newClient(t, Config{})
	wantKind(t, send(t, client, server.URL), delivery.KindRedirect)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestHeadersAreKeptHarmless(t *testing.T) {
	client, _ := newClient(t, Config{})
	got := send(t, client, raw(t, func(conn net.Conn, _ string) {
		say(conn, "HTTP/1.1 200 OK\r\nX-Bytes: \xff\xc2\x9b\r\nX-Fold: a\r\n b\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n")
	}))
	wantKind(t, got, delivery.KindSucceeded)
	want := map[string]string{"X-Bytes": "\ufffd\ufffd", "X-Fold": "a b", "X-Two": "1, 2", "Content-Length": "0"}
	if !maps.Equal(got.ResponseHeaders, want) {
		t.Errorf("kept %q, want %q", got.ResponseHeaders, want)
	}
}

func TestKeepHeaders(t *testing.T) {
	got := keepHeaders(http.Header{"X": {"a\r\nb\x00\x1b[0m\u0085", "c"}, "Y": {"\xff"}, "Z": {"ä"}})
	if got["X"] != "a\ufffd\ufffdb\ufffd\ufffd[0m\ufffd, c" || got["Y"] != "\ufffd" || got["Z"] != "ä" {
		t.Errorf("got %q", got)
	}
	many := http.Header{}
	for i := range 200 {
		many[fmt.Sprintf("X-%03d", i)] = []string{"v"}
	}
	if got := keepHeaders(many); len(got) != 64 || got["X-000"] != "v" {
		t.Errorf("%d headers kept", len(got))
	}
	got = keepHeaders(http.Header{"A": {strings.Repeat("ä", 3000)}, "Bb": {strings.Repeat("ü", 3000)}, "C": {"lost"}})
	size := 0
	for name, value := range got {
		size += len(name) + len(value)
		if !utf8.ValidString(value) {
			t.Errorf("%s is cut within a character", name)
		}
	}
	if size > 8<<10 || size < 8<<10-8 || len(got["A"]) != 6000 {
		t.Errorf("%d bytes kept", size)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 5 ": 5 * time.Second, "86400": delivery.MaxRetryAfter, "86401": delivery.MaxRetryAfter,
		"31536000": delivery.MaxRetryAfter, "99999999999999999999999": delivery.MaxRetryAfter, "-1": 0, "+5": 0, "1.5": 0, "soon": 0, "٥": 0,
		"Thu, 18 Jun 2026 16:41:00 GMT": time.Minute, "Thu, 18 Jun 2026 16:39:00 GMT": 0,
		"Fri, 18 Jun 2027 16:40:00 GMT": delivery.MaxRetryAfter, "Thursday, 18-Jun-26 16:41:00 GMT": time.Minute,
		"Thu Jun 18 16:41:00 2026": time.Minute, "2026-06-18T16:41:00Z": 0, "Fri, 31 Dec 9999 23:59:59 GMT": delivery.MaxRetryAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

func TestRetryAfterIsReadFromFailuresAlone(t *testing.T) {
	for status, want := range map[int]time.Duration{200: 0, 429: time.Minute, 503: time.Minute, 500: time.Minute, 302: time.Minute} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(status)
		})
		client, _ := newClient(t, Config{})
		if got := send(t, client, server.URL); got.RetryAfter != want {
			t.Errorf("%d: got %v, want %v", status, got.RetryAfter, want)
		}
	}
}
