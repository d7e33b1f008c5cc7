package compact

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Tokens replace a text that the reader knows, or hexadecimal digits, which take half the room as bytes. No token occurs in
// valid UTF-8, so a text content has none of its own.
const (
	firstToken = 0xF8
	hexToken   = 0xFF // followed by a byte with their number, and the bytes
	maxKnown   = hexToken - firstToken
	minKnown   = 8  // shorter texts do not pay
	minHex     = 16 // nor do shorter runs of digits, most of which are numbers
	maxHex     = 2 * 0xFF
)

func hasToken(content []byte) bool {
	return !utf8.Valid(content) && slices.ContainsFunc(content, isToken)
}

func isToken(b byte) bool { return b >= firstToken }

// tokenize appends the content with tokens; texts is a buffer to work in.
func tokenize(to, texts, content []byte, known []string) (tokens, room []byte) {
	texts = append(texts[:0], content...)
	for i, text := range known[:min(len(known), maxKnown)] {
		if len(text) >= minKnown {
			texts = replaced(texts, text, byte(firstToken+i))
		}
	}
	return packHex(to, texts), texts
}

// replaced replaces each occurrence of the text with the token. It works in place, since a token is shorter.
func replaced(content []byte, text string, token byte) []byte {
	kept := content[:0]
	for rest := content; ; {
		at := bytes.Index(rest, []byte(text))
		if at < 0 {
			return append(kept, rest...)
		}
		kept = append(append(kept, rest[:at]...), token)
		rest = rest[at+len(text):]
	}
}

// packHex appends the content with its runs of lower-case hexadecimal digits as bytes. Every run of at
// least minHex digits covers a minHex-th byte, so it samples these and looks at the others only around a digit.
func packHex(to, content []byte) []byte {
	done := 0 // how much of content was appended
	for i := 0; i+minHex <= len(content); {
		probe := i + minHex - 1
		if !digits[content[probe]] {
			i = probe + 1
			continue
		}
		from := probe
		for from > i && digits[content[from-1]] {
			from--
		}
		for i = probe + 1; i < len(content) && digits[content[i]] && i < from+maxHex; {
			i++
		}
		if n := (i - from) / 2; 2*n >= minHex {
			to = append(append(to, content[done:from]...), hexToken, byte(n))
			to, _ = hex.AppendDecode(to, content[from:from+2*n]) // only digits, so it cannot fail
			done = from + 2*n
		}
	}
	return append(to, content[done:]...)
}

// digits are those that hex.AppendEncode writes.
var digits = func() (set [256]bool) {
	for _, b := range []byte("0123456789abcdef") {
		set[b] = true
	}
	return set
}()

// restore appends to whole, which is empty, the content with texts and digits in place of the tokens.
func restore(whole, tokens []byte, known []string) ([]byte, error) {
	for {
		at := slices.IndexFunc(tokens, isToken)
		if at < 0 {
			at = len(tokens)
		}
		if whole = append(whole, tokens[:at]...); len(whole) > maxPlain {
			return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrUnreadable, maxPlain)
		}
		if tokens = tokens[at:]; len(tokens) == 0 {
			return whole, nil
		}
		switch token := tokens[0]; {
		case token == hexToken:
			if len(tokens) < 2 || len(tokens) < 2+int(tokens[1]) {
				return nil, fmt.Errorf("%w: its digits are cut off", ErrUnreadable)
			}
			n := 2 + int(tokens[1])
			whole = hex.AppendEncode(whole, tokens[2:n])
			tokens = tokens[n:]
		case int(token-firstToken) >= len(known):
			return nil, fmt.Errorf("%w: it lacks what was known when it was stored", ErrUnreadable)
		default:
			whole = append(whole, known[token-firstToken]...)
			tokens = tokens[1:]
		}
	}
}
