// Package signature makes and checks the two signatures of a request (contract, section 4): the
// body's own, as existing receivers expect it, and that of Standard Webhooks 1.0, which covers
// the event's ID and the time as well.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/ordinavo/webhooks/domain/secret"
)

// The headers that carry the signatures.
const (
	HeaderBody      = "X-Ordinavo-Signature"
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderStandard  = "webhook-signature"
)

const (
	bodyPrefix      = "sha256="
	standardVersion = "v1"
	standardPrefix  = standardVersion + ","
)

// Signatures is the values of the headers of the same names.
type Signatures struct {
	Body      string // of HeaderBody
	ID        string // of HeaderID
	Timestamp string // of HeaderTimestamp, in Unix seconds
	Standard  string // of HeaderStandard
}

// Sign signs one attempt. forBody keys the header that has room for one signature; standard is
// every valid secret, of which webhook-signature carries one signature each, in that order.
func Sign(body []byte, at time.Time, eventID string, forBody secret.Secret, standard ...secret.Secret) Signatures {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	return Signatures{
		Body:      signBody(body, forBody),
		ID:        eventID,
		Timestamp: timestamp,
		Standard:  signStandard(eventID, timestamp, body, standard),
	}
}

func signBody(body []byte, s secret.Secret) string {
	text := append(make([]byte, 0, len(bodyPrefix)+2*sha256.Size), bodyPrefix...)
	return string(hex.AppendEncode(text, bodyMAC(body, s)))
}

func signStandard(id, timestamp string, body []byte, secrets []secret.Secret) string {
	list := make([]byte, 0, 128) // two of them
	for i, s := range secrets {
		if i > 0 {
			list = append(list, ' ')
		}
		list = base64.StdEncoding.AppendEncode(append(list, standardPrefix...), standardMAC(id, timestamp, body, s))
	}
	return string(list)
}

// bodyMAC is keyed with the text of the secret, not with the bytes that it encodes.
func bodyMAC(body []byte, s secret.Secret) []byte {
	mac := hmac.New(sha256.New, []byte(s.Reveal()))
	mac.Write(body)
	return mac.Sum(nil)
}

func standardMAC(id, timestamp string, body []byte, s secret.Secret) []byte {
	mac := hmac.New(sha256.New, s.Key())
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}
