package process

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// UntilSignal is a context that the first SIGTERM or SIGINT ends, so that the process drains; the second one exits at once, with code 1. A
// terminal that closes (SIGHUP) counts as the first, but for a process that was started to outlive it, as nohup does.
func UntilSignal() context.Context {
	ctx, drain := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		drain()
		for <-signals == syscall.SIGHUP { // a shell passes it on, and the system sends it once more when the shell has ended
		}
		os.Exit(1)
	}()
	return ctx
}

// OutliveLog keeps a process running whose log nobody reads any more: Go would end it with the next line, in the middle of its attempts.
func OutliveLog() { signal.Ignore(syscall.SIGPIPE) }
