package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"iter"
	"slices"
	"unicode/utf8"
)

// original is a body that may have been sent, with what happened to it on the way if it was.
type original struct {
	body    []byte
	changes []bodyChange
}

type bodyChange struct {
	code Code
	what string
}

// undo takes back one thing that may have happened to a body. It is false when there is nothing to take back.
type undo func(body []byte) (original []byte, change bodyChange, ok bool)

// bodyChanged looks for a body for which one of the claims is right, and tells how it became this one.
func (d *diagnosis) bodyChanged(claims []claim) bool {
	for candidate := range originals(d.Body) {
		m := d.message
		m.body = candidate.body
		for _, c := range claims {
			s, ok := d.signerOf(c, m)
			if !ok {
				continue
			}
			for _, change := range candidate.changes {
				d.add(change.code, SeverityError, "%s The signature is over the bytes as they were sent: check it before anything else touches them.", change.what)
			}
			d.checkRole(c, s)
			return true
		}
	}
	return false
}

// transports are undone first, at most one of them: they change every byte, or the text as a whole.
var transports = []undo{asItIs, fromLatin1, fromWindows1252, fromTwiceEncodedLatin1, fromTwiceEncoded1252, fromUTF16, fromBase64, fromJSONString}

// edits are undone one after the other, each on what the one before it left.
var edits = []undo{withoutByteOrderMark, withoutCarriageReturns, withoutSpaceAround, withoutSpaceBetween, reencoded, reordered}

// additions are tried by themselves: they put back what was taken away.
var additions = []undo{withLineBreakBehind, withCarriageReturns}

// originals yields what the body may have been, the likeliest first.
func originals(body []byte) iter.Seq[original] {
	return func(yield func(original) bool) {
		for _, transport := range transports {
			decoded, change, ok := transport(body)
			if !ok {
				continue
			}
			start := original{decoded, nil}
			if change.code != "" {
				start = start.after(decoded, change)
			}
			if !yieldEdited(start, yield) {
				return
			}
		}
	}
}

func yieldEdited(o original, yield func(original) bool) bool {
	if len(o.changes) > 0 && !yield(o) {
		return false
	}
	for _, add := range additions {
		if body, change, ok := add(o.body); ok && !yield(o.after(body, change)) {
			return false
		}
	}
	for _, edit := range edits {
		body, change, ok := edit(o.body)
		if !ok || bytes.Equal(body, o.body) {
			continue
		}
		o = o.after(body, change)
		if !yield(o) {
			return false
		}
	}
	return true
}

// after is the candidate with one more change; a change that is there already is not told twice.
func (o original) after(body []byte, change bodyChange) original {
	changes := slices.Clone(o.changes)
	if !slices.Contains(changes, change) {
		changes = append(changes, change)
	}
	return original{body, changes}
}

func asItIs(body []byte) ([]byte, bodyChange, bool) { return body, bodyChange{}, true }

func withoutByteOrderMark(body []byte) ([]byte, bodyChange, bool) {
	return bytes.TrimPrefix(body, []byte("\ufeff")), bodyChange{CodeByteOrderMark, "A byte order mark was put before the body."}, true
}

func withoutCarriageReturns(body []byte) ([]byte, bodyChange, bool) {
	return bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")), bodyChange{CodeLineEndings, "Line endings were changed to CR LF."}, true
}

func withCarriageReturns(body []byte) ([]byte, bodyChange, bool) {
	ok := bytes.Contains(body, []byte("\n")) && !bytes.Contains(body, []byte("\r"))
	return bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n")), bodyChange{CodeLineEndings, "Line endings were changed to LF."}, ok
}

var whiteSpace = bodyChange{CodeWhiteSpace, "White space was changed: line breaks, indentation, or blanks before, behind or between the parts."}

func withoutSpaceAround(body []byte) ([]byte, bodyChange, bool) {
	return bytes.TrimSpace(body), whiteSpace, true
}

func withLineBreakBehind(body []byte) ([]byte, bodyChange, bool) {
	return append(slices.Clone(body), '\n'), whiteSpace, !bytes.HasSuffix(body, []byte("\n"))
}

func withoutSpaceBetween(body []byte) ([]byte, bodyChange, bool) {
	var compact bytes.Buffer
	err := json.Compact(&compact, body)
	return compact.Bytes(), whiteSpace, err == nil
}

func fromBase64(body []byte) ([]byte, bodyChange, bool) {
	decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(body)))
	return decoded, bodyChange{CodeBodyEncoded, "The body is in base64, as some gateways hand it on."}, err == nil && len(decoded) > 0
}

func fromJSONString(body []byte) ([]byte, bodyChange, bool) {
	var text string
	err := json.Unmarshal(body, &text)
	return []byte(text), bodyChange{CodeBodyEncoded, "The body was wrapped into a JSON string."}, err == nil
}

// hintAtBody says what speaks against the body when no signature can tell. It reports whether the body cannot be one that was sent.
func (d *diagnosis) hintAtBody() (altered bool) {
	normal, _, ok := reordered(d.Body)
	switch {
	case bytes.ContainsRune(d.Body, utf8.RuneError) || !utf8.Valid(d.Body):
		d.add(CodeCharset, SeverityError, "The body has characters that were lost when it was decoded: it was sent in UTF-8.")
	case !ok:
		d.add(CodeBodyAltered, SeverityError, "The body is not JSON: it is not what was sent.")
	case !bytes.Equal(normal, d.Body):
		d.add(CodeBodyAltered, SeverityError, "The body is not written as the service writes JSON: something on the way wrote it anew.")
	case missingKey(d.Body) != "": // as in {}, which frameworks make of a body that they did not parse, or in what a receiver wrote from classes of its own
		d.add(CodeBodyAltered, SeverityError, "The body has no %s: it is not what was sent.", missingKey(d.Body))
		return true
	case bytes.ContainsRune(d.Body, '?') && !slices.ContainsFunc(d.Body, func(b byte) bool { return b >= utf8.RuneSelf }):
		d.add(CodeCharset, SeverityWarning, "The body has question marks, and no character beyond ASCII: if they stand for some that were lost when it was decoded, it was sent in UTF-8.")
		return false
	default:
		return false
	}
	// A replacement character alone proves nothing: it may have been lost before the event was emitted.
	return !utf8.Valid(d.Body) || !bytes.Equal(normal, d.Body)
}

// envelope begins every body (contract, section 2).
var envelope = []string{"eventId", "eventType", "occurredAt", "tenantId", "source", "payloadVersion"}

// missingKey is what of the envelope the body has not, or not in this case: .NET writes EventId.
func missingKey(body []byte) string {
	v, _ := parseValue(body) // what cannot be parsed has no keys
	for _, key := range envelope {
		if !slices.Contains(v.keys, key) {
			return key
		}
	}
	return ""
}
