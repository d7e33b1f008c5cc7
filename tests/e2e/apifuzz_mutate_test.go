package e2e_test

import (
	"bytes"
	"encoding/json"
	"strings"
)

// loneSurrogate stands for what encoding/json would not write.
const loneSurrogate = "LONE-SURROGATE"

func encoded(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it is made of JSON
	}
	return bytes.ReplaceAll(text, []byte(loneSurrogate), []byte(`\ud800`))
}

// mutateValue changes one place of a JSON value; value is not changed itself.
func (g generator) mutateValue(value any) any {
	switch v := value.(type) {
	case object:
		made := object{}
		for name, member := range v {
			made[name] = member
		}
		keys := sortedKeys(made)
		if len(keys) == 0 || g.chance(15) {
			made[pick(g, []string{"unknown", "Name", "", "__proto__", "tenantId", "id", "a\x00b"})] = g.wrong()
			return made
		}
		name := pick(g, keys)
		switch g.IntN(4) {
		case 0:
			delete(made, name)
		case 1:
			made[name] = g.wrong()
		default:
			made[name] = g.mutateValue(made[name])
		}
		return made
	case []any:
		if len(v) == 0 || g.chance(30) {
			return pick(g, []any{append(v[:len(v):len(v)], g.wrong()), make([]any, 2000), []any{}, object{}})
		}
		made := append([]any{}, v...)
		at := g.IntN(len(made))
		made[at] = g.mutateValue(made[at])
		return made
	case string:
		return g.mutateText(v)
	default:
		return g.wrong()
	}
}

func (g generator) mutateText(text string) any {
	return pick(g, []any{
		"", " ", text + "\x00", text + "\n", "\x1b[31m" + text, text + loneSurrogate, strings.Repeat("x", 300), strings.Repeat("é", 20_000),
		text + text, strings.ToUpper(text), " " + text, text + "\u202e", "../../" + text, "%00", "' OR 1=1 --", "2026-02-30T00:00:00Z", "0000-00-00", "-1s", "9999h", g.wrong(),
	})
}

// wrong is a value that hardly any field takes.
func (g generator) wrong() any {
	return pick(g, []any{
		nil, true, "text", "", -1, 0, 1.5, json.Number("9007199254740993"), json.Number("9223372036854775808"), json.Number("1e400"), json.Number("-0"),
		[]any{}, []any{nil}, object{}, object{"a": object{"b": []any{1}}}, nested(40), strings.Repeat("y", 5000), "\x00", loneSurrogate,
	})
}

func nested(depth int) any {
	var value any = 1
	for range depth {
		value = []any{value}
	}
	return value
}

// mutateBytes makes of a JSON object what is none, and says how.
func (g generator) mutateBytes(text []byte) ([]byte, string) {
	inside, _ := bytes.CutPrefix(text, []byte("{"))
	return pickBody(g, []rawBody{
		{"truncated", text[:len(text)/2]},
		{"not UTF-8", append([]byte("{\"name\":\"\xff\xfe\","), inside...)},
		{"duplicate key", append([]byte(`{"name":"a","name":"a",`), inside...)},
		{"control character", append([]byte("{\"name\":\"\x01\","), inside...)},
		{"NUL", append(append([]byte{}, text...), 0)},
		{"trailing", append(append([]byte{}, text...), "{}"...)},
		{"single quotes", []byte("{'name':'a'}")},
		{"deep nesting", []byte(strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000))},
		{"many brackets", []byte(strings.Repeat("[", 100_000))},
		{"byte order mark", append([]byte("\xef\xbb\xbf"), text...)},
		{"UTF-16", []byte("\xff\xfe{\x00}\x00")},
		{"lone surrogate", append([]byte(`{"name":"\ud800",`), inside...)},
		{"NaN", []byte(`{"name":NaN}`)},
		{"list", []byte("[]")}, {"text", []byte(`"x"`)}, {"null", []byte("null")}, {"empty", []byte{}}, {"white space", []byte(" \n ")},
	})
}

type rawBody struct {
	name string
	text []byte
}

func pickBody(g generator, from []rawBody) ([]byte, string) {
	chosen := pick(g, from)
	return chosen.text, chosen.name
}

// wrongSegments are percent-encoded already.
var wrongSegments = []string{
	"x", "sub_", "sub_0", "dlv_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", "%00", "%FF", "%0A", "%2e%2e", "..", "%2F", "a%2Fb", "%20", "%zz", "-1", "0", "9223372036854775808", "1e3", "12.0",
	"%F0%9F%9A%80", "%27%20OR%201=1", strings.Repeat("a", 3000), "sub_%00", "null", "undefined", "{id}", "*", "%3F", "%23",
}

var wrongQueries = []string{
	"limit=0", "limit=-1", "limit=201", "limit=abc", "limit=1e2", "limit=", "limit=1&limit=2", "cursor=x", "cursor=%00", "cursor=" + "eyJ2IjoxfQ", "since=yesterday",
	"until=2026-13-01T00:00:00Z", "since=2026-06-18T16:40:00+99:00", "unknown=1", "status=nonsense", "Limit=5", "limit=%zz", "a=%FF", "limit[]=1", "=", "&&&", "limit=5;cursor=x",
}

// withoutNulls leaves out the members of objects that are null.
func withoutNulls(value any) any {
	switch v := value.(type) {
	case object:
		made := object{}
		for name, member := range v {
			if member != nil {
				made[name] = withoutNulls(member)
			}
		}
		return made
	case []any:
		made := make([]any, len(v))
		for i := range v {
			made[i] = withoutNulls(v[i])
		}
		return made
	default:
		return value
	}
}
