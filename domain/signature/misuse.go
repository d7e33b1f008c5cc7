package signature

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/secret"
)

// misuse is a way to get a signature wrong with the right secret.
type misuse struct {
	code    Code
	what    string
	key     func(secret.Secret) []byte
	content func(message) []byte
}

func withoutPrefix(s secret.Secret) []byte {
	return []byte(strings.TrimPrefix(s.Reveal(), secret.Prefix))
}

func withLineBreak(s secret.Secret) []byte { return append(wholeText(s), '\n') }

func (m message) withoutID() []byte { return append([]byte(m.timestamp+"."), m.body...) }

var bodyMisuses = []misuse{
	{CodeSecretMisused, "the decoded bytes of the secret; the key is the secret's whole text, whsec_ included", secret.Secret.Key, message.bodyAlone},
	{CodeSecretMisused, "the secret's text without whsec_; the key is the whole text, whsec_ included", withoutPrefix, message.bodyAlone},
	{CodeSecretMisused, "the secret with a line break behind it", withLineBreak, message.bodyAlone},
	{CodeContentMisused, "id.timestamp.body; it covers the body alone", wholeText, message.standard},
	{CodeContentMisused, "id.timestamp.body and the decoded bytes of the secret, like webhook-signature; it covers the body alone, with the whole text as the key", secret.Secret.Key, message.standard},
	{CodeContentMisused, "timestamp.body; it covers the body alone", wholeText, message.withoutID},
}

var standardMisuses = []misuse{
	{CodeSecretMisused, "the secret's text, whsec_ included; the key is the part behind it, decoded from base64", wholeText, message.standard},
	{CodeSecretMisused, "the secret's text without whsec_; the key is that part decoded from base64", withoutPrefix, message.standard},
	{CodeContentMisused, "the body alone; it covers id.timestamp.body", secret.Secret.Key, message.bodyAlone},
	{CodeContentMisused, "the body alone and the secret's text, like X-Ordinavo-Signature; it covers id.timestamp.body, with the decoded bytes as the key", wholeText, message.bodyAlone},
	{CodeContentMisused, "timestamp.body; it covers id.timestamp.body", secret.Secret.Key, message.withoutID},
}

// misused reports whether a claim was made with one of the secrets, but not in the way that its scheme wants.
func (d *diagnosis) misused(c claim) bool {
	ways := bodyMisuses
	if c.header == HeaderStandard {
		ways = standardMisuses
	}
	for _, way := range ways {
		content := way.content(d.message)
		for _, s := range d.Secrets {
			if c.madeWith(way.key(s.Secret), content) {
				d.add(way.code, SeverityError, "%s was made with %s.", c.header, way.what)
				return true
			}
		}
	}
	return false
}

// substituted reports whether the standard signature is right for the ID or the time that other parts of the
// request tell. An ID that contradicts the body is reported in any case.
func (d *diagnosis) substituted(c claim) bool {
	for _, id := range d.otherIDs() {
		for _, timestamp := range append([]string{d.message.timestamp}, d.otherTimestamps()...) {
			if _, ok := d.signerOf(c, message{id, timestamp, d.Body}); ok {
				d.reportSubstitution(id != d.message.id, timestamp != d.message.timestamp)
				return true
			}
		}
	}
	if eventID := d.bodyEventID(); eventID != "" && eventID != d.message.id {
		d.reportSubstitution(true, false)
	}
	return false
}

func (d *diagnosis) reportSubstitution(id, timestamp bool) {
	if id {
		d.add(CodeWrongEventID, SeverityError, "%s is not the ID that was signed: it must be the body's eventId, as it was sent.", HeaderID)
	}
	if timestamp {
		d.add(CodeTimestampChanged, SeverityError, "%s is not the time that was signed: it must be passed on as it was sent.", HeaderTimestamp)
	}
}

// otherIDs begins with the ID of the header itself.
func (d *diagnosis) otherIDs() []string {
	ids := []string{d.message.id}
	for _, id := range []string{d.bodyEventID(), d.header("X-Ordinavo-Event-Id"), strings.ToUpper(d.message.id)} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

func (d *diagnosis) bodyEventID() string {
	var envelope struct {
		EventID string `json:"eventId"`
	}
	if json.Unmarshal(d.Body, &envelope) != nil {
		return ""
	}
	return envelope.EventID
}

func (d *diagnosis) otherTimestamps() (timestamps []string) {
	given := d.message.timestamp
	for _, text := range []string{d.header("X-Ordinavo-Timestamp"), given} {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			timestamps = append(timestamps, strconv.FormatInt(at.Unix(), 10))
		}
	}
	if number, err := strconv.ParseFloat(given, 64); err == nil && number > 0 && number < 1<<53 {
		timestamps = append(timestamps, strconv.FormatInt(int64(number), 10), strconv.FormatInt(int64(number/1000), 10))
	}
	return timestamps
}
