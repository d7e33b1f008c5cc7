package intake

// Waiting is how many events wait to be accepted.
func (in *Intake) Waiting() int64 { return in.waiting.Load() }
