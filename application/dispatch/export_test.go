package dispatch

// KnowAtMost bounds how many lanes are remembered.
func (d *Dispatcher) KnowAtMost(lanes int) { d.slots.known = lanes }
