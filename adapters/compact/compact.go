// Package compact makes what the databases keep small: each content is compressed by itself, against a dictionary of
// what contents of its kind have in common, and without what the reader knows from the row's other columns.
//
// Whatever was ever stored can be read. A stored content tells by its first byte what form it has, and a compressed one
// names its dictionary; dictionaries are embedded, and none is ever changed or taken out. A new one gets a new number.
package compact

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Kind says what a content is, and so what it has in common with others.
type Kind int

// The kinds of content, in the order of newest.
const (
	Event  Kind = iota // an accepted event
	Body               // what a receiver gets
	Record             // a record's metadata and data
)

//go:embed dictionaries
var files embed.FS

// newest names the dictionary that each kind is written with; dictionaries has every one that was ever used.
var (
	newest       = [...]string{"event.1", "body.1", "record.1"}
	dictionaries = []string{"event.1", "body.1", "record.1"}
)

// The first byte of what is stored. From first on it is the content's own: JSON begins above.
const (
	formPlain    = 0x00 // the content as it is follows
	formZstd     = 0x01 // a Zstandard frame (RFC 8878) without its magic number follows
	formReplaced = 0x02 // the same, of a content with tokens for what the reader knows
	firstPlain   = 0x20
)

// A token stands for a known text. No token is ever in valid UTF-8, so a content of text has none of its own.
const (
	firstToken = 0xF8
	maxKnown   = 0xFF - firstToken + 1
	minKnown   = 8 // shorter ones do not pay
)

// maxPlain bounds what one stored content may unpack to; what is longer is stored as it is.
const maxPlain = 64 << 20

var magic = []byte{0x28, 0xB5, 0x2F, 0xFD}

// codec is built with the first use: a process that stores nothing pays nothing.
var codec = sync.OnceValue(func() (c struct {
	encoders [len(newest)]*zstd.Encoder
	decoder  *zstd.Decoder
}) {
	all := make([][]byte, len(dictionaries))
	for i, name := range dictionaries {
		all[i] = dictionary(name)
	}
	var err error
	if c.decoder, err = zstd.NewReader(nil, zstd.WithDecoderDicts(all...), zstd.WithDecoderMaxMemory(maxPlain), zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0))); err != nil {
		panic(fmt.Sprintf("compact: the embedded dictionaries cannot be used: %v", err))
	}
	for kind, name := range newest {
		if c.encoders[kind], err = newEncoder(dictionary(name)); err != nil {
			panic(fmt.Sprintf("compact: dictionary %s cannot be used: %v", name, err))
		}
	}
	return c
})

func dictionary(name string) []byte {
	content, err := files.ReadFile("dictionaries/" + name)
	if err != nil {
		panic(fmt.Sprintf("compact: dictionary %s is not embedded: %v", name, err))
	}
	return content
}

func newEncoder(dictionary []byte) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderDict(dictionary), zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithWindowSize(1<<17), zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true))
}

// level is the fastest: with these dictionaries the slower ones gain 1 % and take three times as long.
const level = zstd.SpeedFastest

// scratch is where a content is made ready.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Pack gives the form to store. What is known, at most 8 texts in an order that never changes for the kind, must be given
// to Unpack again: it is what stands in the row anyway.
func Pack(kind Kind, content []byte, known ...string) []byte {
	if len(content) > maxPlain {
		return plain(content)
	}
	buffer := scratch.Get().(*[]byte)
	defer scratch.Put(buffer)
	form, ready := byte(formZstd), content
	if len(known) > 0 && !hasToken(content) {
		if *buffer = replace((*buffer)[:0], content, known); len(*buffer) < len(content) {
			form, ready = formReplaced, *buffer
		}
	}
	packed := codec().encoders[kind].EncodeAll(ready, make([]byte, 0, 64+len(ready)/3))
	if len(packed)-len(magic)+1 < len(content) {
		packed = packed[len(magic)-1:]
		packed[0] = form
		return packed
	}
	return plain(content)
}

func plain(content []byte) []byte {
	if len(content) > 0 && content[0] >= firstPlain {
		return content
	}
	return append([]byte{formPlain}, content...)
}

// ErrUnreadable says that a stored content is damaged, or was written by a newer version.
var ErrUnreadable = errors.New("a stored content cannot be read")

// Unpack is Pack's inverse; it reads every form that was ever stored. The content may be packed itself.
func Unpack(packed []byte, known ...string) ([]byte, error) {
	if len(packed) == 0 || packed[0] >= firstPlain {
		return packed, nil
	}
	switch packed[0] {
	case formPlain:
		return packed[1:], nil
	case formZstd, formReplaced:
	default:
		return nil, fmt.Errorf("%w: it has the form %d", ErrUnreadable, packed[0])
	}
	buffer := scratch.Get().(*[]byte)
	defer scratch.Put(buffer)
	*buffer = append(append((*buffer)[:0], magic...), packed[1:]...)
	content, err := codec().decoder.DecodeAll(*buffer, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if packed[0] == formReplaced {
		return restore(content, known)
	}
	return content, nil
}

func hasToken(content []byte) bool {
	for _, b := range content {
		if b >= firstToken {
			return true
		}
	}
	return false
}

// replace puts tokens for the known texts.
func replace(to, content []byte, known []string) []byte {
	to = append(to, content...)
	for i, text := range known[:min(len(known), maxKnown)] {
		if len(text) < minKnown {
			continue
		}
		kept := to[:0]
		for rest := to; ; {
			at := bytes.Index(rest, []byte(text))
			if at < 0 {
				kept = append(kept, rest...)
				break
			}
			kept = append(append(kept, rest[:at]...), byte(firstToken+i))
			rest = rest[at+len(text):]
		}
		to = kept
	}
	return to
}

// restore puts the known texts for their tokens.
func restore(content []byte, known []string) ([]byte, error) {
	size := len(content)
	for _, b := range content {
		if b >= firstToken {
			if int(b-firstToken) >= len(known) {
				return nil, fmt.Errorf("%w: it lacks what was known when it was stored", ErrUnreadable)
			}
			size += len(known[b-firstToken]) - 1
		}
	}
	if size > maxPlain {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrUnreadable, maxPlain)
	}
	whole := make([]byte, 0, size)
	for _, b := range content {
		if b >= firstToken {
			whole = append(whole, known[b-firstToken]...)
		} else {
			whole = append(whole, b)
		}
	}
	return whole, nil
}
