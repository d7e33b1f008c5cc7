package telemetry

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// mostLines is how many lines wait for whoever reads the log; most have less than half a kilobyte.
	mostLines = 1024
	// lastLines is how long the last ones are waited for.
	lastLines = time.Second
)

// Detached is a log that nobody waits for: whoever reads it may stand still, and a full pipe would hold up each request that is refused and
// each loop that has something to say, for good. Lines that find no room are left out, which is said once there is room again.
type Detached struct {
	to      io.Writer
	lines   chan []byte // nil for the last one
	ended   chan struct{}
	leftOut atomic.Int64
}

// Detach begins to write to w.
func Detach(w io.Writer) *Detached {
	d := &Detached{to: w, lines: make(chan []byte, mostLines), ended: make(chan struct{})}
	go d.hand()
	return d
}

// Write takes a line, or leaves it out; it never fails.
func (d *Detached) Write(line []byte) (int, error) {
	select {
	case d.lines <- append(make([]byte, 0, len(line)), line...):
	default:
		d.leftOut.Add(1)
	}
	return len(line), nil
}

func (d *Detached) hand() {
	defer close(d.ended)
	own := slog.New(slog.NewJSONHandler(d.to, nil))
	for line := range d.lines {
		if line == nil {
			return
		}
		_, _ = d.to.Write(line) // there is nobody to tell
		if n := d.leftOut.Swap(0); n > 0 {
			own.Warn("lines of the log were left out, since nobody had read those before them", "lines", n)
		}
	}
}

// Close waits for the lines that were taken, unless nobody reads them. What is written later may be left out.
func (d *Detached) Close() {
	patience := time.NewTimer(lastLines)
	defer patience.Stop()
	select {
	case d.lines <- nil:
	case <-patience.C:
		return
	}
	select {
	case <-d.ended:
	case <-patience.C:
	}
}
