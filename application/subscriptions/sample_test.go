package subscriptions_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// noting is a TestStore that remembers what was noted.
type noting struct {
	*sqlite.Store
	noted []subscriptions.Exchange
	asked []bool // of each note, whether it was a user's work
	fail  error
}

func (n *noting) NoteTest(ctx context.Context, e subscriptions.Exchange, actor subscriptions.Actor) error {
	if n.fail != nil {
		return n.fail
	}
	n.noted = append(n.noted, e)
	n.asks(ctx)
	return n.Store.NoteTest(ctx, e, actor)
}

func (n *noting) NoteTestEnd(ctx context.Context, e subscriptions.Exchange) error {
	n.asks(ctx)
	return n.Store.NoteTestEnd(ctx, e)
}

func (n *noting) asks(ctx context.Context) {
	_, asked := share.Of(ctx)
	n.asked = append(n.asked, asked)
}

func newTester(t *testing.T) (*world, *noting, *subscriptions.Tester) {
	w := newWorld(t)
	n := &noting{Store: w.Store}
	return w, n, &subscriptions.Tester{Service: w.service, Store: n,
		Attempter: &dispatch.Attempter{Sender: w, Secrets: w.Store, Observer: w, Now: w.service.Now, UserAgent: "Ordinavo-Webhooks/9"}}
}

func TestASampleIsNotedBeforeItIsSent(t *testing.T) {
	w, n, tester := newTester(t)
	created, signing, err := w.created("acme", settings(), by)
	w.ok(err)
	w.onSend = func() {
		if len(n.noted) != 1 {
			t.Error("it was sent before it was noted")
		}
	}
	x, err := tester.Test(share.For(t.Context(), "acme"), laneOf(created), event.VisitReportApproved, by)
	w.ok(err)
	if !slices.Equal(n.asked, []bool{true, false}) {
		t.Errorf("what came of it waits for the tenant's other changes: %v", n.asked)
	}
	if len(w.requests) != 1 || len(n.noted) != 1 {
		t.Fatalf("%d requests, %d noted: a sample is sent once", len(w.requests), len(n.noted))
	}
	r, noted := w.requests[0], n.noted[0]
	if r.Headers["X-Ordinavo-Test"] != "true" || r.Headers["X-Ordinavo-Event-Id"] != x.EventID || r.Headers["X-Ordinavo-Delivery-Id"] != x.DeliveryID || r.URL != created.URL || x.URL != created.URL {
		t.Errorf("sent %+v of %+v", r, x)
	}
	if noted.DeliveryID != x.DeliveryID || noted.EventID != x.EventID || noted.EventType != event.VisitReportApproved || noted.SubscriptionID != created.ID {
		t.Errorf("noted %+v", noted)
	}
	if err := signature.VerifyBody(r.Headers["X-Ordinavo-Signature"], r.Body, signing); err != nil {
		t.Error(err)
	}
	if string(x.Body) != string(r.Body) || !strings.Contains(string(r.Body), x.EventID) || x.EventID == event.SampleID || x.Outcome.Status != 500 {
		t.Errorf("told %+v", x)
	}
	if found, err := n.FindTest(t.Context(), "acme", x.DeliveryID); err != nil || string(found.Body) != string(x.Body) || found.Outcome.Status != 500 {
		t.Errorf("found %+v, %v", found, err)
	}
}

// exhausted is a sender that has nothing left to connect with.
type exhausted struct{}

func (exhausted) Send(_ context.Context, r dispatch.Request) delivery.Outcome {
	r.Exhausted(errors.New("too many open files"))
	return delivery.Outcome{Kind: delivery.KindConnectionLost, Error: "nothing was sent"}
}

// TestASampleThatCouldNotBeSentSaysSo, and not that it could not be signed.
func TestASampleThatCouldNotBeSentSaysSo(t *testing.T) {
	w, _, tester := newTester(t)
	created, _, err := w.created("acme", settings(), by)
	w.ok(err)
	tester.Attempter.Sender = exhausted{}
	if x, err := tester.Test(t.Context(), laneOf(created), event.VisitReportApproved, by); err != nil || x.Outcome.Error != "nothing was sent" {
		t.Errorf("told %+v, %v", x.Outcome, err)
	}
}

// ending is a context that ends when the test says so.
type ending struct {
	context.Context
	done chan struct{}
	why  error
}

func (e *ending) Done() <-chan struct{} { return e.done }

func (e *ending) Err() error {
	select {
	case <-e.done:
		return e.why
	default:
		return nil
	}
}

type sending func(ctx context.Context) delivery.Outcome

