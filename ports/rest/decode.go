package rest

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ordinavo/webhooks/domain/problem"
)

const (
	// maxDepth is how deep objects and lists may be nested; what the service understands needs five.
	maxDepth = 32
	// maxValues bounds the objects, lists, strings, numbers and so on of a body that is validated by its schema, which makes
	// an error of about 500 bytes for each that is wrong. What needs most of them is a complaint with 100 headers.
	maxValues = 1_000
	// maxBatchValues is for batches of the directory: 5,000 records of five values, within four lists in an object, are 25,005.
	// Batches of events have a decoder of their own.
	maxBatchValues = 30_000
	// maxNumber is the largest whole number that every JSON reader keeps exact.
	maxNumber = 1<<53 - 1
	// maxPathLength bounds how much of a name that a caller made up an answer repeats, in bytes.
	maxPathLength = 200
	wholeBody     = "body"
	wrongForm     = "has a value of the wrong type or form"
)

// strictJSON is the format of all bodies: duplicate names, invalid UTF-8, data after the value, deep nesting and numbers that would be
// rounded are refused, and names are case-sensitive.
var strictJSON = huma.Format{Marshal: writeJSON, Unmarshal: readJSON}

func writeJSON(w io.Writer, v any) error {
	return json.MarshalWrite(w, v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true), shownTimes)
}

// readJSON is called by huma twice: with a *any whose content is then validated against the schema, and
// with the input's own type.
func readJSON(data []byte, v any) error {
	if tooDeep(data) {
		return errTooDeep
	}
	into, isAny := v.(*any)
	if !isAny {
		if err := json.Unmarshal(data, v, wholeNumbers); err != nil {
			return asDecodeError(err, "")
		}
		return nil
	}
	decoder := jsontext.NewDecoder(bytes.NewBuffer(data))
	value, err := readAny(decoder)
	if err != nil {
		return asDecodeError(err, "")
	}
	*into = value
	return endOf(decoder)
}

// decodeError is what is wrong with a body, and where. Its text says both, since the text is all that huma keeps.
type decodeError struct {
	code    problem.Code
	path    string
	message string
}

const decodeSeparator = "\x1f"

func (e *decodeError) Error() string {
	return decodeSeparator + string(e.code) + decodeSeparator + e.path + decodeSeparator + e.message
}

func parseDecodeError(text string) (code problem.Code, path, message string, ok bool) {
	parts := strings.SplitN(text, decodeSeparator, 4)
	if len(parts) != 4 || parts[0] != "" {
		return "", "", "", false
	}
	return problem.Code(parts[1]), parts[2], parts[3], true
}

// problem is the refusal that the error stands for.
func (e *decodeError) problem() *problem.Error {
	detail := "The body is not JSON that this service understands."
	if e.code == problem.ValidationFailed {
		detail = "The input has fields that are missing or not valid."
	}
	return &problem.Error{Code: e.code, Detail: detail, Fields: map[string][]string{e.path: {e.message}}}
}

var errTooDeep = &decodeError{problem.InvalidRequest, wholeBody, "is nested deeper than " + strconv.Itoa(maxDepth) + " levels"}

func errTooManyValues(most int) *decodeError {
	return &decodeError{problem.InvalidRequest, wholeBody, "has more than " + strconv.Itoa(most) + " values"}
}

// asDecodeError names where a decoder stopped; paths begin with prefix.
func asDecodeError(err error, prefix string) error {
	var known *decodeError
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &syntactic):
		return &decodeError{problem.InvalidRequest, pathOf(prefix, syntactic.JSONPointer), syntaxMessage(syntactic)}
	case errors.As(err, &semantic):
		return &decodeError{problem.ValidationFailed, pathOf(prefix, semantic.JSONPointer), wrongForm}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &decodeError{problem.InvalidRequest, pathOf(prefix, ""), "ends in the middle of the JSON"}
	default:
		return err
	}
}

