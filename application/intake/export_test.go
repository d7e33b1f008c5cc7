package intake

// Waiting is how many events wait to be accepted.
func (in *Intake) Waiting() int {
	in.queue.mu.Lock()
	defer in.queue.mu.Unlock()
	return in.queue.events
}

// Lines is how many tenants are known to have something that waits, or is in a transaction.
func (in *Intake) Lines() int {
	in.queue.mu.Lock()
	defer in.queue.mu.Unlock()
	return len(in.queue.of)
}
