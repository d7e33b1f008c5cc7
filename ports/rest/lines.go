package rest

import (
	"bytes"
	"math"
	"strconv"
)

// lines follows the requests on a connection to find a line that ends in a bare LF, and the line that announces much. The HTTP library
// accepts a bare LF after the request line and as the empty line after the last chunk, where a proxy may see another request end (RFC 9112,
// sections 2.2 and 7.1). It looks at each byte once, and in bodies at the chunks' own lines only. What it cannot follow is malformed in another
// way too, for which the library refuses it before it makes room for a body.
type lines struct {
	next    func(l *lines, line []byte) // takes the next line; nil stands for head
	skip    int64                       // bytes before the next line
	begun   bool                        // the request line was there
	length  int64                       // of the body, as far as the head or the chunks up to here give it
	chunked bool
	expects bool   // the sender waits for 100 Continue
	due     bool   // the last line announced much of which not all is here; skip is what is missing
	wrong   string // what is wrong with the line that was found
	lost    bool   // nobody knows where the next line begins
	partial []byte // of a line whose end was not sent yet
}

const (
	wrongEnd    = "a line does not end in CR LF"
	wrongFolded = "a header is folded over several lines"
)

// sound is how many of the bytes may be read on: those before a line that is wrong, or all but the last byte of a line that announces much,
// or all of them if there is no such line.
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
			l.wrong = wrongEnd
			return at
		}
		if l.take(line); l.wrong != "" {
			return at
		}
		at += size
		if rest := int64(len(sent) - at); l.skip > max(rest, freeRead) && l.length <= maxRead { // the library refuses what is longer
			l.skip, l.due = l.skip-rest, true
			return at - 1
		}
	}
	return len(sent)
}

// keptOfLong is more than a chunk's size has digits.
const keptOfLong = 32

// keep bounds what it holds: the library reads no longer head, and of a chunk's line only the size, which comes first, and the end matter.
func (l *lines) keep(part []byte) {
	if len(l.partial)+len(part) <= maxHeader {
		l.partial = append(l.partial, part...)
		return
	}
	first := append(l.partial, part[:min(len(part), keptOfLong)]...)
	l.partial = append(first[:min(len(first), keptOfLong)], part[len(part)-1])
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
	case len(line) == 0 && !l.begun:
	case len(line) == 0 && l.chunked:
		*l = lines{next: (*lines).chunk}
	case len(line) == 0:
		*l = lines{skip: l.length, length: l.length, expects: l.expects}
	case !l.begun:
		*l = lines{begun: true}
	case line[0] == ' ' || line[0] == '\t': // it might say otherwise than what it continues
		l.wrong = wrongFolded
	default:
		l.header(line)
	}
}

func (l *lines) header(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.Trim(value, " \t")
	switch {
	case bytes.EqualFold(name, []byte("transfer-encoding")): // the library takes identity for none
		l.chunked = l.chunked || !bytes.EqualFold(value, []byte("identity"))
	case bytes.EqualFold(name, []byte("content-length")) && len(value) > 0: // else it is folded, or the library refuses it
		l.length = l.number(string(value), 10)
	case bytes.EqualFold(name, []byte("expect")):
		l.expects = string(value) == "100-continue"
	}
}

// chunk is the line that says a chunk's size, with or without extensions.
func (l *lines) chunk(line []byte) {
	digits := len(line) - len(bytes.TrimLeft(line, "0123456789abcdefABCDEF"))
	l.skip = l.number(string(line[:digits]), 16)
	l.length = min(l.length, maxRead+1) + min(l.skip, maxRead+1) // which does not overflow
	if l.skip == 0 {
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
