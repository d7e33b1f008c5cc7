package dispatcher_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/dispatcher"
)

// world is everything around a dispatcher: its store, and a receiver that answers when the test says so.
type world struct {
	*testing.T
	*dispatch.Dispatcher
	answers   chan delivery.Outcome
	mu        sync.Mutex
	sending   int
	most      int // at once
	begun     int
	saved     []dispatch.Saved
	givenBack []dispatch.Leased
	giveErr   error
	locked    bool         // what is to be given back
	strict    bool         // nothing is given back once the context has ended
	unsigned  error        // why no secret can be read
	looked    func()       // at the clock
	stood     atomic.Int64 // for how long the process stood still, in nanoseconds

	stop, cut context.CancelFunc
	ended     chan error
}

// within runs the dispatcher in a bubble of fake time.
func within(t *testing.T, maxInFlight int, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, answers: make(chan delivery.Outcome), ended: make(chan error, 1)}
		w.Dispatcher = dispatch.New(dispatch.Config{Store: w, Disabler: w, Observer: w, Now: w.now, Jitter: func() float64 { return 0 }, Incarnation: "inc_1", MaxInFlight: maxInFlight})
		a := &dispatch.Attempter{Sender: w, Secrets: w, Observer: w, Now: time.Now}
		var ctx, attempts context.Context
		ctx, w.stop = context.WithCancel(t.Context())
		attempts, w.cut = context.WithCancel(t.Context())
		go func() { w.ended <- dispatcher.Run(ctx, attempts, w.Dispatcher, a) }()
		test(w)
		w.stop()
		w.cut()
	})
}

func (w *world) now() time.Time {
	if w.looked != nil {
		w.looked()
	}
	return time.Now().Add(time.Duration(w.stood.Load()))
}

var lane = dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}

// start hands over as many deliveries as there are slots for.
func (w *world) start(n int) (started int) {
	w.Helper()
	for range n {
		if _, ok := w.Reserve(lane, 1000); !ok {
			break
		}
		d, err := delivery.Fold(delivery.Schedule(delivery.Scheduled{At: time.Now(), ID: "dlv_1", Tenant: lane.Tenant, EventID: "evt_1", EventType: event.TargetImported, SubscriptionID: lane.SubscriptionID}))
		if err != nil {
			w.Fatal(err)
		}
		w.Take([]dispatch.Leased{{Delivery: d, Lease: "inc_1", Subscription: &subscription.Subscription{Settings: subscription.Settings{RetrySchedule: []time.Duration{time.Minute}}}}}, true)
		started++
	}
	synctest.Wait()
	return started
}

func (w *world) Send(ctx context.Context, _ dispatch.Request) delivery.Outcome {
	w.count(1)
	defer w.count(-1)
	select {
	case o := <-w.answers:
		return o
	case <-ctx.Done():
		return delivery.Outcome{Kind: delivery.KindConnectionLost, Error: "cut"}
	}
}

func (w *world) count(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sending += n
	w.begun += max(n, 0)
	w.most = max(w.most, w.sending)
}

