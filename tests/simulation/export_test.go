package simulation

// MostEvents is how many events a run may have.
func (o Options) MostEvents() int { return o.settle().events }
