package fanout

import "github.com/ordinavo/webhooks/domain/stored"

// Named is an event with its place in its record.
type Named struct {
	Place int    `json:"n"`
	ID    string `json:"e"`
}

// DecodeNamed reads a list of them as encoding/json writes it.
func DecodeNamed(text []byte) ([]Named, error) { return stored.DecodeList(text, (*Named).read) }

func (n *Named) read(r *stored.Reader) {
	var place int64
	r.Int("n", &place)
	r.Text("e", &n.ID)
	n.Place = int(place)
}
