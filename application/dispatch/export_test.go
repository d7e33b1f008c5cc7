package dispatch

import "time"

// KnowAtMost bounds how many lanes are remembered.
func (d *Dispatcher) KnowAtMost(lanes int) { d.slots.known = lanes }

// ShareOut shares out the free slots as a step does, and reports whether it could have.
func (d *Dispatcher) ShareOut(now time.Time) bool {
	asked, _ := d.slots.shareOut(now)
	d.slots.notAnswered(asked, now)
	return d.slots.canAsk(now)
}
