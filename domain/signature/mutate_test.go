package signature_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf16"

	"github.com/ordinavo/webhooks/domain/signature"
)

// What frameworks, gateways and hasty receivers do to a request.

func indented(body []byte) []byte {
	var text bytes.Buffer
	if err := json.Indent(&text, body, "", "  "); err != nil {
		panic(err)
	}
	return text.Bytes()
}

func remarshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// sorted writes the body as libraries do that sort the keys.
func sorted(body []byte) []byte {
	var decoded any
	_ = json.Unmarshal(body, &decoded)
	return remarshal(decoded)
}

func asciiOnly(body []byte) []byte {
	var text bytes.Buffer
	for _, r := range string(body) {
		if r < 0x80 {
			text.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&text, `\u%04x`, unit)
		}
	}
	return text.Bytes()
}

func toLatin1(body []byte) (single []byte) {
	for _, r := range string(body) {
		if r > 0xFF {
			r = '?'
		}
		single = append(single, byte(r))
	}
	return single
}

// toASCII loses each byte beyond it, as .NET does.
func toASCII(body []byte) []byte {
	lost := bytes.Clone(body)
	for i, b := range lost {
		if b >= 0x80 {
			lost[i] = '?'
		}
	}
	return lost
}

func toUTF16(body []byte) []byte {
	wide := []byte{0xFF, 0xFE}
	for _, unit := range utf16.Encode([]rune(string(body))) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	return wide
}

func mac(key, content []byte) []byte {
	code := hmac.New(sha256.New, key)
	code.Write(content)
	return code.Sum(nil)
}

func standard(mac []byte) string { return "v1," + base64.StdEncoding.EncodeToString(mac) }

func signedContent(r *signature.Received) []byte {
	return append([]byte(r.Headers[signature.HeaderID]+"."+r.Headers[signature.HeaderTimestamp]+"."), r.Body...)
}
