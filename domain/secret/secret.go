// Package secret holds the signing secrets of subscriptions so that they cannot be printed by
// accident: every way of turning one into text gives *** but Reveal.
package secret

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Prefix begins every secret (Standard Webhooks 1.0; contract, section 4).
const Prefix = "whsec_"

// Size is the number of random bytes in a new secret.
const Size = 32

// Standard Webhooks 1.0 allows keys of 24 to 64 bytes.
const (
	minKeySize = 24
	maxKeySize = 64
)

const redacted = "***"

// ErrForm is the answer to a text that is not a secret. It does not quote the text.
var ErrForm = errors.New("a secret is whsec_ followed by the standard base64 of 24 to 64 bytes")

// Secret is a signing secret. The zero value is no secret.
type Secret struct {
	_ [0]func() // no ==: it would compare addresses; see Equal
	// In unexported fields of other structs fmt may not call methods and prints what it finds. It
	// follows one pointer, for verbs that do not fit, but not two.
	material **material
}

type material struct {
	text string
	key  []byte
}

// FromBytes makes a secret of random bytes.
func FromBytes(random [Size]byte) Secret {
	return hide(Prefix+base64.StdEncoding.EncodeToString(random[:]), random[:])
}

// Parse reads a secret as Reveal writes it. It fails with ErrForm, also for other spellings of
// the same bytes, since one of the two signatures is keyed with the text itself.
func Parse(text string) (Secret, error) {
	encoded, found := strings.CutPrefix(text, Prefix)
	if !found || len(encoded) > base64.StdEncoding.EncodedLen(maxKeySize) {
		return Secret{}, ErrForm
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < minKeySize || len(key) > maxKeySize || base64.StdEncoding.EncodeToString(key) != encoded {
		return Secret{}, ErrForm
	}
	return hide(text, key), nil
}

func hide(text string, key []byte) Secret {
	hidden := &material{text: text, key: key}
	return Secret{material: &hidden}
}

// Reveal is the whole secret as it is shown to its owner, once; empty for the zero value.
func (s Secret) Reveal() string {
	if s.material == nil {
		return ""
	}
	return (*s.material).text
}

// Key is a copy of the decoded bytes; nil for the zero value.
func (s Secret) Key() []byte {
	if s.material == nil {
		return nil
	}
	return bytes.Clone((*s.material).key)
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.material == nil }

// Equal compares in constant time for secrets of one length.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String hides the secret.
func (s Secret) String() string { return redacted }

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return redacted }

// Format hides the secret from every verb of fmt.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, redacted) }

// MarshalJSON hides the secret; what shows or stores it calls Reveal.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
