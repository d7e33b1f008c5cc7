// Package stored writes the JSON of what is stored byte for byte as encoding/json writes a struct with the same members, and
// reads that form. It is written by hand because each delivery stores and reads several such objects, and reflection cost more
// than everything else about them; tests of its users compare it with their structs.
package stored

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Object is a JSON object to which members are appended in order. A member's name must need no escaping, which is not checked.
// The zero value is not usable: see Begin.
type Object struct {
	text []byte
	err  error
}

// Begin opens an object that takes about so many bytes.
func Begin(size int) *Object { return &Object{text: append(make([]byte, 0, size), '{')} }

// End closes the object. It fails when a value had no stored form, as encoding/json does.
func (o *Object) End() ([]byte, error) {
	o.Close()
	return o.text, o.err
}

// Open begins an object that is a member.
func (o *Object) Open(name string) {
	o.key(name)
	o.text = append(o.text, '{')
}

// Close ends what Open began.
func (o *Object) Close() { o.text = append(o.text, '}') }

func (o *Object) key(name string) {
	o.separate('{')
	o.text = append(append(append(o.text, '"'), name...), '"', ':')
}

// separate puts a comma unless something was opened just now.
func (o *Object) separate(opening byte) {
	if o.text[len(o.text)-1] != opening {
		o.text = append(o.text, ',')
	}
}

// Text appends a string.
func (o *Object) Text(name, value string) {
	o.key(name)
	o.text = appendText(o.text, value)
}

// Int appends a number.
func (o *Object) Int(name string, value int64) {
	o.key(name)
	o.text = strconv.AppendInt(o.text, value, 10)
}

// Time appends a time in the form of RFC 3339; one of a year outside 0 to 9999 has none.
func (o *Object) Time(name string, value time.Time) {
	o.key(name)
	text, err := value.AppendText(append(o.text, '"'))
	if err != nil {
		o.err = fmt.Errorf("%s: %w", name, err)
		return
	}
	o.text = append(text, '"')
}

// SomeText appends a string unless it is empty.
func (o *Object) SomeText(name, value string) {
	if value != "" {
		o.Text(name, value)
	}
}

// SomeInt appends a number unless it is 0.
func (o *Object) SomeInt(name string, value int64) {
	if value != 0 {
		o.Int(name, value)
	}
}

// SomeTime appends a time unless it is zero.
func (o *Object) SomeTime(name string, value time.Time) {
	if !value.IsZero() {
		o.Time(name, value)
	}
}

// SomeBytes appends bytes in base64 unless there are none.
func (o *Object) SomeBytes(name string, value []byte) {
	if len(value) > 0 {
		o.key(name)
		o.text = append(base64.StdEncoding.AppendEncode(append(o.text, '"'), value), '"')
	}
}

// SomeTexts appends a list unless it is empty.
func (o *Object) SomeTexts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	o.key(name)
	o.text = append(o.text, '[')
	for _, value := range values {
		o.separate('[')
		o.text = appendText(o.text, value)
	}
	o.text = append(o.text, ']')
}

// SomeMap appends an object of texts in the order of their keys unless there are none. Keys may be any texts.
func (o *Object) SomeMap(name string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	var room [32]string
	keys := room[:0]
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	o.Open(name)
	for _, key := range keys {
		o.separate('{')
		o.text = append(appendText(o.text, key), ':')
		o.text = appendText(o.text, values[key])
	}
	o.Close()
}

// appendText leaves to encoding/json what needs an escape or is not ASCII.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if !plain[text[i]] {
			escaped, _ := json.Marshal(text) // of a string: it cannot fail
			return append(to, escaped...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

// plain is the ASCII that encoding/json writes as it is: not what HTML would take for its own.
var plain = func() (set [256]bool) {
	for b := byte(' '); b < 0x7F; b++ {
		set[b] = b != '"' && b != '\\' && b != '<' && b != '>' && b != '&'
	}
	return set
}()
