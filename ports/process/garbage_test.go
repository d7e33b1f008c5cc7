package process

import (
	"runtime/debug"
	"testing"
	"time"
)

func TestALargeHeapHasLessRoomForGarbage(t *testing.T) {
	for live, want := range map[uint64]int{0: 200, 1: 200, 21 << 20: 200, 25 << 20: 156, 32 << 20: 100, 40 << 20: 75, 64 << 20: 75, 1 << 40: 75} {
		if got := garbagePercent(live); got != want {
			t.Errorf("%d MiB: %d %%, want %d", live>>20, got, want)
		}
	}
	var before uint64
	for live := uint64(1 << 20); live < 200<<20; live += 1 << 18 { // what the heap grows to grows with it
		if most := live + live*uint64(garbagePercent(live))/100; most+live/100 < before { // a percent is whole
			t.Fatalf("at %d bytes it may grow to %d, and to %d when it holds less", live, most, before)
		} else {
			before = most
		}
	}
}

func TestGOGCIsObeyed(t *testing.T) {
	before := debug.SetGCPercent(77)
	defer debug.SetGCPercent(before)
	for gogc, want := range map[string]int{"77": 77, "": mostGarbage} {
		t.Setenv("GOGC", gogc)
		again, err := garbage(time.Now).Step(t.Context())
		if err != nil || again.IsZero() != (gogc != "") {
			t.Fatalf("with GOGC=%q it looks again at %s, %v", gogc, again, err)
		}
		if got := debug.SetGCPercent(77); got != want {
			t.Errorf("with GOGC=%q it is %d, want %d", gogc, got, want)
		}
	}
}
