package intake

// Waiting is how many events wait to be accepted.
func (in *Intake) Waiting() int {
	in.queue.mu.Lock()
	defer in.queue.mu.Unlock()
	return in.queue.events
}
