// Package compact makes what the databases keep small: each content is compressed by itself, against a dictionary of
// what contents of its kind have in common, and without what the reader knows from the row's other columns.
//
// Whatever was ever stored can be read. A stored content tells by its first byte what form it has, and a compressed one
// names its dictionary; dictionaries are embedded, and none is ever changed or taken out. A new one gets a new number.
package compact

import (
	"embed"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
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

// dictionaries has every one that was ever used; a stored content names one by its place here. newest is the one that
// each kind is written with.
var (
	dictionaries = []string{"event.1", "body.1", "record.1"}
	newest       = [...]byte{0, 1, 2}
)

// The first byte of what is stored. From firstPlain on it is the content's own: JSON begins above.
const (
	formPlain  = 0x00 // the content as it is follows
	formPacked = 0x01 // the dictionary's place follows, and an S2 block of the content with its tokens
	firstPlain = 0x20
)

// maxPlain bounds what one stored content may unpack to; what is longer is stored as it is.
const maxPlain = 64 << 20

// S2 is chosen over Zstandard, whose encoder copies a table of 256 KiB for each content: a fifth of the time for a
// quarter more bytes, most of which are hexadecimal and packed before.
var codecs = sync.OnceValue(func() (all []*s2.Dict) {
	for _, name := range dictionaries {
		d := s2.MakeDict(dictionary(name), nil)
		if d == nil {
			panic(fmt.Sprintf("compact: dictionary %s cannot be used", name))
		}
		all = append(all, d)
	}
	return all
})

func dictionary(name string) []byte {
	content, err := files.ReadFile("dictionaries/" + name)
	if err != nil {
		panic(fmt.Sprintf("compact: dictionary %s is not embedded: %v", name, err))
	}
	return content
}

// scratch is where a content is made ready, and where it is compressed to.
var scratch = sync.Pool{New: func() any { return new(buffers) }}

type buffers struct{ texts, tokens, packed []byte }

// Pack gives the form to store. What is known, at most 7 texts in an order that never changes for the kind, must be given
// to Unpack again: it is what stands in the row anyway.
func Pack(kind Kind, content []byte, known ...string) []byte {
	if len(content) > maxPlain || hasToken(content) {
		return plain(content)
	}
	b := scratch.Get().(*buffers)
	defer scratch.Put(b)
	b.tokens, b.texts = tokenize(b.tokens[:0], b.texts, content, known)
	if need := s2.MaxEncodedLen(len(b.tokens)); cap(b.packed) < need {
		b.packed = make([]byte, need)
	}
	at := newest[kind]
	block := codecs()[at].Encode(b.packed[:cap(b.packed)], b.tokens)
	if len(block)+2 > len(content) {
		return plain(content)
	}
	stored := make([]byte, 0, len(block)+2)
	return append(append(stored, formPacked, at), block...)
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
	switch {
	case packed[0] == formPlain:
		return packed[1:], nil
	case packed[0] != formPacked || len(packed) < 2:
		return nil, fmt.Errorf("%w: it has the form %d and %d bytes", ErrUnreadable, packed[0], len(packed))
	case int(packed[1]) >= len(dictionaries):
		return nil, fmt.Errorf("%w: it is made with the dictionary %d", ErrUnreadable, packed[1])
	}
	block := packed[2:]
	size, err := s2.DecodedLen(block)
	if err != nil || size > maxPlain {
		return nil, fmt.Errorf("%w: it claims %d bytes (%w)", ErrUnreadable, size, errors.Join(err))
	}
	b := scratch.Get().(*buffers)
	defer scratch.Put(b)
	if cap(b.tokens) < size {
		b.tokens = make([]byte, size)
	}
	tokens, err := codecs()[packed[1]].Decode(b.tokens[:cap(b.tokens)], block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return restore(tokens, known)
}
