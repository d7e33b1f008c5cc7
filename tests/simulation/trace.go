package simulation

import (
	"fmt"
	"time"
)

// trace digests what happens, and tells it when somebody wants to read it.
type trace struct {
	world *world
	keep  bool
	sum   uint64
	lines []string
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func (t *trace) mix(text string) {
	for i := range len(text) {
		t.sum = (t.sum ^ uint64(text[i])) * fnvPrime
	}
}

func (t *trace) step(a *activity) {
	t.mix(a.name)
	for n := uint64(t.world.now.UnixMicro()); n > 0; n >>= 8 {
		t.sum = (t.sum ^ n&0xff) * fnvPrime
	}
}

// call digests a call of the store.
func (t *trace) call(p *process, name string) {
	t.mix(p.name)
	t.mix(name)
}

// line tells something that a reader of the run wants to know.
func (t *trace) line(format string, args ...any) {
	if !t.keep {
		t.mix(format)
		return
	}
	t.mix(format)
	text := fmt.Sprintf(format, args...)
	t.lines = append(t.lines, fmt.Sprintf("%12s  %s", t.world.now.Sub(epoch).Round(time.Microsecond), text))
}
