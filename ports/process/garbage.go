package process

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
)

// A heap may grow by mostGarbage percent before it is collected, a fifth less CPU at full load than with Go's 100, for 20 MiB more.
// A larger one, as a thousand receivers that hold their attempts make it, may grow to heapRoom, and by no less than leastGarbage.
const (
	mostGarbage  = 200
	leastGarbage = 75
	heapRoom     = 64 << 20
	garbageEvery = time.Second
)

// garbage is the loop that says how much of it there may be, unless GOGC does.
func garbage(now func() time.Time) loop.Loop {
	percent := 0
	return loop.Loop{Name: "garbage", Step: func(context.Context) (time.Time, error) {
		if os.Getenv("GOGC") != "" {
			return time.Time{}, nil
		}
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if wanted := garbagePercent(live[0].Value.Uint64()); wanted != percent {
			percent = wanted
			debug.SetGCPercent(percent)
		}
		return now().Add(garbageEvery), nil
	}}
}

// garbagePercent is what GOGC is to be for so many bytes that were alive when the heap was collected last.
func garbagePercent(live uint64) int {
	if live >= heapRoom {
		return leastGarbage
	}
	return int(min(max(100*(heapRoom-live)/max(live, 1), leastGarbage), mostGarbage))
}
