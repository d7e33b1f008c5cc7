package process

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

func TestMemoryIsWhatTheContainerAllows(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for name, c := range map[string]struct {
		container memlimit.Provider
		want      int64
	}{
		"a container":  {memlimit.Limit(320 << 20), 256 << 20},
		"no limit":     {func() (uint64, error) { return 0, memlimit.ErrNoLimit }, math.MaxInt64},
		"no container": {func() (uint64, error) { return 0, memlimit.ErrNoCgroup }, before},
	} {
		debug.SetMemoryLimit(before)
		t.Setenv("GOMEMLIMIT", "") // which is none to Go
		if got := within(c.container); got != c.want || got != debug.SetMemoryLimit(-1) {
			t.Errorf("%s: it may use %d bytes, and the collector goes by %d, want %d", name, got, debug.SetMemoryLimit(-1), c.want)
		}
	}
	t.Setenv("GOMEMLIMIT", "7GiB")
	debug.SetMemoryLimit(7 << 30) // as Go does at the start
	if got := within(memlimit.Limit(320 << 20)); got != 7<<30 {
		t.Errorf("with GOMEMLIMIT it may use %d bytes", got)
	}
}
