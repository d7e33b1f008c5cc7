// Package seal encrypts secrets at rest with AES-256-GCM through Tink, bound to the place that a value was
// sealed for.
package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/ordinavo/webhooks/domain/secret"
)

// KeySize is the length of a master key in bytes.
const KeySize = 32

// ErrOpen refuses a value that was changed, or was sealed for another place or with a master key that this
// process does not have.
var ErrOpen = errors.New("the sealed value does not open here with this master key")

// Sealer seals with its primary key, and opens what that or an older key sealed. Every sealed value
// begins with the ID of its key (Tink's output prefix, five bytes). It is safe for concurrent use.
type Sealer struct {
	aead    tink.AEAD
	primary [prefixSize]byte // how values sealed with the primary key begin
}

// prefixSize is the length of Tink's output prefix in bytes: a one and the key's ID.
const prefixSize = 5

// New makes a Sealer of master keys of KeySize bytes each; older ones were primary before.
func New(primary []byte, older ...[]byte) (*Sealer, error) {
	keys := keyset.NewManager()
	primaryID, err := add(keys, primary)
	if err != nil {
		return nil, err
	}
	for _, master := range older {
		if string(master) == string(primary) {
			continue
		}
		if _, err := add(keys, master); err != nil {
			return nil, err
		}
	}
	if err := keys.SetPrimary(primaryID); err != nil {
		return nil, fmt.Errorf("choose the primary key: %w", err)
	}
	handle, err := keys.Handle()
	if err != nil {
		return nil, fmt.Errorf("make the keyset: %w", err)
	}
	sealing, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("make the AEAD: %w", err)
	}
	s := &Sealer{aead: sealing, primary: [prefixSize]byte{1}}
	binary.BigEndian.PutUint32(s.primary[1:], primaryID)
	return s, nil
}

// Current reports whether the value was sealed with the primary key.
func (s *Sealer) Current(sealed []byte) bool { return bytes.HasPrefix(sealed, s.primary[:]) }

// add derives a sealing key and its ID from a master key, which itself encrypts nothing, so that it can
// serve other purposes later without one weakening the other.
func add(keys *keyset.Manager, master []byte) (id uint32, err error) {
	if len(master) != KeySize {
		return 0, fmt.Errorf("a master key has %d bytes, not %d", KeySize, len(master))
	}
	sealing, err := hkdf.Key(sha256.New, master, nil, "ordinavo-webhooks seal aes256-gcm v1", KeySize)
	if err != nil {
		return 0, fmt.Errorf("derive the sealing key: %w", err)
	}
	name, err := hkdf.Key(sha256.New, master, nil, "ordinavo-webhooks seal key-id v1", 4)
	if err != nil {
		return 0, fmt.Errorf("derive the key's ID: %w", err)
	}
	parameters, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: KeySize, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink,
	})
	if err != nil {
		return 0, fmt.Errorf("describe the sealing key: %w", err)
	}
	key, err := aesgcm.NewKey(secretdata.NewBytesFromData(sealing, insecuresecretdataaccess.Token{}), binary.BigEndian.Uint32(name), parameters)
	if err != nil {
		return 0, fmt.Errorf("make the sealing key: %w", err)
	}
	if id, err = keys.AddKey(key); err != nil {
		return 0, fmt.Errorf("add a master key: %w", err)
	}
	return id, nil
}

// Seal encrypts plain for the place that the associated texts name: tenant, purpose, object. Sealing
// the same value twice gives different bytes.
func (s *Sealer) Seal(plain []byte, associated ...string) ([]byte, error) {
	sealed, err := s.aead.Encrypt(plain, place(associated))
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// Open decrypts what was sealed for the same associated texts; otherwise it fails with ErrOpen.
func (s *Sealer) Open(sealed []byte, associated ...string) ([]byte, error) {
	plain, err := s.aead.Decrypt(sealed, place(associated))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// place joins the texts with their lengths, so that moving a boundary names another place.
func place(texts []string) []byte {
	var joined []byte
	for _, text := range texts {
		joined = binary.AppendUvarint(joined, uint64(len(text)))
		joined = append(joined, text...)
	}
	return joined
}

// NewSecret makes a secret to sign with.
func NewSecret() secret.Secret {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: the process dies first
	return secret.FromBytes(random)
}
