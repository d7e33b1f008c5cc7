package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// value is a JSON value that keeps the order of its keys and the spelling of its numbers.
type value struct {
	open    byte   // '{', '[', or 0 for a scalar
	literal []byte // of a scalar, as the service writes it
	keys    []string
	values  []value // of an object by its keys, or of a list
}

// maxNesting is far beyond the bodies that the service sends.
const maxNesting = 16

var errNesting = errors.New("nested too deeply")

func parseValue(body []byte) (value, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	v, err := readValue(decoder, maxNesting)
	if err != nil {
		return value{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return value{}, errors.New("data behind the value")
	}
	return v, nil
}

func readValue(decoder *json.Decoder, depth int) (v value, err error) {
	token, err := decoder.Token()
	if err != nil {
		return v, err
	}
	delim, nested := token.(json.Delim)
	if !nested {
		v.literal, err = scalar(token)
		return v, err
	}
	if depth == 0 {
		return v, errNesting
	}
	v.open = byte(delim)
	for decoder.More() {
		if v.open == '{' {
			key, err := decoder.Token()
			if err != nil {
				return v, err
			}
			v.keys = append(v.keys, key.(string))
		}
		member, err := readValue(decoder, depth-1)
		if err != nil {
			return v, err
		}
		v.values = append(v.values, member)
	}
	_, err = decoder.Token()
	return v, err
}

func scalar(token json.Token) ([]byte, error) {
	if number, ok := token.(json.Number); ok {
		return []byte(plainNumber(number.String())), nil
	}
	return plain(token)
}

// plain writes a scalar as the renderer does: without HTML escapes, and other characters as themselves.
func plain(scalar any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(scalar)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// plainNumber takes back 12.0 and 1.2e1: the service writes whole numbers with digits alone.
func plainNumber(text string) string {
	if !strings.ContainsAny(text, ".eE") {
		return text
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || number != math.Trunc(number) || math.Abs(number) >= 1<<53 {
		return text
	}
	return strconv.FormatInt(int64(number), 10)
}

func (v value) append(to []byte) []byte {
	if v.open == 0 {
		return append(to, v.literal...)
	}
	to = append(to, v.open)
	for i, member := range v.values {
		if i > 0 {
			to = append(to, ',')
		}
		if v.open == '{' {
			key, _ := plain(v.keys[i]) // a string can always be written
			to = append(append(to, key...), ':')
		}
		to = member.append(to)
	}
	return append(to, v.open+2) // '}' is two behind '{', and ']' behind '['
}

// reencoded writes the body as the service writes JSON, in the order that the keys have.
func reencoded(body []byte) ([]byte, bodyChange, bool) {
	v, err := parseValue(body)
	if err != nil {
		return nil, bodyChange{}, false
	}
	return v.append(make([]byte, 0, len(body))), bodyChange{CodeBodyReserialised, "The body was parsed and written anew: " + rewriting(body) + "."}, true
}

// rewriting names what about the body's spelling is not the service's.
func rewriting(body []byte) string {
	lower := bytes.ToLower(body)
	var signs []string
	if slices.ContainsFunc([]string{`\u003c`, `\u003e`, `\u0026`, `\u0027`, `\u0022`}, func(s string) bool { return bytes.Contains(lower, []byte(s)) }) {
		signs = append(signs, "it has HTML escapes like \\u003c")
	}
	if bytes.Contains(body, []byte(`\/`)) {
		signs = append(signs, `it has slashes written as \/`)
	}
	if bytes.Contains(lower, []byte(`\u`)) && len(signs) == 0 {
		signs = append(signs, "it has characters written as escapes like \\u00e4")
	}
	if len(signs) == 0 {
		return "the JSON means the same, but its bytes differ"
	}
	return strings.Join(signs, ", ")
}

// keyOrder is the contract's (section 2), of all objects of a body in one list.
var keyOrder = []string{
	"id", "eventId", "eventType", "occurredAt", "tenantId", "source", "payloadVersion",
	"customer", "location", "contact", "appointment", "visitReport", "followUp", "billingEvent", "target", "subscription", "delivery", "secretRotation",
	"ordinavoCustomerId", "ordinavoLocationId", "ordinavoContactId", "externalId", "customerNumber", "name", "city", "hasCoordinates", "displayName",
	"title", "status", "result", "followUpRequired", "isBillable", "billingStatus", "attachmentCount", "summaryPreview",
	"scheduledStart", "scheduledEnd", "startedAt", "completedAt", "problem", "cancellationReason",
	"reason", "dueDate", "sourceType", "visitReportId", "targetId", "appointmentId", "createdAtUtc", "error", "code", "message",
	"failuresInARow", "failingSince", "attemptCount", "createdAt", "lastOutcome", "lastResponseStatus", "overlapEnd",
}

var keyRank = func() map[string]int {
	ranks := make(map[string]int, len(keyOrder))
	for i, key := range keyOrder {
		ranks[key] = i
	}
	return ranks
}()

// reordered writes the body with its keys in the service's order: many libraries sort them.
func reordered(body []byte) ([]byte, bodyChange, bool) {
	v, err := parseValue(body)
	if err != nil {
		return nil, bodyChange{}, false
	}
	return v.inOrder().append(make([]byte, 0, len(body))), bodyChange{CodeBodyReserialised, "The body was parsed and written anew: its keys are in another order."}, true
}

func (v value) inOrder() value {
	order := make([]int, len(v.values))
	for i := range order {
		order[i] = i
	}
	if v.open == '{' {
		slices.SortStableFunc(order, func(a, b int) int { return rank(v.keys[a]) - rank(v.keys[b]) })
	}
	sorted := value{open: v.open, literal: v.literal}
	for _, i := range order {
		if v.open == '{' {
			sorted.keys = append(sorted.keys, v.keys[i])
		}
		sorted.values = append(sorted.values, v.values[i].inOrder())
	}
	return sorted
}

func rank(key string) int {
	if r, known := keyRank[key]; known {
		return r
	}
	return len(keyRank)
}
