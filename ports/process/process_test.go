package process_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/ports/process"
)

const timeout = 9 * time.Second

// site is a process whose every part is held until the test lets it go, in a bubble of fake time.
type site struct {
	*testing.T
	process.Process
	server  *server
	router  *router
	queue   *queue
	answers chan delivery.Outcome // of the receiver
	step    chan struct{}         // a request that the intake is working on
	stop    context.CancelFunc
	ended   chan error

	mu     sync.Mutex
	events []string // what has ended, in this order
}

// within makes a site that has not started yet. It has no loop that records.
func within(t *testing.T, test func(s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{T: t, queue: &queue{}, answers: make(chan delivery.Outcome), step: make(chan struct{}), ended: make(chan error, 1)}
		s.server = &server{site: s, release: make(chan struct{}), closed: make(chan struct{}), unheard: make(chan struct{}), fail: make(chan error, 1)}
		s.router = &router{site: s, begin: make(chan struct{}), running: make(chan struct{}), closed: make(chan struct{}), fail: make(chan error, 1)}
		d := dispatch.New(dispatch.Config{Store: s.queue, Observer: s.queue, Now: time.Now, Jitter: func() float64 { return 0 }, Incarnation: "inc_1", MaxInFlight: 4})
		s.Process = process.Process{
			Now: time.Now,
			Log: slog.New(slog.DiscardHandler), Server: s.server, Router: s.router, Dispatcher: d,
			Attempter: &dispatch.Attempter{Sender: s, Secrets: s.queue, Observer: s.queue, Now: time.Now},
			Intake:    []loop.Loop{{Name: "intake", Step: s.answer}},
			Watch:     func(ctx context.Context) { <-ctx.Done(); s.note("recording ended") }, ShutdownTimeout: timeout,
		}
		test(s)
	})
}

// run starts the process; nothing but what the test holds later on is held.
func (s *site) run() {
	ctx, stop := context.WithCancel(s.Context())
	s.stop = stop
	go func() { s.ended <- s.Process.Run(ctx, s.server) }()
	synctest.Wait()
}

func (s *site) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, what)
}

// happened wants exactly these things to have ended, once all that can go on has done so.
func (s *site) happened(want ...string) {
	s.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.events, want) {
		s.Fatalf("ended: %q, want %q", s.events, want)
	}
}

// answer is the intake's step: it ends when the test says so, and tells when the test has held it until then.
func (s *site) answer(context.Context) (time.Time, error) {
	select {
	case <-s.step:
		return time.Time{}, nil
	default:
	}
	<-s.step
	s.note("intake ended")
	return time.Time{}, nil
}

func (s *site) Send(ctx context.Context, _ dispatch.Request) delivery.Outcome {
	select {
	case o := <-s.answers:
		return o
	case <-ctx.Done():
		return delivery.Outcome{Kind: delivery.KindConnectionLost, Error: "cut"}
	}
}

var lane = dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}

// attempt puts a delivery out.
func (s *site) attempt() { s.Helper(); s.reserve(); s.take() }

// reserve promises to take a delivery.
func (s *site) reserve() {
	s.Helper()
	if _, ok := s.Dispatcher.Reserve(lane, 2000); !ok {
		s.Fatal("no slot")
	}
}

// take puts a delivery out, or holds it once nothing more is begun.
func (s *site) take() {
	s.Helper()
	d, err := delivery.Fold(delivery.Schedule(delivery.Scheduled{At: time.Now(), ID: "dlv_1", Tenant: lane.Tenant, EventID: "evt_1", EventType: event.TargetImported, SubscriptionID: lane.SubscriptionID}))
	if err != nil {
		s.Fatal(err)
	}
	s.Dispatcher.Take([]dispatch.Leased{{Delivery: d, Lease: "inc_1", Subscription: &subscription.Subscription{Settings: subscription.Settings{RetrySchedule: []time.Duration{time.Minute}}}}}, true)
	synctest.Wait()
}

// letGo ends whatever the test has not held on purpose.
func letGo(held ...chan struct{}) {
	for _, h := range held {
		close(h)
	}
}

// An event goes through server, intake, router, dispatcher and recording; each waits for the one before it.
func TestThePartsDrainInTheOrderOfAnEvent(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin)
		s.run()
		s.attempt()
		s.stop()
		s.happened()
		letGo(s.server.release)
		s.happened("server ended")
		letGo(s.step)
		s.happened("server ended", "intake ended", "router ended")
		if len(s.ended) > 0 {
			s.Fatal("it ended while an attempt was out")
		}
		s.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		s.happened("server ended", "intake ended", "router ended", "recording ended")
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
	})
}