func (w *world) record() {
	w.Helper()
	if _, err := w.Step(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func TestAttemptsRunAtOnceAsFarAsThereAreSlots(t *testing.T) {
	within(t, 3, func(w *world) {
		if started := w.start(10); started != 3 || w.sending != 3 {
			t.Errorf("started %d, sending %d", started, w.sending)
		}
		for range 3 {
			w.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		}
		synctest.Wait()
		w.record()
		if started := w.start(10); started != 3 || len(w.saved) != 3 || w.most != 3 {
			t.Errorf("then %d, recorded %d, at most %d at once", started, len(w.saved), w.most)
		}
	})
}

// TestWhatCannotBeSignedForNowIsGivenBack, so that somebody leases it again once the database is back.
func TestWhatCannotBeSignedForNowIsGivenBack(t *testing.T) {
	within(t, 2, func(w *world) {
		w.unsigned = problem.New(problem.Unavailable, "the database does not answer")
		w.start(2)
		<-time.After(900 * time.Millisecond)
		if w.InFlight() != 2 {
			t.Errorf("%d are out for a while", w.InFlight())
		}
		<-time.After(900 * time.Millisecond)
		w.record()
		if w.begun != 0 || len(w.saved) != 0 || len(w.givenBack) != 2 || w.InFlight() != 0 {
			t.Errorf("%d attempts, %d recorded, %d given back, %d out", w.begun, len(w.saved), len(w.givenBack), w.InFlight())
		}
	})
}

// TestWhatTheEndCutsOffBeforeItIsSignedIsGivenBack: nothing has begun, so nobody has to wonder what came of it.
func TestWhatTheEndCutsOffBeforeItIsSignedIsGivenBack(t *testing.T) {
	within(t, 2, func(w *world) {
		w.unsigned = errCut
		w.start(1)
		w.stop()
		w.cut()
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
		w.record()
		if w.begun != 0 || len(w.saved) != 0 || len(w.givenBack) != 1 {
			t.Errorf("%d attempts, %d recorded, %d given back", w.begun, len(w.saved), len(w.givenBack))
		}
	})
}

func TestTheEndWaitsForAttemptsAndGivesTheRestBack(t *testing.T) {
	within(t, 2, func(w *world) {
		w.start(1)
		w.stop()
		synctest.Wait()
		if len(w.ended) != 0 {
			t.Fatal("ended in the middle of an attempt")
		}
		if _, ok := w.Reserve(lane, 1000); ok {
			t.Error("a delivery was leased after the end")
		}
		w.answers <- delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500}
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
		w.record()
		if len(w.saved) != 1 || w.saved[0].After.Status != delivery.StatusRetrying || w.InFlight() != 0 {
			t.Errorf("recorded %+v", w.saved)
		}
	})
}

func TestWhatHasNotBegunIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t}
		w.Dispatcher = dispatch.New(dispatch.Config{Store: w, Disabler: w, Observer: w, Now: time.Now, Incarnation: "inc_1", MaxInFlight: 2})
		w.start(2)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		w.giveErr = errors.New("away")
		// Run may begin some of them before it looks at the context: those are cut.
		err := dispatcher.Run(ctx, ctx, w.Dispatcher, &dispatch.Attempter{Sender: w, Secrets: w, Observer: w, Now: time.Now})
		if w.begun < 2 && !errors.Is(err, w.giveErr) {
			t.Errorf("got %v", err)
		}
		w.giveErr = nil
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.InFlight() != 0 || len(w.givenBack)+w.begun != 2 {
			t.Errorf("%d in flight, %d given back", w.InFlight(), len(w.givenBack))
		}
	})
}

// Nobody knows how an attempt ended that was cut: it is no failure of the receiver.
func TestACutAttemptIsAbandoned(t *testing.T) {
	within(t, 2, func(w *world) {
		w.start(2)
		w.stop()
		w.answers <- delivery.Outcome{Kind: delivery.KindSucceeded}
		synctest.Wait()
		w.cut()
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
		w.record()
		if len(w.saved) != 1 || w.saved[0].After.Status != delivery.StatusSucceeded || w.InFlight() != 0 {
			t.Errorf("recorded %+v, %d in flight", w.saved, w.InFlight())
		}
	})
}

// A success is one, even when everything else is cut at the same moment.
func TestASuccessIsKeptAlthoughAttemptsAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t}
		w.Dispatcher = dispatch.New(dispatch.Config{Store: w, Disabler: w, Observer: w, Now: time.Now, Jitter: func() float64 { return 0 }, Incarnation: "inc_1", MaxInFlight: 2})
		ctx, stop := context.WithCancel(t.Context())
		cut, cancel := context.WithCancel(t.Context())
		cancel()
		ended := make(chan error, 1)
		go func() {
			ended <- dispatcher.Run(ctx, cut, w.Dispatcher, &dispatch.Attempter{Sender: quick{}, Secrets: w, Observer: w, Now: time.Now})
		}()
		w.start(1)
		stop()
		<-ended
		w.record()
		if len(w.saved) != 1 || w.saved[0].After.Status != delivery.StatusSucceeded {
			t.Errorf("recorded %+v", w.saved)
		}
	})
}

