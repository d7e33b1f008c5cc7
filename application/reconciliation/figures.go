package reconciliation

import (
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// Figure is one number about one hour, as a store finds them in one statement.
type Figure struct {
	Hour time.Time
	// What is "waiting", "counted events", "counted expected", "counted deliveries", "counted not matched",
	// "counted feature gated", "counted set aside", "events", "feature gated", or the status of deliveries.
	What  string
	Count int
}

// Gather puts figures together by hour, the first one first.
func Gather(figures []Figure) ([]Hour, error) {
	byHour := map[int64]*Hour{}
	var hours []*Hour
	for _, f := range figures {
		h := byHour[f.Hour.UnixMicro()]
		if h == nil {
			h = &Hour{Begins: f.Hour, There: There{Deliveries: map[delivery.Status]int{}}}
			byHour[f.Hour.UnixMicro()] = h
			hours = append(hours, h)
		}
		if err := h.add(f); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(hours, func(a, b *Hour) int { return a.Begins.Compare(b.Begins) })
	list := make([]Hour, len(hours))
	for i, h := range hours {
		list[i] = *h
	}
	return list, nil
}

func (h *Hour) add(f Figure) error {
	into := map[string]*int{
		"waiting": &h.Waiting, "counted events": &h.Counted.Events, "counted expected": &h.Counted.Expected,
		"counted deliveries": &h.Counted.Deliveries, "counted not matched": &h.Counted.NotMatched,
		"counted feature gated": &h.Counted.FeatureGated, "counted set aside": &h.Counted.SetAside,
		"events": &h.There.Events, "feature gated": &h.There.FeatureGated,
	}[f.What]
	if into != nil {
		*into += f.Count
		return nil
	}
	status, err := delivery.ParseStatus(f.What)
	if err != nil {
		return fmt.Errorf("a figure about %q: %w", f.What, err)
	}
	h.There.Deliveries[status] += f.Count
	return nil
}

// Result is what the background checks have found: how many hours did not balance when they were checked last, and
// when the last check was; the zero time for never.
type Result struct {
	Unbalanced int
	CheckedAt  time.Time
}
