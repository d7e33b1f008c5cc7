package payload

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// writer appends compact JSON objects to a buffer. It is written by hand because rendering is on
// the way of every event; its strings are byte for byte those of encoding/json without HTML
// escaping. Optional values that are nil become null.
type writer struct{ buf []byte }

// key begins a member; its name must need no escaping.
func (w *writer) key(name string) {
	if w.buf[len(w.buf)-1] != '{' {
		w.buf = append(w.buf, ',')
	}
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '"', ':')
}

// open begins an object that is the value of a member, or the whole document for an empty name.
func (w *writer) open(name string) {
	if name != "" {
		w.key(name)
	}
	w.buf = append(w.buf, '{')
}

func (w *writer) close() { w.buf = append(w.buf, '}') }

func (w *writer) null(name string) {
	w.key(name)
	w.buf = append(w.buf, "null"...)
}

func (w *writer) text(name, value string) {
	w.key(name)
	w.buf = appendString(w.buf, value)
}

func (w *writer) integer(name string, value int64) {
	w.key(name)
	w.buf = strconv.AppendInt(w.buf, value, 10)
}

func (w *writer) optionalText(name string, value *string) {
	if value == nil {
		w.null(name)
		return
	}
	w.text(name, *value)
}

func (w *writer) optionalInteger(name string, value *int64) {
	if value == nil {
		w.null(name)
		return
	}
	w.integer(name, *value)
}

func (w *writer) optionalBool(name string, value *bool) {
	if value == nil {
		w.null(name)
		return
	}
	w.key(name)
	w.buf = strconv.AppendBool(w.buf, *value)
}

// moment writes RFC 3339 in UTC, with a fraction of a second only where there is one.
func (w *writer) moment(name string, value time.Time) {
	w.key(name)
	w.buf = append(w.buf, '"')
	w.buf = value.UTC().AppendFormat(w.buf, time.RFC3339Nano)
	w.buf = append(w.buf, '"')
}

func (w *writer) optionalMoment(name string, value *time.Time) {
	if value == nil {
		w.null(name)
		return
	}
	w.moment(name, *value)
}

const hexDigits = "0123456789abcdef"

// appendString appends text as a JSON string (RFC 8259, section 7); what is not valid UTF-8
// becomes U+FFFD, and U+2028 and U+2029 are escaped for readers that take JSON for JavaScript.
func appendString(buf []byte, text string) []byte {
	buf = append(buf, '"')
	plain := 0 // start of the bytes that are still to be copied as they are
	for i := 0; i < len(text); {
		b := text[i]
		if b < utf8.RuneSelf {
			if b < ' ' || b == '"' || b == '\\' {
				buf = append(buf, text[plain:i]...)
				buf = appendEscaped(buf, b)
				plain = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if escaped := escapedRune(r, size); escaped != "" {
			buf = append(buf, text[plain:i]...)
			buf = append(buf, escaped...)
			plain = i + size
		}
		i += size
	}
	buf = append(buf, text[plain:]...)
	return append(buf, '"')
}

func escapedRune(r rune, size int) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return `\ufffd`
	case r == '\u2028':
		return `\u2028`
	case r == '\u2029':
		return `\u2029`
	default:
		return ""
	}
}

func appendEscaped(buf []byte, b byte) []byte {
	switch b {
	case '"', '\\':
		return append(buf, '\\', b)
	case '\b':
		return append(buf, '\\', 'b')
	case '\f':
		return append(buf, '\\', 'f')
	case '\n':
		return append(buf, '\\', 'n')
	case '\r':
		return append(buf, '\\', 'r')
	case '\t':
		return append(buf, '\\', 't')
	default:
		return append(buf, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&0xF])
	}
}