func syntaxMessage(err *jsontext.SyntacticError) string {
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "is there twice"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "ends in the middle of the JSON"
	case err.Err != nil && strings.Contains(err.Err.Error(), "UTF-8"):
		return "is not valid UTF-8, at byte " + strconv.FormatInt(err.ByteOffset, 10)
	default:
		return "is not JSON, at byte " + strconv.FormatInt(err.ByteOffset, 10)
	}
}

// pathOf writes a JSON pointer the way the contract writes paths: events[3].visitReport.id.
func pathOf(prefix string, pointer jsontext.Pointer) string {
	var path strings.Builder
	path.WriteString(prefix)
	for token := range pointer.Tokens() {
		if _, err := strconv.ParseUint(token, 10, 32); err == nil {
			path.WriteString("[" + token + "]")
			continue
		}
		if path.Len() > 0 {
			path.WriteByte('.')
		}
		path.WriteString(token)
	}
	if path.Len() == 0 {
		return wholeBody
	}
	return printable(path.String())
}

// printable shortens a name that a caller made up, and takes out what could harm a terminal or a log.
func printable(name string) string {
	if len(name) > maxPathLength {
		name = name[:maxPathLength] + "…"
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, name), "")
}

// tooDeep only counts brackets outside strings, so that ten thousand levels are refused before anything recurses into them.
func tooDeep(data []byte) bool {
	depth := 0
	for mark := range marks(data) {
		switch mark {
		case '{', '[':
			if depth++; depth > maxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// tooManyValues counts before anything is kept of them: a value stands at the beginning, or behind a bracket that opens or a comma.
func tooManyValues(data []byte, most int) bool {
	values := 1
	for mark := range marks(data) {
		switch mark {
		case '{', '[', ',':
			if values++; values > most {
				return true
			}
		}
	}
	return false
}

// marks are the brackets and commas that stand outside strings.
func marks(data []byte) iter.Seq[byte] {
	return func(yield func(byte) bool) {
		inString := false
		for i := 0; i < len(data); i++ {
			switch data[i] {
			case '\\':
				if inString {
					i++
				}
			case '"':
				inString = !inString
			case '{', '[', '}', ']', ',':
				if !inString && !yield(data[i]) {
					return
				}
			}
		}
	}
}

// endOf refuses data after the value.
func endOf(decoder *jsontext.Decoder) error {
	if _, err := decoder.ReadToken(); err != io.EOF {
		return &decodeError{problem.InvalidRequest, wholeBody, "has data behind the JSON value"}
	}
	return nil
}

// readAny reads a value as encoding/json gives it: maps, slices, strings, float64, bool, nil.
func readAny(decoder *jsontext.Decoder) (any, error) {
	switch decoder.PeekKind() {
	case '{':
		return readObject(decoder)
	case '[':
		return readList(decoder)
	case '0':
		return readNumber(decoder)
	}
	token, err := decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	default:
		return nil, nil
	}
}

func readObject(decoder *jsontext.Decoder) (any, error) {
	if _, err := decoder.ReadToken(); err != nil {
		return nil, err
	}
	object := map[string]any{}
	for decoder.PeekKind() != '}' {
		name, err := decoder.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if object[key], err = readAny(decoder); err != nil {
			return nil, err
		}
	}
	_, err := decoder.ReadToken()
	return object, err
}

func readList(decoder *jsontext.Decoder) (any, error) {
	if _, err := decoder.ReadToken(); err != nil {
		return nil, err
	}
	list := []any{}
	for decoder.PeekKind() != ']' {
		value, err := readAny(decoder)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := decoder.ReadToken()
	return list, err
}

func readNumber(decoder *jsontext.Decoder) (any, error) {
	token, err := decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseFloat(token.String(), 64)
	if err != nil || number > maxNumber || number < -maxNumber {
		return nil, &decodeError{problem.ValidationFailed, pathOf("", decoder.StackPointer()), "is a number beyond 2^53, which cannot be kept exactly"}
	}
	return number, nil
}
