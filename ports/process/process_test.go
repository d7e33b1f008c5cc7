package process_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
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
		s.server = &server{site: s, release: make(chan struct{}), closed: make(chan struct{}), fail: make(chan error, 1)}
		s.router = &router{site: s, begin: make(chan struct{}), running: make(chan struct{}), closed: make(chan struct{})}
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
	go func() { s.ended <- s.Process.Run(ctx, nil) }()
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
func (s *site) attempt() {
	s.Helper()
	if _, ok := s.Dispatcher.Reserve(lane, 2000); !ok {
		s.Fatal("no slot")
	}
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

// A signal may come before anything has begun.
func TestAContextThatIsDoneBeforeTheStart(t *testing.T) {
	within(t, func(s *site) {
		letGo(s.router.begin, s.step, s.server.release)
		ctx, stop := context.WithCancel(s.Context())
		stop()
		if err := s.Process.Run(ctx, nil); err != nil {
			s.Error(err)
		}
		if s.happened("server ended", "router ended", "recording ended"); s.Dispatcher.InFlight() != 0 {
			s.Error("something is out")
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

// server has a request that ends with release.
type server struct {
	site       *site
	onShutdown func()
	release    chan struct{}
	closed     chan struct{}
	fail       chan error
}

func (s *server) Serve(net.Listener) error {
	select {
	case err := <-s.fail:
		return err
	case <-s.closed:
		return nil
	}
}

func (s *server) Shutdown(ctx context.Context) (err error) {
	if s.onShutdown != nil {
		s.onShutdown()
	}
	select {
	case <-s.release:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.site.note("server ended")
	close(s.closed)
	return err
}

// router runs from begin to closed.
type router struct {
	site                   *site
	begin, running, closed chan struct{}
}

func (r *router) Run(context.Context) error {
	<-r.begin
	close(r.running)
	<-r.closed
	return nil
}

func (r *router) Running() chan struct{} { return r.running }

func (r *router) Close() error {
	select {
	case <-r.running:
	default:
		r.site.Error("closed before it ran")
	}
	r.site.note("router ended")
	close(r.closed)
	return nil
}

// queue is a store that keeps what is recorded.
type queue struct {
	mu    sync.Mutex
	saved []delivery.Status
}

func (q *queue) recorded(t *testing.T, want ...delivery.Status) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.Sort(q.saved); !slices.Equal(q.saved, slices.Sorted(slices.Values(want))) {
		t.Errorf("recorded %v, want %v", q.saved, want)
	}
}

func (q *queue) Save(_ context.Context, saved []dispatch.Saved) ([]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range saved {
		q.saved = append(q.saved, s.After.Status)
	}
	return nil, nil
}

func (q *queue) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
func (q *queue) Look(context.Context, dispatch.LookRequest) (dispatch.LookAnswer, error) {
	return dispatch.LookAnswer{}, nil
}
func (q *queue) LeaseReady(context.Context, dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	return dispatch.LeaseAnswer{}, nil
}
func (q *queue) NoteHealth(context.Context, map[dispatch.Lane]dispatch.Ended, time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	return nil, nil
}
func (q *queue) NoteCircuits(context.Context, string, []dispatch.CircuitReport) error { return nil }
func (q *queue) GiveBack(context.Context, string, []dispatch.Leased) error            { return nil }
func (q *queue) Fingerprints(context.Context, []intake.EventKey) (map[intake.EventKey][32]byte, error) {
	return nil, nil
}
func (q *queue) AppendEvents(context.Context, []intake.Accepted) error { return nil }
func (q *queue) OpenSecret(context.Context, tenant.ID, string, string) (secret.Secret, error) {
	return secret.FromBytes([32]byte{1}), nil
}
func (q *queue) AttemptStarted(ctx context.Context, _ dispatch.Leased, _ int) (context.Context, dispatch.AttemptSpan) {
	return ctx, dispatch.AttemptSpan{End: func(delivery.Outcome) {}}
}
func (q *queue) StaleLease(context.Context, string)                    {}
func (q *queue) DeliveriesEnded(context.Context, delivery.Status, int) {}
