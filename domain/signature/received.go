package signature

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readHeaders reads the four headers as far as they can be read, and notes what a strict reader would refuse.
func (d *diagnosis) readHeaders() {
	ofBody, id := d.header(HeaderBody), d.header(HeaderID)
	timestamp, standard := d.header(HeaderTimestamp), d.header(HeaderStandard)
	d.message = message{id, timestamp, d.Body}
	d.reportMissing(ofBody, map[string]string{HeaderID: id, HeaderTimestamp: timestamp, HeaderStandard: standard})
	if macs := d.readBodySignature(ofBody); len(macs) > 0 {
		d.claims = append(d.claims, claim{bodyScheme, macs})
	}
	if macs := d.readStandardSignature(standard); len(macs) > 0 && id != "" && timestamp != "" {
		d.claims = append(d.claims, claim{standardScheme, macs})
	}
}

// isCalled knows a header also by the name that CGI gives it, which is all that PHP, WSGI and Rack show of a request: HTTP_WEBHOOK_ID.
func isCalled(given, name string) bool {
	return strings.EqualFold(given, name) || strings.EqualFold(given, "HTTP_"+strings.ReplaceAll(name, "-", "_"))
}

// header finds a header by its name in any case. The value is without white space around it.
func (d *diagnosis) header(name string) string {
	var values []string
	for given, value := range d.Headers {
		if isCalled(strings.TrimSpace(given), name) {
			values = append(values, value)
		}
	}
	if len(values) == 0 {
		return ""
	}
	slices.Sort(values)
	if len(slices.Compact(values)) > 1 {
		d.add(CodeHeaderMalformed, SeverityError, "%s is there more than once, with different values.", name)
	}
	trimmed := strings.TrimSpace(values[0])
	if trimmed != values[0] {
		d.add(CodeHeaderMalformed, SeverityError, "%s has white space around its value.", name)
	}
	return trimmed
}

