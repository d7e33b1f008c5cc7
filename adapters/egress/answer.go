package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ordinavo/webhooks/domain/delivery"
)

const (
	maxBodyRead      = 64 << 10
	maxBodyKept      = 4 << 10
	maxHeadersKept   = 64
	maxHeaderKept    = 8 << 10 // names and values together
	scratchSize      = 8 << 10
	unprintable      = utf8.RuneError
	headerSeparation = ", "
)

// judge reads the answer and fills in the outcome.
func (c *Client) judge(ctx context.Context, response *http.Response, outcome *delivery.Outcome) {
	outcome.Status = response.StatusCode
	outcome.ResponseHeaders = keepHeaders(response.Header)
	var broken error
	if response.StatusCode != http.StatusSwitchingProtocols { // its "body" is the bare connection
		outcome.ResponseBody, broken = readBody(response.Body)
	}
	switch status := response.StatusCode; {
	case status >= 200 && status <= 299 && broken == nil:
		outcome.Kind = delivery.KindSucceeded
		return
	case status >= 200 && status <= 299:
		outcome.Kind, outcome.Error = explain(ctx, broken)
	case status >= 300 && status <= 399:
		outcome.Kind, outcome.Error = delivery.KindRedirect, "redirects are not followed"
	default:
		outcome.Kind = delivery.KindHTTPStatus
		outcome.Error = strings.TrimSpace(fmt.Sprintf("the receiver answered %d %s", status, http.StatusText(status)))
	}
	outcome.RetryAfter = retryAfter(response.Header.Get("Retry-After"), c.clock())
}

var scratches = sync.Pool{New: func() any { return new([scratchSize]byte) }}

// readBody returns the first 4 KiB. It stops without an error after 64 KiB, and the caller's Close then closes the
// connection, since the rest stays unread.
func readBody(body io.Reader) (kept []byte, err error) {
	scratch := scratches.Get().(*[scratchSize]byte)
	defer scratches.Put(scratch)
	for total := 0; total < maxBodyRead; {
		n, err := body.Read(scratch[:])
		kept = append(kept, scratch[:min(n, maxBodyKept-len(kept))]...)
		total += n
		if errors.Is(err, io.EOF) {
			return kept, nil
		}
		if err != nil {
			return kept, err
		}
	}
	return kept, nil
}

// keepHeaders keeps at most 64 headers and 8 KiB, in alphabetical order until a bound is reached. Several values of a name
// are joined by commas, and whatever could harm a log or a terminal is replaced.
func keepHeaders(header http.Header) map[string]string {
	kept := make(map[string]string, min(len(header), maxHeadersKept))
	room := maxHeaderKept
	names := slices.AppendSeq(make([]string, 0, len(header)), maps.Keys(header))
	slices.Sort(names)
	for _, name := range names {
		room -= len(name)
		if room <= 0 || len(kept) == maxHeadersKept {
			break
		}
		value := cut(printable(strings.Join(header[name], headerSeparation)), room)
		kept[printable(name)] = value
		room -= len(value)
	}
	return kept
}

// printable replaces control characters and invalid UTF-8.
func printable(text string) string {
	if !strings.ContainsFunc(text, isUnprintable) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if isUnprintable(r) {
			return unprintable
		}
		return r
	}, text)
}

func isUnprintable(r rune) bool { return r == unprintable || unicode.IsControl(r) }

// cut shortens text to at most size bytes, between two characters.
func cut(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

// retryAfter reads seconds or an HTTP date (RFC 9110, section 10.2.3). A time in the past or nonsense is 0; more than 24 h
// is 24 h (contract, section 4).
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(delivery.MaxRetryAfter/time.Second) {
			return delivery.MaxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(0, date.Sub(now)), delivery.MaxRetryAfter)
}