// began counts the attempts that began since it was asked last.
func (w *world) began() (n int) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	n, w.begun = w.begun, 0
	return n
}

// end has so many attempts end, and records them.
func (w *world) end(n int, o delivery.Outcome) {
	w.Helper()
	for range n {
		w.answers <- o
	}
	if !o.Succeeded() {
		<-time.After(50 * time.Millisecond) // of fake time, until they are handed in
	}
	synctest.Wait()
	w.record()
}

// Nobody waits for a failure to be recorded, and those who do for what else is written wait for it. A success is recorded at once.
func TestFailuresAreRecordedTogether(t *testing.T) {
	within(t, 100, func(w *world) {
		w.start(4)
		recorded := func(after time.Duration, o delivery.Outcome, want int) {
			t.Helper()
			<-time.After(after) // of fake time
			if o.Kind != "" {
				w.answers <- o
			}
			synctest.Wait()
			if w.record(); len(w.saved) != want {
				t.Errorf("%d are recorded, want %d", len(w.saved), want)
			}
		}
		failed, succeeded := delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500}, delivery.Outcome{Kind: delivery.KindSucceeded}
		recorded(5*time.Millisecond, failed, 0)
		recorded(20*time.Millisecond, succeeded, 1)
		recorded(20*time.Millisecond, failed, 1)
		recorded(5*time.Millisecond, delivery.Outcome{}, 3)
		recorded(time.Millisecond, failed, 3)
		w.cut() // which ends no attempt any more: what came of it is known
		recorded(time.Millisecond, delivery.Outcome{}, 4)
	})
}

// What is handed in at one moment is one turn's: it hears of none before all are there. Each is looked at by the clock as it is handed in.
func TestATurnHearsOfFailuresWhenAllAreHandedIn(t *testing.T) {
	within(t, 100, func(w *world) {
		out := w.start(100)
		for range len(w.Loop().Wake) {
			<-w.Loop().Wake
		}
		var looked, heard atomic.Int64
		w.looked = func() {
			looked.Add(1)
			heard.Add(int64(len(w.Loop().Wake)))
		}
		for range out {
			w.answers <- delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500}
		}
		<-time.After(60 * time.Millisecond) // of fake time
		synctest.Wait()
		if looked.Load() < int64(out) || heard.Load() > 0 || len(w.Loop().Wake) != 1 {
			t.Errorf("of %d failures %d were handed in, %d of them after a turn had heard", out, looked.Load(), heard.Load())
		}
		if w.record(); len(w.saved) != out {
			t.Errorf("of %d failures %d are recorded", out, len(w.saved))
		}
	})
}

// silence makes the lane's receiver one that does not answer. It says too much, which says nothing of how it is: so no circuit remembers it.
func (w *world) silence() {
	w.Helper()
	w.start(1)
	w.end(1, delivery.Outcome{Kind: delivery.KindResponseTooLarge})
	w.began()
}

// What a hundred handshakes cost at once is what others wait for.
func TestAttemptsAtAReceiverThatDoesNotAnswerBeginOneAfterTheOther(t *testing.T) {
	within(t, 100, func(w *world) {
		w.start(2)
		if n := w.began(); n != 2 {
			t.Fatalf("%d began at a receiver of which nothing is known", n)
		}
		w.end(2, delivery.Outcome{Kind: delivery.KindSucceeded})
		w.silence()
		started := w.start(50)
		if n := w.began(); started != 50 || n != 1 {
			t.Fatalf("%d of %d began at once", n, started)
		}
		<-time.After(time.Second) // of fake time
		if n := w.began(); n != 49 {
			t.Fatalf("%d began within a second", n)
		}
		w.end(50, delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500})
		w.start(10)
		if n := w.began(); n != 10 {
			t.Errorf("%d began at a receiver that answers again", n)
		}
	})
}

