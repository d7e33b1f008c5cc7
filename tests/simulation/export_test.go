package simulation

// AtMost is how many processes, events and changes a run may have.
func (o Options) AtMost() []int {
	s := o.settle()
	return []int{s.processes, s.events, s.changes}
}
