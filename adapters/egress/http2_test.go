package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// frames serves HTTP/2 frame by frame: begin speaks first, and answer hears of each request's headers.
func frames(t *testing.T, begin func(*http2.Framer), answer func(f *http2.Framer, stream uint32)) (url string, roots *x509.CertPool) {
	t.Helper()
	return connections(t, func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		f := http2.NewFramer(conn, conn)
		begin(f)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if headers, ok := frame.(*http2.HeadersFrame); ok {
				answer(f, headers.StreamID)
			}
		}
	})
}

// connections has each connection served until the function ends, or the test does. It is one of HTTP/2 unless the client wants none.
func connections(t *testing.T, serve func(net.Conn)) (url string, roots *x509.CertPool) {
	t.Helper()
	cert := certificate(t, func(*x509.Certificate) {})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(t.Context(), func() { conn.Close() }) // the client keeps it for a while, in hope of an answer
			open.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { listener.Close(); open.Wait() })
	roots = x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return "https://" + listener.Addr().(*net.TCPAddr).String() + "/", roots
}

func sayStatus(f *http2.Framer, stream uint32, status string, last bool) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: status})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: last})
}

// sayHeader answers with a header of the value.
func sayHeader(value string) func(*http2.Framer, uint32) { return sayField("x-value", value) }

func sayField(name, value string) func(*http2.Framer, uint32) {
	return func(f *http2.Framer, stream uint32) {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		_ = encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "204"})
		_ = encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	}
}

// Whatever a receiver does with the frames of HTTP/2, the attempt ends with an outcome, and nothing goes on behind it.
func TestHostileFrames(t *testing.T) {
	settings := func(list ...http2.Setting) func(*http2.Framer) {
		return func(f *http2.Framer) { _ = f.WriteSettings(list...) }
	}
	for name, test := range map[string]struct {
		begin  func(*http2.Framer)
		answer func(*http2.Framer, uint32)
		want   delivery.Kind
	}{
		"frames of size zero": {settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0}), func(*http2.Framer, uint32) {}, delivery.KindConnectionLost},
		"no room for a body":  {settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}), func(*http2.Framer, uint32) {}, delivery.KindTimeout},
		"no streams":          {settings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}), func(*http2.Framer, uint32) {}, delivery.KindTimeout},
		"no settings":         {func(*http2.Framer) {}, func(*http2.Framer, uint32) {}, delivery.KindTimeout},
		"GOAWAY, processed":   {settings(), func(f *http2.Framer, s uint32) { _ = f.WriteGoAway(s, http2.ErrCodeInternal, nil) }, delivery.KindTimeout},
		"reset stream":        {settings(), func(f *http2.Framer, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeInternal) }, delivery.KindConnectionLost},
		"headers twice, no end": {settings(), func(f *http2.Framer, s uint32) {
			sayStatus(f, s, "200", false)
			sayStatus(f, s, "200", false)
		}, delivery.KindConnectionLost},
		"data of another stream":  {settings(), func(f *http2.Framer, s uint32) { _ = f.WriteData(s+2, true, []byte("x")) }, delivery.KindConnectionLost},
		"no status":               {settings(), func(f *http2.Framer, s uint32) { sayStatus(f, s, "ok", true) }, delivery.KindConnectionLost},
		"CR in a header":          {settings(), sayHeader("a\rb"), delivery.KindConnectionLost},
		"LF in a header":          {settings(), sayHeader("a\nX-Other: b"), delivery.KindConnectionLost},
		"NUL in a header":         {settings(), sayHeader("a\x00b"), delivery.KindConnectionLost},
		"escape code in a header": {settings(), sayHeader("\x1b[31m"), delivery.KindConnectionLost},
		"a name in capitals":      {settings(), sayField("X-Capital", "a"), delivery.KindConnectionLost},
		"a name with CR LF":       {settings(), sayField("x\r\ny", "a"), delivery.KindConnectionLost},
		"a header of bytes":       {settings(), sayHeader("\xff\xc2\x9b"), delivery.KindSucceeded},
		"a sound answer":          {settings(), func(f *http2.Framer, s uint32) { sayStatus(f, s, "204", true) }, delivery.KindSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, roots := frames(t, test.begin, test.answer)
			client, dials := newClient(t, Config{RootCAs: roots})
			request := post(url)
			if test.want == delivery.KindTimeout {
				request.Timeout = 3 * short
			}
			got := client.Send(t.Context(), request)
			wantKind(t, got, test.want)
			for name, value := range got.ResponseHeaders {
				if !utf8.ValidString(value) || printable(name+value) != name+value {
					t.Errorf("kept %q: %q", name, value)
				}
			}
			client.Close()
			if n := len(dials.dialled()); n > maxTries {
				t.Errorf("dialled %d times", n)
			}
		})
	}
}

