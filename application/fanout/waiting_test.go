package fanout_test

import (
	"fmt"
	"testing"

	"github.com/ordinavo/webhooks/application/fanout"
)

// waitIn is a crowd that schedules 200 deliveries at once, with a turn of acme's, of whose events as many wait in each of 300 records.
func waitIn(t *testing.T, each int) (*world, *fanout.Turns) {
	w, _ := crowd(t)
	w.atOnce = 200
	w.restart()
	w.room[acme] = 0
	for n := range 300 {
		w.handle(several(acme, fmt.Sprint("a", n, "-"), each)...)
	}
	return w, w.fanOut.Turns()
}

// What a turn cannot take is read again in the next.
func TestATurnReadsNoMoreRecordsThanItCanUse(t *testing.T) {
	for _, c := range []struct {
		name             string
		each, room, most int
		refused          string // is set aside in the second turn
	}{
		{"events of one record each", 1, 1000, 630, ""},
		{"what there is little room for", 1, 2, 150, ""},
		{"records of many events", 40, 1000, 10, ""},
		{"events that are tried alone", 1, 1000, 11, "evt_a0-0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, turns := waitIn(t, c.each)
			w.room[acme], w.refuses = c.room, map[string]bool{c.refused: true}
			if c.refused != "" {
				w.step(turns)
			}
			w.partsRead = 0
			w.step(turns)
			if w.partsRead == 0 || w.partsRead > c.most {
				t.Errorf("%d records were read", w.partsRead)
			}
		})
	}
}
