package simulation

import "slices"

// shrinkRuns bounds the search for a smaller run.
const shrinkRuns = 400

// Shrink looks for a smaller run that breaks the same invariant: fewer processes, events, changes and faults, of
// fewer kinds. The options must describe a run that breaks one.
func Shrink(o Options) (Options, Result) {
	failed := Run(o)
	s := shrinking{best: o, result: failed, left: shrinkRuns}
	if failed.Violation == nil {
		return o, failed
	}
	for before := -1; before != s.left && s.left > 0; {
		before = s.left
		if !s.round() {
			break
		}
	}
	return s.best, s.result
}

type shrinking struct {
	best   Options
	result Result
	left   int
}

// round tries each way of making the run smaller, and reports whether one did.
func (s *shrinking) round() (smaller bool) {
	for kind := range faultKinds {
		if !slices.Contains(s.best.Without, kind.String()) {
			o := s.best
			o.Without = append(slices.Clone(o.Without), kind.String())
			smaller = s.try(o) || smaller
		}
	}
	for i := range s.best.limits() {
		smaller = s.lower(i) || smaller
	}
	return smaller
}

// lower halves the distance to the smallest limit with which the run still fails.
func (s *shrinking) lower(i int) (smaller bool) {
	from, to := 0, s.now(i)
	if i == 0 {
		from = 1 // process
	}
	for from < to && s.left > 0 {
		middle := (from + to) / 2
		o := s.best
		*o.limits()[i].value = middle
		if s.try(o) {
			to, smaller = middle, true
		} else {
			from = middle + 1
		}
	}
	return smaller
}

// now is what the best run so far has of what the limit bounds.
func (s *shrinking) now(i int) int {
	set := s.best.settle()
	return []int{set.processes, set.events, set.changes, s.result.Counts.Faults}[i]
}

// try keeps the options when their run breaks the same invariant.
func (s *shrinking) try(o Options) bool {
	s.left--
	r := Run(o)
	if r.Violation == nil || r.Violation.Invariant != s.result.Violation.Invariant {
		return false
	}
	s.best, s.result = o, r
	return true
}