func (s sending) Send(ctx context.Context, _ dispatch.Request) delivery.Outcome { return s(ctx) }

// A receiver may hang for as long as a request to the API may take, and a test of it is to say so. Who has gone waits for nothing.
func TestASampleOutlastsItsCallersDeadline(t *testing.T) {
	timeout, cutOff := delivery.Outcome{Kind: delivery.KindTimeout}, delivery.Outcome{Kind: delivery.KindConnectionLost}
	for why, want := range map[error]delivery.Kind{context.DeadlineExceeded: timeout.Kind, context.Canceled: cutOff.Kind} {
		w, n, tester := newTester(t)
		created, _, err := w.created("acme", settings(), by)
		w.ok(err)
		caller := &ending{t.Context(), make(chan struct{}), why}
		tester.Attempter.Sender = sending(func(ctx context.Context) delivery.Outcome {
			close(caller.done)
			if errors.Is(why, context.DeadlineExceeded) {
				for range 1000 { // who would end it has time to
					runtime.Gosched()
					if ctx.Err() != nil {
						t.Error("the attempt ended with the request's deadline")
						break
					}
				}
				return timeout
			}
			<-ctx.Done()
			return cutOff
		})
		x, err := tester.Test(caller, laneOf(created), event.VisitReportApproved, by)
		if err != nil || x.Outcome.Kind != want {
			t.Errorf("%v: it was told %+v, %v", why, x.Outcome, err)
			continue
		}
		if found, err := n.FindTest(t.Context(), "acme", x.DeliveryID); err != nil || found.Outcome == nil || found.Outcome.Kind != want {
			t.Errorf("%v: found %+v, %v", why, found.Outcome, err)
		}
	}
}

func TestASampleThatCannotBeNotedIsNotSent(t *testing.T) {
	w, n, tester := newTester(t)
	n.fail = errors.New("away")
	s := w.create(nil)
	if _, err := tester.Test(t.Context(), laneOf(s), event.VisitReportApproved, by); !errors.Is(err, n.fail) || len(w.requests) != 0 {
		t.Errorf("%d requests, %v", len(w.requests), err)
	}
}

func TestASampleOfBillingNeedsTheFeature(t *testing.T) {
	w, n, tester := newTester(t)
	s := w.create(nil)
	_, err := tester.Test(t.Context(), laneOf(s), event.BillingEventReady, by)
	w.refused(err, problem.FeatureNotEnabled)
	w.gateErr = errors.New("away")
	if _, err := tester.Test(t.Context(), laneOf(s), event.VisitReportApproved, by); !errors.Is(err, w.gateErr) {
		t.Errorf("got %v", err)
	}
	if len(w.requests)+len(n.noted) != 0 {
		t.Errorf("%d requests, %d noted", len(w.requests), len(n.noted))
	}
	w.gateErr, w.billing = nil, true
	_, err = tester.Test(t.Context(), laneOf(s), event.BillingEventReady, by)
	w.ok(err)
}

func TestASampleForNobody(t *testing.T) {
	w, _, tester := newTester(t)
	s := w.create(nil)
	w.ok(w.service.Delete(t.Context(), laneOf(s), 0, by))
	_, err := tester.Test(t.Context(), laneOf(s), event.VisitReportApproved, by)
	w.refused(err, problem.NotFound)
}

// A tenant whose receiver hangs must not take up the API's requests with tests of it.
func TestSamplesOfATenantAreBounded(t *testing.T) {
	w, _, tester := newTester(t)
	w.ok(w.CreateTenant(t.Context(), access.Tenant{ID: "other", Name: "Other", Weight: tenant.DefaultWeight, CreatedAt: start}))
	theirs, _, err := w.created("other", settings(), by)
	w.ok(err)
	mine := laneOf(w.create(nil))
	out := 0
	w.onSend = func() { // while it is out, another is asked for
		if out++; out < subscriptions.MaxTests {
			_, err := tester.Test(t.Context(), mine, event.VisitReportApproved, by)
			w.ok(err)
			return
		}
		w.onSend = func() {}
		_, err := tester.Test(t.Context(), mine, event.VisitReportApproved, by)
		w.refused(err, problem.RateLimited)
		_, err = tester.Test(t.Context(), laneOf(theirs), event.VisitReportApproved, by)
		w.ok(err)
	}
	for range 2 { // and those that have ended make room
		_, err := tester.Test(t.Context(), mine, event.VisitReportApproved, by)
		w.ok(err)
	}
	if len(w.requests) != subscriptions.MaxTests+2 {
		t.Errorf("%d requests", len(w.requests))
	}
}