// Frames of size zero can hold no headers: Go before 1.26.3 sent them without end to a receiver that asked for such and read on, with one core
// and for as long as the connection lived, whatever became of the attempt (GO-2026-4918). go.mod asks for a Go that does not.
func TestFramesOfSizeZeroAreNotSentForEver(t *testing.T) {
	var read atomic.Int64 // once it had asked
	heard := make(chan struct{})
	var once sync.Once
	url, roots := connections(t, func(conn net.Conn) {
		if err := answerOne(conn); err != nil {
			return
		}
		err := http2.NewFramer(conn, nil).WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
		for part := make([]byte, 64<<10); err == nil; {
			var n int
			n, err = conn.Read(part)
			read.Add(int64(n))
			once.Do(func() { close(heard) })
		}
	})
	client, _ := newClient(t, Config{RootCAs: roots})
	wantKind(t, send(t, client, url), delivery.KindSucceeded)
	<-heard // so that the next request knows of it; what becomes of that is left open
	send(t, client, url)
	if n := read.Load(); n > 64<<10 {
		t.Errorf("the receiver was sent %d bytes", n)
	}
}

// answerOne answers one request, once the client has nothing more to say.
func answerOne(conn net.Conn) error {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(); err != nil {
		return err
	}
	for agreed, stream := false, uint32(0); !agreed || stream == 0; {
		frame, err := f.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			agreed = agreed || frame.IsAck()
		case *http2.DataFrame:
			if frame.StreamEnded() {
				stream = frame.StreamID
			}
		}
		if agreed && stream > 0 {
			sayStatus(f, stream, "204", true)
		}
	}
	return nil
}

// A receiver that says GOAWAY and that it has not looked at the request gets it again on a new connection, but not for ever:
// one attempt tries five connections, of which the first may be a kept one.
func TestGoAwayIsNotFollowedForEver(t *testing.T) {
	for name, test := range map[string]struct {
		sound, refused int32 // requests that are answered at first, and then those that are not looked at
		kind           delivery.Kind
		text           string
	}{
		"four times":                             {0, 4, delivery.KindSucceeded, ""},
		"for ever":                               {0, 1000, delivery.KindConnectionLost, errTries.Error()},
		"four times, first on a kept connection": {1, 4, delivery.KindSucceeded, ""},
		"for ever, first on a kept connection":   {1, 1000, delivery.KindConnectionLost, errTries.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			url, roots := frames(t, func(f *http2.Framer) { _ = f.WriteSettings() }, func(f *http2.Framer, stream uint32) {
				if n := requests.Add(1); n <= test.sound || n > test.sound+test.refused {
					sayStatus(f, stream, "204", true)
					return
				}
				_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
			})
			client, _ := newClient(t, Config{RootCAs: roots})
			defer client.Close()
			for range test.sound {
				wantKind(t, send(t, client, url), delivery.KindSucceeded)
			}
			got := send(t, client, url)
			wantKind(t, got, test.kind)
			if n := requests.Load() - test.sound; got.Error != test.text || n != 5 {
				t.Errorf("%q after %d requests", got.Error, n)
			}
		})
	}
}

