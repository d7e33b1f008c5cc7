package fanout

import (
	"fmt"

	"github.com/ordinavo/webhooks/domain/stored"
)

// Named is an event with its place in its record.
type Named struct {
	Place int    `json:"n"`
	ID    string `json:"e"`
}

// DecodeNamed reads a list of them as encoding/json writes it.
func DecodeNamed(text []byte) ([]Named, error) { return stored.DecodeList(text, (*Named).read) }

// DecodeDeferred reads the names of what waits; the first must have the given place.
func DecodeDeferred(text []byte, first int) ([]Named, error) {
	names, err := DecodeNamed(text)
	if err == nil && (len(names) == 0 || names[0].Place != first) {
		err = fmt.Errorf("its events do not begin in place %d", first)
	}
	if err != nil {
		return nil, fmt.Errorf("read the names of what waits for a turn: %w", err)
	}
	return names, nil
}

// FromPlace is the names, beginning with the given place, by which what waits is taken: an event that is gone by now leaves the
// place without a name.
func FromPlace(first int, names []Named) []Named {
	if len(names) > 0 && names[0].Place == first {
		return names
	}
	return append([]Named{{Place: first}}, names...)
}

func (n *Named) read(r *stored.Reader) {
	var place int64
	r.Int("n", &place)
	r.Text("e", &n.ID)
	n.Place = int(place)
}
