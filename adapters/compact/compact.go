// Package compact makes stored contents small: each is compressed by itself, against a dictionary of what contents of its
// kind have in common, and without what the reader knows from the row's other columns.
//
// Whatever was ever stored can be read. The first byte of a stored content tells its form, and a compressed one names its
// dictionary. Dictionaries are embedded; none is ever changed or removed, and a new one gets a new number.
package compact

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/huff0"
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

// dictionaries has every one ever used; a stored content names one by its index here. newest has the one that each kind is
// written with.
var (
	dictionaries = []string{"event.1", "body.1", "record.1"}
	newest       = [...]byte{0, 1, 2}
)

// The first byte of a stored content. From firstPlain on it belongs to the content itself: JSON begins above.
const (
	formPlain  = 0x00 // followed by the content as it is
	formPacked = 0x01 // followed by the dictionary's index and an S2 block of the content with its tokens
	formCoded  = 0x02 // the same, with the block in its dictionary's Huffman code
	firstPlain = 0x20
)

// maxPlain is the most bytes that one stored content may unpack to; a longer one is stored as it is.
const maxPlain = 64 << 20

// codec is a dictionary with the Huffman code for what is compressed against it. S2 with a fixed code takes a third of the
// time of Zstandard for as many bytes: Zstandard's encoder copies a table of 256 KiB for each content.
type codec struct {
	*s2.Dict
	code *huff0.Scratch
}

var codecs = sync.OnceValue(func() (all []codec) {
	for _, name := range dictionaries {
		d := s2.MakeDict(embedded(name), nil)
		if d == nil {
			panic(fmt.Sprintf("compact: dictionary %s cannot be used", name))
		}
		code, _, err := huff0.ReadTable(embedded(name+".code"), nil)
		if err != nil {
			panic(fmt.Sprintf("compact: the code of %s cannot be used: %v", name, err))
		}
		all = append(all, codec{d, code})
	}
	return all
})

func embedded(name string) []byte {
	content, err := files.ReadFile("dictionaries/" + name)
	if err != nil {
		panic(fmt.Sprintf("compact: %s is not embedded: %v", name, err))
	}
	return content
}

// scratch has buffers to tokenize and compress a content in.
var scratch = sync.Pool{New: func() any { return new(buffers) }}

type buffers struct {
	row, texts, tokens, packed []byte
	coding                     huff0.Scratch
}

// Pack returns the form to store. known are at most 7 texts that the row has in other columns, in an order that never changes
// for the kind; Unpack needs the same ones.
func Pack(kind Kind, content []byte, known ...string) []byte {
	b := scratch.Get().(*buffers)
	defer scratch.Put(b)
	return b.pack(kind, content, known)
}

func (b *buffers) pack(kind Kind, content []byte, known []string) []byte {
	if len(content) > maxPlain || hasToken(content) {
		return plain(content)
	}
	b.tokens, b.texts = tokenize(b.tokens[:0], b.texts, content, known)
	if need := s2.MaxEncodedLen(len(b.tokens)); cap(b.packed) < need {
		b.packed = make([]byte, need)
	}
	at := newest[kind]
	c := codecs()[at]
	block, form := c.Encode(b.packed[:cap(b.packed)], b.tokens), byte(formPacked)
	if coded, ok := b.encode(c, block); ok {
		block, form = coded, formCoded
	}
	if len(block)+2 > len(content) {
		return plain(content)
	}
	stored := make([]byte, 0, len(block)+2)
	return append(append(stored, form, at), block...)
}

// encode returns the block in the codec's code; false when that does not pay.
func (b *buffers) encode(c codec, block []byte) (coded []byte, ok bool) {
	b.coding.Reuse = huff0.ReusePolicyMust
	b.coding.TransferCTable(c.code)
	coded, _, err := huff0.Compress1X(block, &b.coding)
	return coded, err == nil
}

// decode is the inverse of encode.
func (b *buffers) decode(c codec, coded []byte) ([]byte, error) {
	most := min(8*len(coded), huff0.BlockSizeMax) // no symbol takes less than a bit
	if cap(b.packed) < most {
		b.packed = make([]byte, most)
	}
	block, err := c.code.Decoder().Decompress1X(b.packed[:0:most], coded)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return block, nil
}

// plain stores a copy of the content, which may be in a reused buffer.
func plain(content []byte) []byte {
	if len(content) > 0 && content[0] >= firstPlain {
		return bytes.Clone(content)
	}
	return append([]byte{formPlain}, content...)
}

// ErrUnreadable says that a stored content is damaged, or was written by a newer version.
var ErrUnreadable = errors.New("a stored content cannot be read")

// Unpack is Pack's inverse; it reads every form that was ever stored. The content does not share packed's memory.
func Unpack(packed []byte, known ...string) ([]byte, error) {
	if len(packed) == 0 || packed[0] >= firstPlain {
		return bytes.Clone(packed), nil
	}
	switch {
	case packed[0] == formPlain:
		return bytes.Clone(packed[1:]), nil
	case packed[0] > formCoded || len(packed) < 2:
		return nil, fmt.Errorf("%w: it has the form %d and %d bytes", ErrUnreadable, packed[0], len(packed))
	case int(packed[1]) >= len(dictionaries):
		return nil, fmt.Errorf("%w: it is made with the dictionary %d", ErrUnreadable, packed[1])
	}
	b := scratch.Get().(*buffers)
	defer scratch.Put(b)
	return b.unpack(packed[0], codecs()[packed[1]], packed[2:], known)
}

func (b *buffers) unpack(form byte, c codec, block []byte, known []string) (_ []byte, err error) {
	if form == formCoded {
		if block, err = b.decode(c, block); err != nil {
			return nil, err
		}
	}
	size, err := s2.DecodedLen(block)
	if err != nil || size > maxPlain {
		return nil, fmt.Errorf("%w: it claims %d bytes (%w)", ErrUnreadable, size, errors.Join(err))
	}
	if cap(b.tokens) < size {
		b.tokens = make([]byte, size)
	}
	tokens, err := c.Decode(b.tokens[:cap(b.tokens)], block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if b.texts, err = restore(b.texts[:0], tokens, known); err != nil {
		return nil, err
	}
	return bytes.Clone(b.texts), nil
}
