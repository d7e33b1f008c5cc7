package compact

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// Tokens stand in a content for a text that the reader knows, or for hexadecimal digits, which take half the room as bytes.
// No token is ever in valid UTF-8, so a content of text has none of its own.
const (
	firstToken = 0xF8
	hexToken   = 0xFF // a byte with their number, and the bytes follow
	maxKnown   = hexToken - firstToken
	minKnown   = 8  // shorter texts do not pay
	minHex     = 16 // shorter runs of digits, most of which are numbers, neither
	maxHex     = 2 * 0xFF
)

func hasToken(content []byte) bool {
	for _, b := range content {
		if b >= firstToken {
			return true
		}
	}
	return false
}

// tokenize appends the content with tokens; texts is room to work in.
func tokenize(to, texts, content []byte, known []string) (tokens, room []byte) {
	texts = append(texts[:0], content...)
	for i, text := range known[:min(len(known), maxKnown)] {
		if len(text) >= minKnown {
			texts = replaced(texts, text, byte(firstToken+i))
		}
	}
	return packHex(to, texts), texts
}

// replaced puts a token for each of the texts, in place: it is shorter.
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

// packHex appends the content with bytes for its runs of lower-case hexadecimal digits.
func packHex(to, content []byte) []byte {
	done := 0 // what was appended
	for i := 0; i < len(content); {
		if !digits[content[i]] {
			i++
			continue
		}
		from := i
		for i < len(content) && digits[content[i]] && i < from+maxHex {
			i++
		}
		if n := (i - from) / 2; 2*n >= minHex {
			to = append(append(to, content[done:from]...), hexToken, byte(n))
			to, _ = hex.AppendDecode(to, content[from:from+2*n]) // digits alone: it cannot fail
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

// restore puts texts and digits for their tokens.
func restore(tokens []byte, known []string) ([]byte, error) {
	whole := make([]byte, 0, len(tokens)+len(tokens)/2)
	for i := 0; i < len(tokens); i++ {
		b := tokens[i]
		switch {
		case b < firstToken:
			whole = append(whole, b)
			continue
		case b == hexToken:
			if i+1 >= len(tokens) || i+2+int(tokens[i+1]) > len(tokens) {
				return nil, fmt.Errorf("%w: its digits are cut off", ErrUnreadable)
			}
			n := int(tokens[i+1])
			whole = hex.AppendEncode(whole, tokens[i+2:i+2+n])
			i += 1 + n
		case int(b-firstToken) >= len(known):
			return nil, fmt.Errorf("%w: it lacks what was known when it was stored", ErrUnreadable)
		default:
			whole = append(whole, known[b-firstToken]...)
		}
		if len(whole) > maxPlain {
			return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrUnreadable, maxPlain)
		}
	}
	return whole, nil
}
