package process

import (
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Memory is how many bytes the process may use: what GOMEMLIMIT says, else four fifths of what its container allows, which the collector then
// goes by, too. The rest is for what Go does not count. Without either it is as good as endless.
func Memory() int64 { return within(memlimit.FromCgroup) }

func within(container memlimit.Provider) int64 {
	if os.Getenv("GOMEMLIMIT") == "" {
		_ = os.Unsetenv("GOMEMLIMIT") // the library takes an empty one for a limit, and Go for none
	}
	_, _ = memlimit.Set(memlimit.WithRatio(0.8), memlimit.WithProvider(container)) // it fails where there are no containers
	return debug.SetMemoryLimit(-1)
}
