package intake

import "github.com/ordinavo/webhooks/domain/stored"

// DecodeKeys reads a list of keys as encoding/json writes it.
func DecodeKeys(text []byte) ([]EventKey, error) { return stored.DecodeList(text, (*EventKey).read) }

func (k *EventKey) read(r *stored.Reader) {
	r.Text("t", (*string)(&k.Tenant))
	r.Text("e", &k.ID)
}
