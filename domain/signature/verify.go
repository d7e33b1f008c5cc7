package signature

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/secret"
)

// Why a signature is refused; each tells a receiver what to look at.
var (
	ErrMissing            = errors.New("the signature, ID or timestamp is missing")
	ErrForm               = errors.New("the signature does not have the form that its header needs")
	ErrUnsupportedVersion = errors.New("the header has no signature of version v1")
	ErrTimestampForm      = errors.New("the timestamp is not a number of Unix seconds")
	ErrTimestampTooOld    = errors.New("the timestamp is too old")
	ErrTimestampTooNew    = errors.New("the timestamp is too far in the future")
	ErrNoSecret           = errors.New("there is no secret to verify with")
	ErrMismatch           = errors.New("the signature is not of this content and secret")
)

// maxHeaderLength bounds the work for a webhook-signature header; a real one has two signatures.
const maxHeaderLength = 4096

// DefaultTolerance is how far a timestamp may be off, as Standard Webhooks' own libraries have it.
const DefaultTolerance = 5 * time.Minute

// VerifyBody checks X-Ordinavo-Signature against the raw body. It fails with ErrNoSecret,
// ErrMissing, ErrForm or ErrMismatch.
func VerifyBody(header string, body []byte, s secret.Secret) error {
	switch {
	case s.IsZero():
		return ErrNoSecret
	case header == "":
		return ErrMissing
	}
	digits, found := strings.CutPrefix(header, bodyPrefix)
	given, err := hex.DecodeString(digits)
	if !found || err != nil || strings.ToLower(digits) != digits {
		return ErrForm
	}
	if !hmac.Equal(given, bodyMAC(body, s)) {
		return ErrMismatch
	}
	return nil
}

// VerifyStandard checks the three headers of Standard Webhooks 1.0 against the raw body: one of
// the header's v1 signatures must be of one of the secrets, and the timestamp at most tolerance
// away from now. Signatures of other versions are passed over. It fails with one of the package's
// errors; the signature is checked before the time, so that a wrong secret is not taken for a
// wrong clock.
func VerifyStandard(id, timestamp, signatureHeader string, body []byte, now time.Time, tolerance time.Duration, secrets ...secret.Secret) error {
	if id == "" || timestamp == "" || signatureHeader == "" {
		return ErrMissing
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != timestamp {
		return ErrTimestampForm
	}
	given, err := parseStandard(signatureHeader)
	if err != nil {
		return err
	}
	if err := matchAny(given, id, timestamp, body, secrets); err != nil {
		return err
	}
	return checkAge(time.Unix(seconds, 0), now, tolerance)
}

// parseStandard is the header's v1 signatures, decoded.
func parseStandard(header string) ([][]byte, error) {
	if len(header) > maxHeaderLength {
		return nil, ErrForm
	}
	var given [][]byte
	for _, entry := range strings.Split(header, " ") {
		version, encoded, found := strings.Cut(entry, ",")
		if !found {
			return nil, ErrForm
		}
		if version != standardVersion {
			continue
		}
		mac, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || base64.StdEncoding.EncodeToString(mac) != encoded {
			return nil, ErrForm
		}
		given = append(given, mac)
	}
	if len(given) == 0 {
		return nil, ErrUnsupportedVersion
	}
	return given, nil
}

func matchAny(given [][]byte, id, timestamp string, body []byte, secrets []secret.Secret) error {
	checked := false
	for _, s := range secrets {
		if s.IsZero() {
			continue
		}
		checked = true
		expected := standardMAC(id, timestamp, body, s)
		for _, mac := range given {
			if hmac.Equal(mac, expected) {
				return nil
			}
		}
	}
	if !checked {
		return ErrNoSecret
	}
	return ErrMismatch
}

func checkAge(at, now time.Time, tolerance time.Duration) error {
	switch {
	case at.Before(now.Add(-tolerance)):
		return ErrTimestampTooOld
	case at.After(now.Add(tolerance)):
		return ErrTimestampTooNew
	default:
		return nil
	}
}
