package postgres

import "math"

// AnyTime has the store take it to be whatever time it is told.
func (s *Store) AnyTime() *Store {
	s.clockErrs = math.MaxInt64
	return s
}
