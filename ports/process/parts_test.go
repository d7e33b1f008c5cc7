package process_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// server has a request that ends with release.
type server struct {
	net.Listener // it is its own
	site         *site
	onShutdown   func()
	deaf         bool          // it began after Shutdown
	unheard      chan struct{} // closed with the listener
	release      chan struct{}
	closed       chan struct{}
	lingers      chan struct{} // for as long as it is open it goes on once it is closed; nil for not at all
	fail         chan error
}

func (s *server) Serve(net.Listener) error {
	select {
	case err := <-s.fail:
		return err
	case <-s.ends():
		linger(s.lingers)
		return nil
	}
}

// ends is when it stops taking requests.
func (s *server) ends() chan struct{} {
	if s.deaf {
		return s.unheard
	}
	return s.closed
}

func (s *server) Close() error {
	close(s.unheard)
	return nil
}

func linger(until chan struct{}) {
	if until != nil {
		<-until
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
	lingers                chan struct{} // see server
	fail                   chan error    // at the start
}

func (r *router) Run(context.Context) error {
	select {
	case err := <-r.fail:
		return err
	case <-r.begin:
	}
	close(r.running)
	<-r.closed
	linger(r.lingers)
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
	mu        sync.Mutex
	saved     []delivery.Status
	awayUntil time.Time
}

func (q *queue) recorded(t *testing.T, want ...delivery.Status) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if slices.Sort(q.saved); !slices.Equal(q.saved, slices.Sorted(slices.Values(want))) {
		t.Errorf("recorded %v, want %v", q.saved, want)
	}
}

func (q *queue) Save(_ context.Context, saved []dispatch.Saved) ([]int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range saved {
		q.saved = append(q.saved, s.After.Status)
	}
	return nil, nil
}

func (q *queue) away() error {
	if time.Now().Before(q.awayUntil) {
		return problem.New(problem.Unavailable, "The database does not answer.")
	}
	return nil
}

func (q *queue) InTx(ctx context.Context, fn func(context.Context) error) error {
	if err := q.away(); err != nil {
		return err
	}
	return fn(ctx)
}

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
func (q *queue) GiveBack(context.Context, string, []dispatch.Leased) error            { return q.away() }
func (q *queue) Known(context.Context, []intake.EventKey) (intake.Known, error) {
	return intake.Known{}, nil
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