// Whoever watches /readyz needs a while to send nothing more: until then everything goes on.
func TestTheDrainBeginsAfterTheDelay(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		s.ShutdownDelay = time.Minute
		s.run()
		s.stop()
		<-time.After(s.ShutdownDelay - time.Second) // of fake time
		s.attempt()                                 // which needs a dispatcher that leases
		s.happened()
		s.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		<-time.After(time.Second)
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
		s.queue.recorded(s.T, delivery.StatusSucceeded)
	})
}

// A part that fails then leaves nothing to wait for.
func TestAFailureEndsTheDelay(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		s.ShutdownDelay = time.Minute
		s.run()
		s.stop()
		synctest.Wait()
		began, broken := time.Now(), errors.New("broken")
		s.server.fail <- broken
		if err := <-s.ended; !errors.Is(err, broken) || time.Since(began) > 0 {
			s.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// What requests schedule while they end is for the next process.
func TestLeasingStopsBeforeTheServer(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step)
		leases := false
		s.server.onShutdown = func() { _, leases = s.Dispatcher.Reserve(lane, 2000) }
		s.run()
		s.stop()
		letGo(s.server.release)
		if err := <-s.ended; err != nil || leases {
			s.Errorf("got %v; leases while it drains: %v", err, leases)
		}
	})
}

// A connection that never ends takes a third of the time, and attempts have the rest.
func TestTheServerLeavesTimeToTheAttempts(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step)
		s.run()
		s.attempt()
		began := time.Now()
		s.stop()
		<-s.server.closed
		if took := time.Since(began); took > timeout/3 {
			s.Errorf("the server took %s of %s", took, timeout)
		}
		<-time.After(timeout - time.Second - time.Since(began)) // of fake time
		s.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
		s.queue.recorded(s.T, delivery.StatusSucceeded)
	})
}

// A step may wait for what somebody else has locked; it is cut off soon after the attempts are.
func TestAStepThatHangsEndsWithTheDrain(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		cut := time.Time{}
		s.Loops = []loop.Loop{{Name: "locked out", Step: func(ctx context.Context) (time.Time, error) {
			<-ctx.Done()
			cut = time.Now()
			return time.Time{}, ctx.Err()
		}}}
		s.run()
		began := time.Now()
		s.stop()
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
		if after := cut.Sub(began); after <= timeout || after > timeout+5*time.Second {
			s.Errorf("it was cut off after %s of a drain that has %s", after, timeout)
		}
	})
}

// Nothing but the last turn is left to record what comes when the loops have ended.
func TestLateOutcomesAreRecorded(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		s.run()
		s.attempt()
		s.attempt()
		s.stop()
		synctest.Wait()
		s.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		s.answers <- delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500}
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
		s.queue.recorded(s.T, delivery.StatusSucceeded, delivery.StatusRetrying)
		if n := s.Dispatcher.InFlight(); n != 0 {
			s.Errorf("%d are still out", n)
		}
	})
}

// More outcomes may be left than one turn writes; what is not written is sent again by the next process.
func TestAllLateOutcomesAreRecorded(t *testing.T) {
	const out = 1200
	within(t, func(s *site) {
		s.Dispatcher = dispatch.New(dispatch.Config{Store: s.queue, Observer: s.queue, Now: time.Now, Jitter: func() float64 { return 0 }, Incarnation: "inc_1", MaxInFlight: 2 * out})
		letGo(s.router.begin, s.step, s.server.release)
		s.run()
		for range out {
			s.attempt()
		}
		s.stop()
		synctest.Wait()
		for range out {
			s.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		}
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
		s.queue.recorded(s.T, slices.Repeat([]delivery.Status{delivery.StatusSucceeded}, out)...)
		if n := s.Dispatcher.InFlight(); n != 0 {
			s.Errorf("%d are still out", n)
		}
	})
}

// A database that is away when the last attempts end may be back in time, and what is not recorded would be sent again.
func TestLateOutcomesWaitForTheDatabase(t *testing.T) {
	for name, c := range map[string]struct {
		away     time.Duration
		recorded []delivery.Status
	}{
		"that is back in time": {timeout / 2, []delivery.Status{delivery.StatusSucceeded}},
		"that stays away":      {time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(s *site) {
				letGo(s.router.begin, s.step, s.server.release)
				s.run()
				s.attempt()
				began := time.Now()
				s.queue.awayUntil = began.Add(c.away)
				s.stop()
				synctest.Wait()
				s.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
				err := <-s.ended
				if took := time.Since(began); (err == nil) != (c.recorded != nil) || took > timeout || c.recorded != nil && took > c.away+time.Second {
					s.Errorf("got %v after %s", err, took)
				} else if err != nil && !strings.Contains(err.Error(), "record 1 attempts") {
					s.Errorf("it says %q", err)
				}
				s.queue.recorded(s.T, c.recorded...)
			})
		})
	}
}

