package stored

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Reader reads the members of an object, in their order, from the form in which it is written: without white space or null. It
// rejects any other form, see End, which is then for encoding/json. A member that does not come next is taken to be left out.
type Reader struct {
	rest   string
	first  bool // nothing of the innermost object has been read
	failed bool
}

// Read begins an object. The texts that are read share the memory of text.
func Read(text string) *Reader {
	r := &Reader{rest: text, first: true}
	r.expect('{')
	return r
}

// DecodeList reads a list of objects as encoding/json does, but without it where the list has the written form. The result may
// share memory.
func DecodeList[T any](text []byte, read func(to *T, r *Reader)) (list []T, err error) {
	r := &Reader{rest: string(text)}
	r.expect('[')
	for !r.failed && !strings.HasPrefix(r.rest, "]") {
		if len(list) > 0 {
			r.expect(',')
		}
		r.expect('{')
		r.first = true
		list = append(list, *new(T))
		read(&list[len(list)-1], r)
		r.expect('}')
	}
	r.expect(']')
	if !r.failed && r.rest == "" {
		return list, nil
	}
	list = nil
	err = json.Unmarshal(text, &list)
	return list, err
}

// End reports whether all was read, up to the last byte.
func (r *Reader) End() bool {
	r.expect('}')
	return !r.failed && r.rest == ""
}

func (r *Reader) expect(b byte) {
	if r.rest == "" || r.rest[0] != b {
		r.fail()
		return
	}
	r.rest = r.rest[1:]
}

func (r *Reader) fail() { r.failed, r.rest = true, "" }

// member reports whether the member comes next, and where its value begins then.
func (r *Reader) member(name string) (value string, ok bool) {
	rest := r.rest
	if !r.first {
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return "", false
		}
	}
	if end := len(name) + 1; len(rest) > end+2 && rest[0] == '"' && rest[1:end] == name && rest[end:end+2] == `":` {
		return rest[end+2:], true
	}
	return "", false
}

// take moves to the value of the member if that comes next.
func (r *Reader) take(name string) bool {
	value, ok := r.member(name)
	if ok {
		r.rest, r.first = value, false
	}
	return ok
}

// Text reads a string.
func (r *Reader) Text(name string, to *string) {
	if r.take(name) {
		*to = r.text()
	}
}

func (r *Reader) text() string {
	quoted := r.rest
	r.expect('"')
	ascii := true
	for i := range len(r.rest) {
		switch b := r.rest[i]; {
		case b == '"':
			text := r.rest[:i]
			if r.rest = r.rest[i+1:]; !ascii && !utf8.ValidString(text) {
				r.fail()
			}
			return text
		case b == '\\':
			return r.escaped(quoted)
		case b < ' ':
			r.fail()
			return ""
		default:
			ascii = ascii && b < utf8.RuneSelf
		}
	}
	r.fail()
	return ""
}

// escaped reads a string in which there are escapes.
func (r *Reader) escaped(quoted string) (text string) {
	end := 1
	for end < len(quoted) && quoted[end] != '"' {
		if quoted[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(quoted) || json.Unmarshal([]byte(quoted[:end+1]), &text) != nil {
		r.fail()
		return ""
	}
	r.rest = quoted[end+1:]
	return text
}

// Int reads a number.
func (r *Reader) Int(name string, to *int64) {
	if !r.take(name) {
		return
	}
	digits := len(r.rest) - len(strings.TrimLeft(r.rest, "-0123456789"))
	n, err := strconv.ParseInt(r.rest[:digits], 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != r.rest[:digits] {
		r.fail()
		return
	}
	*to, r.rest = n, r.rest[digits:]
}

// Bool reads a truth value.
func (r *Reader) Bool(name string, to *bool) {
	if !r.take(name) {
		return
	}
	for _, value := range []bool{true, false} {
		if rest, ok := strings.CutPrefix(r.rest, strconv.FormatBool(value)); ok {
			*to, r.rest = value, rest
			return
		}
	}
	r.fail()
}

// Time reads a time in the form of RFC 3339.
func (r *Reader) Time(name string, to *time.Time) {
	if r.take(name) && to.UnmarshalText([]byte(r.text())) != nil {
		r.fail()
	}
}

// Inner reads an object by what reads its members.
func Inner[T any](r *Reader, name string, read func(to *T, r *Reader)) *T {
	if !r.take(name) {
		return nil
	}
	r.expect('{')
	r.first = true
	to := new(T)
	read(to, r)
	r.expect('}')
	r.first = false
	return to
}

// If reads a member if it is there, as in stored.If(r, "title", (*stored.Reader).Text).
func If[T any](r *Reader, name string, read func(r *Reader, name string, to *T)) *T {
	if _, ok := r.member(name); !ok {
		return nil
	}
	to := new(T)
	read(r, name, to)
	return to
}
