package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxInterim   = 5            // 1xx answers before the final one
	maxTries     = 5            // connections on which one attempt may try its request; see Send
	maxDialsEach = 3 * maxTries // dials that one attempt may begin; see tries
	aMoment      = time.Second  // see tries.metAnEnd
)

// traced hands the attempt to the dial, and bounds interim answers and tries. Both have to be counted here: with a
// Got1xxResponse hook the transport resets its bound on header bytes at each interim answer, and it has no bound on tries.
func traced(ctx context.Context, made *tries) context.Context {
	interim := 0
	return httptrace.WithClientTrace(context.WithValue(ctx, attemptKey{}, asker{ctx, made}), &httptrace.ClientTrace{
		GetConn:              made.next,
		GotConn:              made.got,
		GotFirstResponseByte: func() { made.heard.Store(true) },
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			if interim++; interim > maxInterim {
				return errInterim
			}
			return nil
		},
	})
}

// tries counts the connections on which one attempt tries its request. The transport asks for them in the goroutine that
// called RoundTrip, and far more often than it gets one: attempts that begin at once each dial, and when the HTTP/2 connection
// that they then shared has ended, what each of them dialled is handed out once more. So it is dials that are bounded: only a
// receiver whose connections all end before they are used needs more than maxDialsEach.
type tries struct {
	n       int
	dials   atomic.Int32 // begun for this attempt, in goroutines of the transport
	givenUp bool
	giveUp  context.CancelFunc
	on      *metered    // the last one
	kept    bool        // the last one had been used before
	since   time.Time   // when it was handed out
	heard   atomic.Bool // something of an answer has come
	reached atomic.Bool // one of its dials has come to the handshake

	overHTTP1 bool // see turnsToHTTP1
}

func (t *tries) next(string) {
	t.kept = false
	if t.n >= maxTries || t.dials.Load() >= maxDialsEach {
		t.givenUp = true
		t.giveUp()
	}
}

func (t *tries) got(info httptrace.GotConnInfo) {
	t.n++
	t.end()
	t.on, t.since = meterOf(info.Conn), time.Now()
	_, shared := info.Conn.(*tls.Conn) // HTTP/2: by attempts that began at once, a new one is reused before anything has come of it
	t.kept = info.Reused && (!shared || t.on.hasAnswered())
}

// metAnEnd reports whether a kept connection ended under the request at once, and before anything of an answer: its receiver was
// closing it, mostly without having seen the request. Who works on one longer than a moment before that may well have done so.
func (t *tries) metAnEnd(err error) bool {
	return t.kept && !t.givenUp && !t.heard.Load() && time.Since(t.since) < aMoment && (isLoss(err) || isClosing(err))
}

// turnsToHTTP1 has the next try made by HTTP/1.1, once, if the receiver wants that, as Apache and IIS do at paths where they would take a
// client certificate: they ask for it by a second handshake, which HTTP/2 forbids. They have not looked at the request.
func (t *tries) turnsToHTTP1(err error) bool {
	if t.overHTTP1 || t.givenUp || !wantsHTTP1(err) {
		return false
	}
	t.overHTTP1 = true
	return true
}

// wantsHTTP1 recognises by its text what net/http says when the whole connection was refused before it took the request.
func wantsHTTP1(err error) bool {
	var stream streamError
	return errors.As(err, &stream) && stream.Code == http11Required || strings.Contains(err.Error(), "GOAWAY from server ErrCode:HTTP_1_1_REQUIRED")
}

const http11Required = 0xd // HTTP_1_1_REQUIRED (RFC 9113, section 7)

func (t *tries) end() {
	if t.on != nil {
		t.on.end()
		t.on = nil
	}
}

// answered notes that the last connection has brought an answer.
func (t *tries) answered() { t.on.answer() }

// orElse is errTries when that is why the attempt was given up, and marks the error of one that was handed no connection.
func (t *tries) orElse(err error) error {
	switch {
	case t.givenUp:
		return errTries
	case t.n == 0 && t.reached.Load():
		return errors.Join(errUnsecured, err)
	case t.n == 0:
		return errors.Join(errUnconnected, err)
	}
	return err
}

type attemptKey struct{}

// asker is the attempt that asked for a dial; the dial's own context outlives the attempt's.
type asker struct {
	attempt context.Context
	made    *tries
}

func askerOf(ctx context.Context) asker {
	if by, ok := ctx.Value(attemptKey{}).(asker); ok {
		return by
	}
	return asker{ctx, &tries{}}
}