// Leases end by themselves with the process: that they cannot be given back is nothing to wait for.
func TestLeasesWaitForNoDatabase(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step)
		s.run()
		s.reserve()
		began := time.Now()
		s.queue.awayUntil = began.Add(time.Hour)
		s.stop()
		synctest.Wait()
		s.take()
		letGo(s.server.release)
		if err := <-s.ended; err == nil || time.Since(began) > 0 {
			s.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// The timeout cuts attempts off; nobody knows how they ended, so that nothing is recorded.
func TestTheTimeoutCutsAttempts(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		s.run()
		s.attempt()
		began := time.Now()
		s.stop()
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
		if took := time.Since(began); took != timeout {
			s.Errorf("it took %s", took)
		}
		s.queue.recorded(s.T)
	})
}

// A router that is closed before it runs would wait for what never comes.
func TestTheRouterIsClosedOnceItRuns(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.step, s.server.release)
		s.run()
		s.stop()
		s.happened("server ended")
		letGo(s.router.begin)
		s.happened("server ended", "router ended", "recording ended")
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
	})
}

func TestARouterThatNeverRunsIsAnError(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.step, s.server.release)
		s.run()
		began := time.Now()
		s.stop()
		if err := <-s.ended; err == nil || time.Since(began) != timeout {
			s.Errorf("got %v after %s", err, time.Since(began))
		}
		letGo(s.router.begin, s.router.closed)
	})
}

// A router that fails at the start has nothing to be closed, and attempts have no more to wait for than themselves.
func TestARouterThatFailsAtTheStart(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.step, s.server.release)
		s.run()
		began, broken := time.Now(), errors.New("broken")
		s.router.fail <- broken
		if err := <-s.ended; !errors.Is(err, broken) || time.Since(began) > 0 {
			s.Errorf("got %v after %s", err, time.Since(began))
		}
		s.happened("server ended", "recording ended")
	})
}

// Whatever fails, Run returns once all that it began has ended.
func TestTheServerAndTheRouterAreWaitedFor(t *testing.T) {
	for _, held := range []string{"server", "router"} {
		within(t, func(s *site) {
			letGo(s.router.begin, s.step, s.server.release)
			lingers := make(chan struct{})
			if held == "server" {
				s.server.lingers = lingers
			} else {
				s.router.lingers = lingers
			}
			s.run()
			s.stop()
			synctest.Wait()
			if len(s.ended) > 0 {
				s.Errorf("it ended before the %s", held)
			}
			letGo(lingers)
			if err := <-s.ended; err != nil {
				s.Error(err)
			}
		})
	}
}

// A signal may come before anything has begun, and any load balancer has sent a request.
func TestAContextThatIsDoneBeforeTheStart(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		s.ShutdownDelay = time.Minute
		ctx, stop := context.WithCancel(s.Context())
		stop()
		began := time.Now()
		if err := s.Process.Run(ctx, s.server); err != nil || time.Since(began) > 0 {
			s.Errorf("got %v after %s", err, time.Since(began))
		}
		if s.happened("server ended", "router ended", "recording ended"); s.Dispatcher.InFlight() != 0 {
			s.Error("something is out")
		}
	})
}

// A server that begins after Shutdown knows nothing of it, and ends with its listener.
func TestAServerThatBeginsLate(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		s.server.deaf = true
		s.run()
		s.stop()
		synctest.Wait()
		if len(s.ended) == 0 {
			t.Fatal("it goes on")
		}
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
	})
}

// A part that fails takes the process down in order, and is what Run tells of.
func TestAFailureDrainsToo(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		s.run()
		s.attempt()
		broken := errors.New("broken")
		s.server.fail <- broken
		synctest.Wait()
		s.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		if err := <-s.ended; !errors.Is(err, broken) {
			s.Errorf("got %v", err)
		}
		s.queue.recorded(s.T, delivery.StatusSucceeded)
	})
}

// A process may be an API alone.
func TestAProcessWithoutRouterAndDispatcher(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.step, s.server.release)
		s.Router, s.Dispatcher, s.Attempter = nil, nil, nil
		s.run()
		s.stop()
		if err := <-s.ended; err != nil {
			s.Error(err)
		}
		s.happened("server ended", "recording ended")
	})
}
