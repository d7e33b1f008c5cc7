package hostile

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	ok       = "HTTP/1.1 200 OK\r\n"
	length9  = ok + "Content-Length: 9\r\n\r\n"
	chunked  = ok + "Transfer-Encoding: chunked\r\n\r\n"
	nothing  = "Content-Length: 0\r\n\r\n"
	interim  = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	manySize = 60 << 10
)

// Kinds are all of them.
func Kinds() []Kind { return slices.Concat(plain(), secured(), framed()) }

func plain() []Kind {
	page, extended := strings.Repeat("x", 4096), "1;"+strings.Repeat("x", 2000)+"\r\nx\r\n"
	lines := strings.Repeat("X-Header: value\r\n", 240)
	return []Kind{
		{Name: "black hole", Answer: hold},
		{Name: "never reads", Raw: func(net.Conn) { select {} }},
		{Name: "reset", Answer: reset},
		{Name: "reset in the body", Answer: func(c net.Conn) { say(c, length9+"half"); reset(c) }},
		{Name: "half a body", Answer: func(c net.Conn) { say(c, length9+"half"); hold(c) }},
		{Name: "a header a byte a second", Answer: func(c net.Conn) { say(c, ok+"X: "); drip(c) }},
		{Name: "a body a byte a second", Answer: func(c net.Conn) { say(c, ok+"Content-Length: 90000\r\n\r\n"); drip(c) }},
		{Name: "endless body", Answer: func(c net.Conn) { say(c, "HTTP/1.0 200 OK\r\n\r\n"); repeat(c, page) }},
		{Name: "endless interim answers", Answer: func(c net.Conn) { repeat(c, interim) }},
		{Name: "interim answers and then nothing", Answer: func(c net.Conn) { say(c, strings.Repeat(interim, 5)); hold(c) }},
		{Name: "10 MB of headers", Answer: func(c net.Conn) { say(c, ok); times(c, 10<<20/len(lines), lines); say(c, "\r\n") }},
		{Name: "a header of 10 MB", Answer: func(c net.Conn) { say(c, ok+"X: "); times(c, 10<<20/len(page), page); say(c, "\r\n\r\n") }},
		{Name: "thousands of headers and then nothing", Answer: func(c net.Conn) { say(c, ok+manyHeaders); hold(c) }},
		{Name: "thousands of headers and half a body", Answer: func(c net.Conn) { say(c, ok+manyHeaders+"Content-Length: 9\r\n\r\nhalf"); hold(c) }},
		{Name: "a large header and half a body", Answer: func(c net.Conn) {
			say(c, ok+"X: "+strings.Repeat("x", manySize)+"\r\nContent-Length: 9\r\n\r\nhalf")
			hold(c)
		}},
		{Name: "gzip bomb", Answer: func(c net.Conn) {
			say(c, fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", ok, len(bomb), bomb))
		}},
		{Name: "redirect", Answer: func(c net.Conn) { say(c, "HTTP/1.1 302 Found\r\nLocation: /\r\n"+nothing) }},
		{Name: "Retry-After of years", Answer: func(c net.Conn) { say(c, "HTTP/1.1 503 Busy\r\nRetry-After: 99999999\r\n"+nothing) }},
		{Name: "101", Answer: func(c net.Conn) {
			say(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			repeat(c, page)
		}},
		{Name: "trailers without end", Answer: func(c net.Conn) { say(c, chunked+"0\r\n"); repeat(c, "X-Trailer: value\r\n") }},
		{Name: "a chunk extension without end", Answer: func(c net.Conn) { say(c, chunked+"1;"); repeat(c, page) }},
		{Name: "chunks of a byte with extensions", Answer: func(c net.Conn) { say(c, chunked); repeat(c, extended) }},
		{Name: "more than its length", Answer: func(c net.Conn) { say(c, ok+"Content-Length: 2\r\n\r\nok"); repeat(c, page) }},
		{Name: "a second answer", Answer: func(c net.Conn) { repeat(c, ok+nothing) }},
		{Name: "closes each connection", Answer: func(c net.Conn) { say(c, ok+"Connection: close\r\n"+nothing) }},
		{Name: "answers before it has read", Raw: func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			say(c, "HTTP/1.1 503 Busy\r\n"+nothing)
			select {}
		}},
	}
}

func secured() []Kind {
	page := strings.Repeat("x", 4096)
	return []Kind{
		{Name: "TLS, no handshake", Secure: TLS, Raw: hold},
		{Name: "TLS, black hole", Secure: TLS, Answer: hold},
		{Name: "TLS, half a body", Secure: TLS, Answer: func(c net.Conn) { say(c, length9+"half"); hold(c) }},
		{Name: "TLS, endless body", Secure: TLS, Answer: func(c net.Conn) { say(c, "HTTP/1.0 200 OK\r\n\r\n"); repeat(c, page) }},
		{Name: "TLS, thousands of headers and half a body", Secure: TLS, Answer: func(c net.Conn) {
			say(c, ok+manyHeaders+"Content-Length: 9\r\n\r\nhalf")
			hold(c)
		}},
		{Name: "TLS, a large certificate and then nothing", Secure: LargeTLS, Answer: hold},
	}
}

func framed() []Kind {
	settings := func(list ...http2.Setting) func(*http2.Framer) {
		return func(f *http2.Framer) { _ = f.WriteSettings(list...) }
	}
	none := func(*http2.Framer, uint32) {}
	return []Kind{
		{Name: "HTTP/2, black hole", Begin: settings(), Frames: none},
		{Name: "HTTP/2, frames of size zero", Begin: settings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0}), Frames: none},
		{Name: "HTTP/2, no room for a body", Begin: settings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}), Frames: none},
		{Name: "HTTP/2, GOAWAY", Begin: settings(), Frames: func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) }},
		{Name: "HTTP/2, endless headers", Begin: settings(), Frames: func(f *http2.Framer, s uint32) { headers(f, s, false, 1000, 1<<30) }},
		{Name: "HTTP/2, many headers and half a body", Begin: settings(), Frames: func(f *http2.Framer, s uint32) {
			headers(f, s, true, 400, 1)
			_ = f.WriteData(s, false, []byte("half"))
		}},
		{Name: "HTTP/2, headers that never end", Begin: settings(), Frames: func(f *http2.Framer, s uint32) { headers(f, s, false, 400, 4) }},
		{Name: "HTTP/2, a body that fills the window", Begin: settings(), Frames: func(f *http2.Framer, s uint32) {
			headers(f, s, true, 1, 1)
			for range 4 {
				_ = f.WriteData(s, false, make([]byte, 16<<10-1))
			}
		}},
		{Name: "HTTP/2, settings without end", Begin: settings(), Frames: func(f *http2.Framer, _ uint32) {
			for f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100}) == nil {
			}
		}},
		{Name: "HTTP/2, pings without end", Begin: settings(), Frames: func(f *http2.Framer, _ uint32) {
			for f.WritePing(false, [8]byte{1}) == nil {
			}
		}},
		{Name: "HTTP/2, an answer and then pings without end", Begin: settings(), Frames: func(f *http2.Framer, s uint32) {
			status(f, s, "200", true)
			for f.WritePing(false, [8]byte{1}) == nil {
			}
		}},
		{Name: "HTTP/2, empty data without end", Begin: settings(), Frames: func(f *http2.Framer, s uint32) {
			status(f, s, "200", false)
			for f.WriteData(s, false, nil) == nil {
			}
		}},
		{Name: "HTTP/2, window updates of zero", Begin: settings(), Frames: func(f *http2.Framer, s uint32) {
			f.AllowIllegalWrites = true
			for f.WriteWindowUpdate(s, 0) == nil {
			}
		}},
		{Name: "HTTP/2, resets every stream", Begin: settings(), Frames: func(f *http2.Framer, s uint32) { _ = f.WriteRSTStream(s, http2.ErrCodeCancel) }},
		{Name: "HTTP/2, interim answers without end", Begin: settings(), Frames: func(f *http2.Framer, s uint32) {
			for i := 0; i < 1000; i++ {
				status(f, s, "103", false)
			}
		}},
		{Name: "HTTP/2, frames of no known type", Begin: settings(), Frames: func(f *http2.Framer, s uint32) {
			for f.WriteRawFrame(0xbe, 0, s, nil) == nil {
			}
		}},
	}
}

