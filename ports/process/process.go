// Package process runs an assembled service and drains it in the order in which an event goes through it, so that nothing waits for a part
// that has already stopped.
package process

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/ports/dispatcher"
	"github.com/ordinavo/webhooks/ports/loops"
)

// Server answers requests.
type Server interface {
	// Serve answers until Shutdown begins or the listener is closed.
	Serve(listener net.Listener) error
	// Shutdown lets running requests end until ctx does.
	Shutdown(ctx context.Context) error
}

// Router brings the log's records to use cases.
type Router interface {
	Run(ctx context.Context) error
	// Running is closed once Run has begun; before that, Close would wait for what never comes. Close ends Run.
	Running() chan struct{}
	Close() error
}

// Process is an assembled service; what a process does not do is nil or empty.
type Process struct {
	Log    *slog.Logger
	Now    func() time.Time // the clock of the loops
	Failed loops.Failed
	Server Server
	// Intake does the work of the server's requests, and so outlives it.
	Intake []loop.Loop
	Router Router
	// Dispatcher and Attempter send; Loops outlive them, since they record what came of it.
	Dispatcher *dispatch.Dispatcher
	Attempter  *dispatch.Attempter
	Loops      []loop.Loop
	// Watch brings signals of the database to the loops until ctx ends.
	Watch func(ctx context.Context)
	// ShutdownDelay is for load balancers to notice that the process is about to stop; ShutdownTimeout, behind it, is for draining.
	ShutdownDelay, ShutdownTimeout time.Duration
}

// Run serves until ShutdownDelay after the end of ctx, or until a part fails, then drains: nothing new is taken, what was taken is finished
// as far as the timeout allows, and the rest stays in the database for the next process.
func (p *Process) Run(ctx context.Context, listener net.Listener) error {
	delay := p.ShutdownDelay
	if ctx.Err() != nil {
		delay = 0 // no load balancer sends it anything yet
	}
	intake, sending, recording := newPhase(), newPhase(), newPhase()
	attempts, cutAttempts := context.WithCancel(context.Background())
	defer cutAttempts()
	steps, cutSteps := context.WithCancel(context.Background())
	defer cutSteps()
	intake.do(func(ctx context.Context) { loops.Run(ctx, steps, p.Log, p.Failed, p.Now, p.Intake...) })
	recording.do(func(ctx context.Context) {
		loops.Run(ctx, steps, p.Log, p.Failed, p.Now, append(p.Loops, garbage(p.Now))...)
	})
	if p.Watch != nil {
		recording.do(p.Watch)
	}
	if p.Dispatcher != nil {
		sending.do(func(ctx context.Context) {
			if err := dispatcher.Run(ctx, attempts, p.Dispatcher, p.Attempter); err != nil {
				p.Log.Error("leases were not given back", "error", err)
			}
		})
	}
	failed, routed, served := p.takeIn(listener)
	var err error
	select {
	case <-ctx.Done():
		err = p.serveOn(delay, failed)
	case err = <-failed:
	}
	p.Log.Info("draining", "timeout", p.ShutdownTimeout.String())
	deadline, cancel := context.WithTimeout(context.Background(), p.ShutdownTimeout)
	defer cancel()
	defer context.AfterFunc(deadline, cutAttempts)()
	last, cancel := context.WithTimeout(context.Background(), p.ShutdownTimeout+recordingGrace)
	defer cancel()
	defer context.AfterFunc(last, cutSteps)()
	if p.Dispatcher != nil {
		p.Dispatcher.StopLeasing() // what is scheduled while the others drain is for the next process
	}
	p.stopServing(deadline)
	_ = listener.Close() // a server that begins only now has not heard of Shutdown
	<-served
	intake.end()
	err = errors.Join(err, p.closeRouter(deadline, routed))
	sending.end()
	recording.end()
	return errors.Join(err, p.settle(last, deadline))
}

// serveOn serves for a while: who looks at /readyz every few seconds still sends requests.
func (p *Process) serveOn(delay time.Duration, failed <-chan error) error {
	if delay <= 0 {
		return nil
	}
	p.Log.Info("about to drain", "delay", delay.String())
	select {
	case <-time.After(delay):
		return nil
	case err := <-failed:
		return err
	}
}

// takeIn starts the router and the server; failed hears why each has ended.
func (p *Process) takeIn(listener net.Listener) (failed <-chan error, routed, served <-chan struct{}) {
	why, routerEnded, serverEnded := make(chan error, 2), make(chan struct{}), make(chan struct{})
	if p.Router != nil {
		go func() {
			defer close(routerEnded)
			why <- p.Router.Run(context.Background())
		}()
	}
	go func() {
		defer close(serverEnded)
		why <- p.Server.Serve(listener)
	}()
	return why, routerEnded, serverEnded
}

// stopServing leaves most of the time to the attempts: a connection that never sent a request would keep the server waiting for all of it.
func (p *Process) stopServing(deadline context.Context) {
	ctx, cancel := context.WithTimeout(deadline, min(longestServerDrain, p.ShutdownTimeout/3))
	defer cancel()
	if err := p.Server.Shutdown(ctx); err != nil {
		p.Log.Warn("connections were cut off", "error", err)
	}
}

const (
	longestServerDrain = 5 * time.Second
	// recordingGrace is for writing the outcomes of attempts that the timeout cut off. What takes longer, because somebody has locked a
	// table, is left to the next process, as after a crash.
	recordingGrace = 5 * time.Second
	// settleEvery is how often the last outcomes are tried to be recorded. It is well within dispatch.HeartbeatTimeout: others that have the
	// database back, too, wait for so long before they take over.
	settleEvery = 500 * time.Millisecond
)

// closeRouter closes the router and waits until it has ended, or until the deadline if it never begins.
func (p *Process) closeRouter(deadline context.Context, routed <-chan struct{}) error {
	if p.Router == nil {
		return nil
	}
	select {
	case <-routed: // by itself, or it failed at the start
		return nil
	case <-p.Router.Running():
		err := p.Router.Close()
		<-routed
		return err
	case <-deadline.Done():
		return errors.New("the router did not start in time to be closed")
	}
}

// settle writes outcomes that came in after the loops had ended, and gives back what was leased while they did. A database that is away may be
// back before the deadline, and what is not recorded by then is sent again by the next process.
func (p *Process) settle(ctx, deadline context.Context) error {
	if p.Dispatcher == nil {
		return nil
	}
	next, err := p.Dispatcher.Step(ctx)
	for err == nil && !next.IsZero() || err != nil && p.Dispatcher.Unrecorded() > 0 && loops.Wait(deadline, settleEvery) { // a turn records a bounded number
		next, err = p.Dispatcher.Step(ctx)
	}
	return errors.Join(err, p.Dispatcher.Close(ctx))
}

// phase is what runs until its turn to end has come.
type phase struct {
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newPhase() *phase {
	p := &phase{}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

func (p *phase) do(part func(ctx context.Context)) { p.running.Go(func() { part(p.ctx) }) }

// end waits until every part has ended.
func (p *phase) end() {
	p.stop()
	p.running.Wait()
}