// Attempts that begin at once each dial, and share the first connection that comes about. When that ends gracefully, the transport
// hands out what each of them dialled once more: none of it is a try, and the receiver is well.
func TestAGracefulEndAfterABurst(t *testing.T) {
	const burst = 40
	var dialling sync.WaitGroup
	dialling.Add(burst)
	var dialled, requests atomic.Int32
	server := serveTLS(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if dialled.Add(1) <= burst {
			dialling.Done()
			dialling.Wait()
		}
		return nil, nil
	}}, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == burst+1 {
			w.Header().Set("Connection", "close") // GOAWAY, behind this answer
		}
	})
	client, _ := newClient(t, Config{RootCAs: rootsOf(server)})
	defer client.Close()
	sendTogether(t, client, server.URL, burst)
	client.dialer.dials.Wait()
	for range 2 {
		wantKind(t, send(t, client, server.URL), delivery.KindSucceeded)
	}
}

// A receiver that says it will still answer, and then ends the connection for good, has not answered badly.
func TestAnEndBehindGoAway(t *testing.T) {
	url, roots := frames(t, func(f *http2.Framer) { _ = f.WriteSettings() }, func(f *http2.Framer, stream uint32) {
		_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
		f.SetMaxReadFrameSize(0) // what comes next ends the connection
	})
	client, _ := newClient(t, Config{RootCAs: roots})
	got := send(t, client, url)
	wantKind(t, got, delivery.KindConnectionLost)
	if got.Error != "the receiver closed the connection before its answer was complete" {
		t.Errorf("got %q", got.Error)
	}
}

// A proxy whose server dies while it answers has not answered badly, and one that answers badly has not ended the request.
func TestAStreamThatIsReset(t *testing.T) {
	for want, answer := range map[string]func(*http2.Framer, uint32){
		"the receiver ended the request before its answer was complete": func(f *http2.Framer, stream uint32) {
			_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
		},
		"the receiver's answer is not valid HTTP or broke off": sayHeader("a\nb"),
	} {
		url, roots := frames(t, func(f *http2.Framer) { _ = f.WriteSettings() }, answer)
		client, _ := newClient(t, Config{RootCAs: roots})
		got := send(t, client, url)
		if wantKind(t, got, delivery.KindConnectionLost); got.Error != want {
			t.Errorf("got %q, want %q", got.Error, want)
		}
	}
}

// A receiver that says GOAWAY before anything else is not dialled for ever either.
func TestGoAwayAtOnceIsNotFollowedForEver(t *testing.T) {
	url, roots := frames(t, func(f *http2.Framer) {
		_ = f.WriteSettings()
		_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
	}, func(*http2.Framer, uint32) {})
	client, dials := newClient(t, Config{RootCAs: roots})
	got := send(t, client, url)
	wantKind(t, got, delivery.KindConnectionLost)
	client.Close()
	if n := len(dials.dialled()); got.Error != errTries.Error() || n > 15 {
		t.Errorf("%q after %d dials", got.Error, n)
	}
}

// What many exchanges on a kept connection have left is no room for a flood in the next one.
func TestAKeptConnectionSavesUpNoRoomForAFlood(t *testing.T) {
	const sound = 20
	var requests atomic.Int32
	url, roots := frames(t, func(f *http2.Framer) { _ = f.WriteSettings() }, func(f *http2.Framer, stream uint32) {
		if requests.Add(1) > sound {
			for range 5 * (idleWords + exchangeWords) {
				_ = f.WritePing(false, [8]byte{})
			}
		}
		sayStatus(f, stream, "204", true)
	})
	client, _ := newClient(t, Config{RootCAs: roots})
	for range sound {
		wantKind(t, send(t, client, url), delivery.KindSucceeded)
	}
	wantKind(t, send(t, client, url), delivery.KindResponseTooLarge)
	client.Close()
}

// Small TLS records cost far more than their bytes; the client counts them on each connection that has any.
func TestManySmallRecordsAreAFlood(t *testing.T) {
	const unknown, frameSize = 0xfa, 31 // on the wire, TLS included
	url, roots := frames(t, func(f *http2.Framer) { _ = f.WriteSettings() }, func(f *http2.Framer, stream uint32) {
		for range (exchangeBytes - streamBuffer) / frameSize {
			_ = f.WriteRawFrame(unknown, 0, 0, nil)
		}
		sayStatus(f, stream, "204", true)
	})
	client, _ := newClient(t, Config{RootCAs: roots})
	wantKind(t, send(t, client, url), delivery.KindResponseTooLarge)
	client.Close()
}
