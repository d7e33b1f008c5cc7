package cli

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows how far a command has come, on a terminal only.
type progress struct {
	terminal io.Writer // nil for none
	began    time.Time
}

func newProgress(w io.Writer) *progress {
	if file, ok := w.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{terminal: w, began: time.Now()}
		}
	}
	return &progress{}
}

// show says how far it is, and how many are done a second.
func (p *progress) show(far string, done int) {
	if p.terminal == nil {
		return
	}
	seconds := max(time.Since(p.began).Seconds(), 0.001)
	fmt.Fprintf(p.terminal, "\r\033[K%s, %.0f a second", far, float64(done)/seconds)
}

func (p *progress) end() {
	if p.terminal != nil {
		fmt.Fprint(p.terminal, "\r\033[K")
	}
}