func status(f *http2.Framer, stream uint32, code string, last bool) {
	var block bytes.Buffer
	_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: code})
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: last})
}

// headers answers with so many headers in each of so many frames.
func headers(f *http2.Framer, stream uint32, end bool, each, frames int) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	_ = encoder.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	for n := range frames {
		for i := range each {
			_ = encoder.WriteField(hpack.HeaderField{Name: fmt.Sprintf("x%d", n*each+i), Value: "1", Sensitive: true})
		}
		last := end && n == frames-1
		var err error
		if n == 0 {
			err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: last})
		} else {
			err = f.WriteContinuation(stream, last, block.Bytes())
		}
		if err != nil {
			return
		}
		block.Reset()
	}
}

// manyHeaders are as many as fit, one line short of the end. They are made once: what the receivers cost is not to be measured.
var manyHeaders = func() string {
	var text strings.Builder
	for i := 0; text.Len() < manySize; i++ {
		fmt.Fprintf(&text, "%x:\r\n", i)
	}
	return text.String()
}()

// bomb is 64 MiB, compressed.
var bomb = func() string {
	var small bytes.Buffer
	writer := gzip.NewWriter(&small)
	page := make([]byte, 1<<20)
	for range 64 {
		_, _ = writer.Write(page)
	}
	_ = writer.Close()
	return small.String()
}()
