package intake

import (
	"encoding/json"

	"github.com/ordinavo/webhooks/domain/stored"
)

// DecodeKeys reads a list of keys as encoding/json writes it, without reflection where it has that very form.
func DecodeKeys(text []byte) (keys []EventKey, err error) {
	if stored.List(string(text), func(r *stored.Reader) {
		var k EventKey
		r.Text("t", (*string)(&k.Tenant))
		r.Text("e", &k.ID)
		keys = append(keys, k)
	}) {
		return keys, nil
	}
	keys = nil
	err = json.Unmarshal(text, &keys)
	return keys, err
}
