package e2e_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// generator makes values that a schema of the document allows. known gives names a value that means
// something to the service, like the id of something that is there.
type generator struct {
	*rand.Rand
	root  object
	known func(name string) (any, bool)
}

const deepestValue = 6

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

// resolve follows a $ref of the document.
func (g generator) resolve(schema any) object {
	node, _ := schema.(object)
	for {
		reference, ok := node["$ref"].(string)
		if !ok {
			return node
		}
		at := any(g.root)
		for key := range strings.SplitSeq(strings.TrimPrefix(reference, "#/"), "/") {
			at = at.(object)[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
		}
		node = at.(object)
	}
}

func (g generator) value(name string, of any, depth int) any {
	schema := g.resolve(of)
	if value, ok := g.known(name); ok && g.chance(85) {
		return value
	}
	for _, choice := range []string{"anyOf", "oneOf"} {
		if options, ok := schema[choice].([]any); ok {
			return g.value(name, pick(g, options), depth)
		}
	}
	if options, ok := schema["enum"].([]any); ok {
		return pick(g, options)
	}
	if examples, ok := schema["examples"].([]any); ok && g.chance(40) {
		return examples[0]
	}
	switch g.typeOf(schema) {
	case "string":
		return g.text(schema)
	case "integer":
		return math.Trunc(g.number(schema))
	case "number":
		return g.number(schema)
	case "boolean":
		return g.chance(50)
	case "array":
		return g.list(name, schema, depth)
	case "object":
		return g.object(schema, depth)
	default:
		return nil
	}
}

func (g generator) typeOf(schema object) string {
	switch types := schema["type"].(type) {
	case string:
		return types
	case []any:
		if g.chance(90) {
			return types[0].(string)
		}
		return pick(g, types).(string)
	default:
		return "object"
	}
}

func bound(schema object, name string, fallback float64) float64 {
	if limit, ok := schema[name].(float64); ok {
		return limit
	}
	return fallback
}

func (g generator) number(schema object) float64 {
	least := bound(schema, "minimum", 0)
	most := bound(schema, "maximum", least+1000)
	if g.chance(20) {
		return pick(g, []float64{least, most})
	}
	return least + math.Trunc(g.Float64()*min(most-least, 1000))
}

func (g generator) text(schema object) string {
	if schema["format"] == "date-time" {
		return time.Unix(1_780_000_000+g.Int64N(20_000_000), 0).UTC().Format(time.RFC3339)
	}
	if pattern, ok := schema["pattern"].(string); ok {
		return rapid.StringMatching(pattern).Example(g.IntN(1 << 30))
	}
	least, most := bound(schema, "minLength", 0), bound(schema, "maxLength", 40)
	length := int(least) + g.IntN(int(min(most-least, 40))+1)
	if g.chance(5) {
		length = int(most)
	}
	letters := []rune("abcXYZ019 -_.,'\"\\/<>äß€😀")
	text := make([]rune, length)
	for i := range text {
		text[i] = pick(g, letters)
	}
	return string(text)
}

func (g generator) list(name string, schema object, depth int) []any {
	least := int(bound(schema, "minItems", 0))
	most := int(min(bound(schema, "maxItems", 3), float64(least+3)))
	items := make([]any, 0, most)
	for range least + g.IntN(most-least+1) {
		items = append(items, g.value(strings.TrimSuffix(name, "s"), schema["items"], depth+1))
	}
	return items
}

func (g generator) object(schema object, depth int) object {
	made := object{}
	needed, _ := schema["required"].([]any)
	properties, _ := schema["properties"].(object)
	for _, name := range sortedKeys(properties) {
		if slices.Contains(needed, any(name)) || depth < deepestValue && g.chance(40) {
			made[name] = g.value(name, properties[name], depth+1)
		}
	}
	if more, ok := schema["additionalProperties"].(object); ok {
		made[fmt.Sprint("k", g.IntN(9))] = g.value("", more, depth+1)
	}
	return made
}

func sortedKeys(of object) []string {
	keys := make([]string, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// withKnown is an example in which what must exist does.
func (g generator) withKnown(value any) any {
	switch v := value.(type) {
	case object:
		made := object{}
		for _, name := range sortedKeys(v) {
			made[name] = g.withKnown(v[name])
			if known, ok := g.known(name); ok {
				made[name] = known
			}
		}
		return made
	case []any:
		made := make([]any, len(v))
		for i := range v {
			made[i] = g.withKnown(v[i])
		}
		return made
	default:
		return value
	}
}
