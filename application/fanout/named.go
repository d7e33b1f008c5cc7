package fanout

import (
	"encoding/json"

	"github.com/ordinavo/webhooks/domain/stored"
)

// Named is an event with its place in its record.
type Named struct {
	Place int    `json:"n"`
	ID    string `json:"e"`
}

// DecodeNamed reads a list of them as encoding/json writes it, without reflection where it has that very form.
func DecodeNamed(text []byte) (events []Named, err error) {
	if stored.List(string(text), func(r *stored.Reader) {
		var place int64
		var e Named
		r.Int("n", &place)
		r.Text("e", &e.ID)
		e.Place = int(place)
		events = append(events, e)
	}) {
		return events, nil
	}
	events = nil
	err = json.Unmarshal(text, &events)
	return events, err
}
