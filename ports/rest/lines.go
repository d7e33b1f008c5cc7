package rest

import (
	"bytes"
	"math"
	"strconv"
)

// lines follows the requests on a connection to find a line that ends in a bare LF. The HTTP library accepts one after the request line and
// as the empty line after the last chunk, where a proxy may see another request end (RFC 9112, sections 2.2 and 7.1). It looks at each byte
// once, and in bodies at the chunks' own lines only. What it cannot follow is malformed in another way too, for which checkFraming or the
// library refuses it.
type lines struct {
	next    func(l *lines, line []byte) // takes the next line; nil stands for head
	skip    int64                       // bytes before the next line
	begun   bool                        // the request line was there
	length  int64                       // of the body, as far as the head gives it
	chunked bool
	broken  bool   // such a line was found
	lost    bool   // nobody knows where the next line begins
	partial []byte // of a line whose end was not sent yet
}

// sound is how many of the bytes precede a line that does not end in CR LF: all of them if there is none.
func (l *lines) sound(sent []byte) int {
	for at := 0; at < len(sent) && !l.lost; {
		if l.skip > 0 {
			skipped := min(l.skip, int64(len(sent)-at))
			l.skip -= skipped
			at += int(skipped)
			continue
		}
		size := bytes.IndexByte(sent[at:], '\n') + 1
		if size == 0 {
			l.keep(sent[at:])
			break
		}
		line := sent[at : at+size]
		if len(l.partial) > 0 {
			line, l.partial = append(l.partial, line...), nil // idle connections hold no buffers
		}
		line, ended := bytes.CutSuffix(line, []byte("\r\n"))
		if !ended {
			l.broken = true
			return at
		}
		l.take(line)
		at += size
	}
	return len(sent)
}

// keep bounds what it holds: the library reads no longer head, and a chunk's line has no business being longer.
func (l *lines) keep(part []byte) {
	if len(l.partial)+len(part) > maxHeader {
		l.lost = true
		return
	}
	l.partial = append(l.partial, part...)
}

func (l *lines) take(line []byte) {
	if l.next == nil {
		l.next = (*lines).head
	}
	l.next(l, line)
}

// head is an empty line before a request, its request line, a header, or the empty line after them.
func (l *lines) head(line []byte) {
	switch {
	case len(line) == 0 && l.begun && l.chunked:
		*l = lines{next: (*lines).chunk}
	case len(line) == 0:
		*l = lines{skip: l.length}
	case !l.begun:
		l.begun = true
	default:
		l.header(line)
	}
}

func (l *lines) header(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		l.chunked = true
	case bytes.EqualFold(name, []byte("content-length")):
		l.length = l.number(string(bytes.Trim(value, " \t")), 10)
	}
}

// chunk is the line that says a chunk's size, with or without extensions.
func (l *lines) chunk(line []byte) {
	digits := len(line) - len(bytes.TrimLeft(line, "0123456789abcdefABCDEF"))
	if l.skip = l.number(string(line[:digits]), 16); l.skip == 0 {
		l.next = (*lines).trailer
	} else {
		l.next = (*lines).chunkEnd
	}
}

// chunkEnd is the empty line after a chunk.
func (l *lines) chunkEnd([]byte) { l.next = (*lines).chunk }

// trailer is a field after the last chunk, or the empty line that ends the request.
func (l *lines) trailer(line []byte) {
	if len(line) == 0 {
		*l = lines{}
	}
}

func (l *lines) number(digits string, base int) int64 {
	n, err := strconv.ParseUint(digits, base, 63)
	if err != nil {
		l.lost, n = true, math.MaxInt64
	}
	return int64(n)
}
