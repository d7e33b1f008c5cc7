package signature

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

var charset = bodyChange{CodeCharset, "The body was turned into another character encoding; it is sent in UTF-8."}

// windows1252 is the characters of its bytes 0x80 to 0x9F; those that it leaves open stand for themselves.
var windows1252 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8D, 'Ž', 0x8F,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9D, 'ž', 'Ÿ',
}

func latin1(b byte) rune { return rune(b) }

func cp1252(b byte) rune {
	if b >= 0x80 && b <= 0x9F {
		return windows1252[b-0x80]
	}
	return rune(b)
}

func fromLatin1(body []byte) ([]byte, bodyChange, bool)      { return fromSingleBytes(body, latin1) }
func fromWindows1252(body []byte) ([]byte, bodyChange, bool) { return fromSingleBytes(body, cp1252) }
func fromTwiceEncodedLatin1(body []byte) ([]byte, bodyChange, bool) {
	return toSingleBytes(body, latin1)
}
func fromTwiceEncoded1252(body []byte) ([]byte, bodyChange, bool) { return toSingleBytes(body, cp1252) }

// fromSingleBytes undoes that the body was written in a charset of one byte a character.
func fromSingleBytes(body []byte, decode func(byte) rune) ([]byte, bodyChange, bool) {
	if utf8.Valid(body) {
		return nil, charset, false
	}
	text := make([]byte, 0, len(body)+len(body)/8)
	for _, b := range body {
		text = utf8.AppendRune(text, decode(b))
	}
	return text, charset, true
}

// toSingleBytes undoes that the bytes of the body were taken for such a charset's, and written in UTF-8 once more.
func toSingleBytes(body []byte, decode func(byte) rune) ([]byte, bodyChange, bool) {
	if !utf8.Valid(body) || !slices.ContainsFunc(body, func(b byte) bool { return b >= utf8.RuneSelf }) {
		return nil, charset, false
	}
	byRune := make(map[rune]byte, 256)
	for b := range 256 {
		byRune[decode(byte(b))] = byte(b)
	}
	single := make([]byte, 0, len(body))
	for _, r := range string(body) {
		b, ok := byRune[r]
		if !ok {
			return nil, charset, false
		}
		single = append(single, b)
	}
	return single, charset, utf8.Valid(single)
}

// fromUTF16 goes by the byte order mark.
func fromUTF16(body []byte) ([]byte, bodyChange, bool) {
	if len(body) < 2 || len(body)%2 != 0 {
		return nil, charset, false
	}
	var order binary.ByteOrder
	switch {
	case body[0] == 0xFF && body[1] == 0xFE:
		order = binary.LittleEndian
	case body[0] == 0xFE && body[1] == 0xFF:
		order = binary.BigEndian
	default:
		return nil, charset, false
	}
	units := make([]uint16, 0, len(body)/2)
	for i := 2; i < len(body); i += 2 {
		units = append(units, order.Uint16(body[i:]))
	}
	return []byte(string(utf16.Decode(units))), charset, true
}