// An answer to who changed a subscription holds for what waits to be begun, too.
func TestWhatChangesWhileItWaitsIsGivenBack(t *testing.T) {
	within(t, 100, func(w *world) {
		w.silence()
		w.start(50)
		w.Changed(lane)
		first := w.began()
		<-time.After(50 * time.Millisecond) // of fake time, and not for as long as anything may be held
		w.record()
		if n := w.began(); n != 0 || len(w.givenBack) != 50-first || w.InFlight() != first {
			t.Errorf("%d began, then %d; %d given back, %d in flight", first, n, len(w.givenBack), w.InFlight())
		}
	})
}

// Others may have taken over what a process had leased that stood still.
func TestWhatWaitsForLongIsGivenBack(t *testing.T) {
	within(t, 100, func(w *world) {
		w.silence()
		w.start(50)
		first := w.began()
		w.stood.Store(int64(time.Second))
		<-time.After(50 * time.Millisecond) // of fake time
		w.record()
		if n := w.began(); n != 0 || len(w.givenBack) != 50-first || w.InFlight() != first {
			t.Errorf("%d began, then %d; %d given back, %d in flight", first, n, len(w.givenBack), w.InFlight())
		}
	})
}

// Who resumes a subscription, or gives it another endpoint, wants to see at once what comes of it.
func TestAReceiverWithAnotherChanceWaitsForNoOther(t *testing.T) {
	within(t, 100, func(w *world) {
		w.silence()
		w.start(50)
		first := w.began()
		w.Forget(lane)
		<-time.After(50 * time.Millisecond) // of fake time
		w.record()
		if n := w.began(); n != 0 || len(w.givenBack) != 50-first {
			t.Errorf("%d began, then %d; %d given back", first, n, len(w.givenBack))
		}
		w.record() // which finds that nothing of the lane is left
		started := w.start(10)
		if n := w.began(); started != 10 || n != 10 {
			t.Errorf("then %d of %d began at once", n, started)
		}
	})
}

// quick is a receiver that takes everything at once.
type quick struct{}

func (quick) Send(context.Context, dispatch.Request) delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindSucceeded}
}

func (w *world) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
func (w *world) Look(context.Context, dispatch.LookRequest) (dispatch.LookAnswer, error) {
	return dispatch.LookAnswer{}, nil
}
func (w *world) LeaseReady(context.Context, dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	return dispatch.LeaseAnswer{}, nil
}
func (w *world) Save(_ context.Context, saved []dispatch.Saved) ([]int, error) {
	w.saved = append(w.saved, saved...)
	return nil, nil
}
func (w *world) NoteHealth(context.Context, map[dispatch.Lane]dispatch.Ended, time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	return nil, nil
}
func (w *world) NoteCircuits(context.Context, string, []dispatch.CircuitReport) error { return nil }
func (w *world) Known(context.Context, []intake.EventKey) (intake.Known, error) {
	return intake.Known{}, nil
}
func (w *world) AppendEvents(context.Context, []intake.Accepted) error { return nil }
func (w *world) GiveBack(ctx context.Context, _ string, leased []dispatch.Leased) error {
	if w.locked {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err := ctx.Err(); err != nil && w.strict {
		return err
	}
	if w.giveErr == nil {
		w.givenBack = append(w.givenBack, leased...)
	}
	return w.giveErr
}
func (w *world) Disable(context.Context, dispatch.Lane, string, string) (*subscription.Subscription, error) {
	return nil, nil
}

// errCut has a secret be read until the context ends.
var errCut = errors.New("cut off")

func (w *world) OpenSecret(ctx context.Context, _ tenant.ID, _, _ string) (secret.Secret, error) {
	if w.unsigned == errCut {
		<-ctx.Done()
	}
	return secret.FromBytes([32]byte{1}), w.unsigned
}
func (w *world) AttemptStarted(ctx context.Context, _ dispatch.Leased, _ int) (context.Context, dispatch.AttemptSpan) {
	return ctx, dispatch.AttemptSpan{End: func(delivery.Outcome) {}}
}
func (w *world) StaleLease(context.Context, string)                    {}
func (w *world) DeliveriesEnded(context.Context, delivery.Status, int) {}