// reportMissing tells a receiver who passed on one of the two schemes from one who lost a header.
func (d *diagnosis) reportMissing(ofBody string, standard map[string]string) {
	var missing []string
	for name, value := range standard {
		if value == "" {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	noStandard := len(missing) == len(standard)
	for _, name := range missing {
		severity := SeverityError
		if noStandard && ofBody != "" {
			severity = SeverityWarning
		}
		d.add(CodeHeaderMissing, severity, "%s is missing; without it %s cannot be checked.", name, HeaderStandard)
	}
	if ofBody == "" {
		severity := SeverityError
		if len(missing) == 0 {
			severity = SeverityWarning
		}
		d.add(CodeHeaderMissing, severity, "%s is missing.", HeaderBody)
	}
}

func (d *diagnosis) readBodySignature(header string) [][]byte {
	if header == "" {
		return nil
	}
	digits := header
	if len(header) >= len(bodyPrefix) && strings.EqualFold(header[:len(bodyPrefix)], bodyPrefix) {
		digits = header[len(bodyPrefix):]
	}
	if !strings.HasPrefix(header, bodyPrefix) {
		d.add(CodeSignatureEncoding, SeverityError, "%s must begin with %s", HeaderBody, bodyPrefix)
	}
	mac, encoding := decodeMAC(digits)
	switch encoding {
	case "":
		d.add(CodeHeaderMalformed, SeverityError, "%s is no signature: it must be %s and 64 lower-case hexadecimal digits.", HeaderBody, bodyPrefix)
		return nil
	case encodingHex:
	default:
		d.add(CodeSignatureEncoding, SeverityError, "%s is in %s; it must be in %s.", HeaderBody, encoding, encodingHex)
	}
	return [][]byte{mac}
}

func (d *diagnosis) readStandardSignature(header string) (macs [][]byte) {
	if header == "" {
		return nil
	}
	if len(header) > maxHeaderLength {
		d.add(CodeHeaderMalformed, SeverityError, "%s is longer than %d bytes.", HeaderStandard, maxHeaderLength)
		return nil
	}
	entries := strings.Fields(header)
	if strings.Join(entries, " ") != header {
		d.add(CodeHeaderMalformed, SeverityError, "%s must have one space between its signatures.", HeaderStandard)
	}
	for _, entry := range entries {
		if mac := d.readEntry(entry); mac != nil {
			macs = append(macs, mac)
		}
	}
	if len(macs) == 0 {
		d.add(CodeHeaderMalformed, SeverityError, "%s has no signature of the version %s: %s and the base64 of 32 bytes.", HeaderStandard, standardVersion, standardPrefix)
	}
	return macs
}

// readEntry reads one signature of the list; signatures of other versions are passed over.
func (d *diagnosis) readEntry(entry string) []byte {
	version, encoded, found := strings.Cut(entry, ",")
	switch {
	case !found:
		d.add(CodeSignatureEncoding, SeverityError, "%s has a signature that does not begin with %s", HeaderStandard, standardPrefix)
		encoded = strings.TrimPrefix(entry, standardVersion+"=")
	case version != standardVersion:
		return nil
	}
	mac, encoding := decodeMAC(encoded)
	switch encoding {
	case "":
		d.add(CodeHeaderMalformed, SeverityError, "%s has a signature that is not the base64 of 32 bytes.", HeaderStandard)
	case encodingBase64:
	default:
		d.add(CodeSignatureEncoding, SeverityError, "%s has a signature in %s; it must be in %s.", HeaderStandard, encoding, encodingBase64)
	}
	return mac
}

// How a signature may be written.
const (
	encodingHex    = "lower-case hexadecimal"
	encodingHEX    = "upper-case hexadecimal"
	encodingBase64 = "standard base64 with padding"
	encodingOther  = "another base64 than the standard one with padding"
)

// decodeMAC reads 32 bytes in whatever encoding they are; the encoding is empty when it is none.
func decodeMAC(text string) (mac []byte, encoding string) {
	if mac, err := hex.DecodeString(text); err == nil && len(mac) == macSize {
		if strings.ToLower(text) == text {
			return mac, encodingHex
		}
		return mac, encodingHEX
	}
	if mac, err := base64.StdEncoding.DecodeString(text); err == nil && len(mac) == macSize && base64.StdEncoding.EncodeToString(mac) == text {
		return mac, encodingBase64
	}
	for _, other := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if mac, err := other.DecodeString(text); err == nil && len(mac) == macSize {
			return mac, encodingOther
		}
	}
	return nil, ""
}

// macSize is that of HMAC-SHA256 in bytes.
const macSize = 32

func (d *diagnosis) checkTimestamp() {
	if d.message.timestamp == "" {
		return
	}
	seconds, err := strconv.ParseInt(d.message.timestamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != d.message.timestamp {
		d.add(CodeHeaderMalformed, SeverityError, "%s is not a number of Unix seconds.", HeaderTimestamp)
		return
	}
	if now := d.At.UnixMilli(); seconds > now/2 && seconds < now*2 {
		d.add(CodeHeaderMalformed, SeverityError, "%s is in milliseconds; it must be in seconds.", HeaderTimestamp)
		return
	}
	severity, when := SeverityError, "when the request was received"
	if d.AtAssumed {
		severity, when = SeverityWarning, "now; say receivedAt to have it checked against the time of the request"
	}
	switch off := checkAge(time.Unix(seconds, 0), d.At, DefaultTolerance); {
	case off == nil:
		d.add(CodeTimestampOK, SeverityOK, "%s is within %s of the time.", HeaderTimestamp, DefaultTolerance)
	case errors.Is(off, ErrTimestampTooOld):
		d.add(CodeTimestampTooOld, severity, "%s is more than %s older than the time %s. A replayed request, or a clock that is ahead.", HeaderTimestamp, DefaultTolerance, when)
	default:
		d.add(CodeTimestampInFuture, severity, "%s is more than %s ahead of the time %s. The receiver's clock is behind.", HeaderTimestamp, DefaultTolerance, when)
	}
}
