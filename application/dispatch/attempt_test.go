package dispatch_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// exchange is all that an attempt touches.
type exchange struct {
	requests []dispatch.Request
	secrets  map[string]secret.Secret
	numbers  []int
	told     []delivery.Outcome
	notMade  []delivery.Outcome
	now      time.Time
	fails    error         // of opening a secret
	opens    time.Duration // how long that takes
	panics   any           // with what sending panics
	exhausts error         // why nothing is left to connect with
	cuts     func()        // ends the process while the request is under way
}

func (x *exchange) Send(_ context.Context, r dispatch.Request) delivery.Outcome {
	x.requests = append(x.requests, r)
	if x.panics != nil {
		x.now = x.now.Add(time.Second)
		panic(x.panics)
	}
	if x.exhausts != nil {
		r.Exhausted(x.exhausts)
		return delivery.Outcome{Kind: delivery.KindConnectionLost}
	}
	if x.cuts != nil {
		x.cuts()
		return delivery.Outcome{Kind: delivery.KindConnectionLost, Duration: time.Second}
	}
	return delivery.Outcome{Kind: delivery.KindSucceeded, Status: 204, RequestHeaders: r.Headers}
}

var errSealed = errors.New("the seal is broken")

func (x *exchange) OpenSecret(_ context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	x.now = x.now.Add(x.opens)
	if found, ok := x.secrets[string(owner)+"/"+subscriptionID+"/"+secretID]; ok && x.fails == nil {
		return found, nil
	}
	return secret.Secret{}, cmp.Or(x.fails, errSealed)
}

func (x *exchange) AttemptStarted(ctx context.Context, _ dispatch.Leased, number int) (context.Context, dispatch.AttemptSpan) {
	x.numbers = append(x.numbers, number)
	return ctx, dispatch.AttemptSpan{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		End: func(o delivery.Outcome) { x.told = append(x.told, o) }, NotMade: func(o delivery.Outcome) { x.notMade = append(x.notMade, o) }}
}
func (x *exchange) StaleLease(context.Context, string)                    {}
func (x *exchange) DeliveriesEnded(context.Context, delivery.Status, int) {}

func newExchange() (*exchange, *dispatch.Attempter, dispatch.Leased) {
	x := &exchange{now: time.Date(2026, 6, 18, 18, 40, 7, 999, time.FixedZone("CEST", 7200)), secrets: map[string]secret.Secret{
		"acme/sub_1/sec_new": secret.FromBytes([32]byte{1}), "acme/sub_1/sec_old": secret.FromBytes([32]byte{2})}}
	a := &dispatch.Attempter{Sender: x, Secrets: x, Observer: x, Now: func() time.Time { return x.now }, UserAgent: "Ordinavo-Webhooks/9"}
	l := dispatch.Leased{
		Delivery:     delivery.Delivery{ID: "dlv_1", Tenant: "acme", EventID: "evt_1", EventType: event.VisitReportApproved, SubscriptionID: "sub_1", Attempts: 2},
		Subscription: &subscription.Subscription{ID: "sub_1", Tenant: "acme", Secrets: subscription.Secrets{Current: "sec_new"}, Settings: subscription.Settings{URL: "https://example.com/hook", Timeout: 7 * time.Second}},
		Body:         []byte(`{"a":1}`),
	}
	return x, a, l
}

func TestEveryHeaderOfTheContract(t *testing.T) {
	x, a, l := newExchange()
	outcome, err := a.Attempt(t.Context(), l)
	if err != nil || len(x.requests) != 1 || !slices.Equal(x.numbers, []int{3}) || len(x.told) != 1 {
		t.Fatalf("%d requests, attempts %v, %d told", len(x.requests), x.numbers, len(x.told))
	}
	r := x.requests[0]
	if r.Tenant != "acme" || r.URL != "https://example.com/hook" || r.Timeout != 7*time.Second || string(r.Body) != `{"a":1}` {
		t.Errorf("sent %+v", r)
	}
	current := x.secrets["acme/sub_1/sec_new"]
	if err := signature.VerifyBody(r.Headers["X-Ordinavo-Signature"], r.Body, current); err != nil {
		t.Error(err)
	}
	if err := signature.VerifyStandard(r.Headers["webhook-id"], r.Headers["webhook-timestamp"], r.Headers["webhook-signature"], r.Body, x.now, time.Second, current); err != nil {
		t.Error(err)
	}
	want := map[string]string{
		"Content-Type": "application/json", "User-Agent": "Ordinavo-Webhooks/9",
		"X-Ordinavo-Event-Id": "evt_1", "X-Ordinavo-Event-Type": "visit_report.approved", "X-Ordinavo-Delivery-Id": "dlv_1",
		"X-Ordinavo-Timestamp": "2026-06-18T16:40:07Z", "X-Ordinavo-Webhook-Version": "v1",
		"webhook-id": "evt_1", "webhook-timestamp": "1781800807",
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	got := maps.Clone(r.Headers)
	delete(got, "X-Ordinavo-Signature")
	delete(got, "webhook-signature")
	if !maps.Equal(got, want) {
		t.Errorf("headers are\n%v, want\n%v", got, want)
	}
	if outcome.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || x.told[0].TraceID != outcome.TraceID || x.told[0].Status != 204 {
		t.Errorf("the span was told %+v", x.told[0])
	}
}

func TestASampleIsMarked(t *testing.T) {
	x, a, l := newExchange()
	l.Test = true
	if _, err := a.Attempt(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if x.requests[0].Headers["X-Ordinavo-Test"] != "true" {
		t.Error("it is not marked")
	}
}

func TestASpanWithoutAContextSendsNone(t *testing.T) {
	_, a, l := newExchange()
	headers, err := a.Headers(t.Context(), l, start, "")
	if _, sent := headers["traceparent"]; sent || err != nil {
		t.Errorf("sent %v, %v", headers, err)
	}
}

func TestTheSecretsOfARotation(t *testing.T) {
	_, _, during := newExchange()
	x, a, l := newExchange()
	oldSecret, newSecret := x.secrets["acme/sub_1/sec_old"], x.secrets["acme/sub_1/sec_new"]
	during.Subscription.Secrets = subscription.Secrets{Current: "sec_new", Previous: "sec_old", OverlapEnd: x.now.Add(time.Hour)}
	_, _, over := newExchange()
	over.Subscription.Secrets = subscription.Secrets{Current: "sec_new", Previous: "sec_old", OverlapEnd: x.now}
	for name, c := range map[string]struct {
		leased     dispatch.Leased
		forBody    secret.Secret
		signatures int
	}{"none": {l, newSecret, 1}, "overlap": {during, oldSecret, 2}, "overlap is over": {over, newSecret, 1}} {
		t.Run(name, func(t *testing.T) {
			headers, err := a.Headers(t.Context(), c.leased, x.now, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := signature.VerifyBody(headers["X-Ordinavo-Signature"], l.Body, c.forBody); err != nil {
				t.Error(err)
			}
			signatures := strings.Fields(headers["webhook-signature"])
			if len(signatures) != c.signatures {
				t.Fatalf("signatures %v", signatures)
			}
			for i, s := range []secret.Secret{newSecret, oldSecret}[:c.signatures] {
				if err := signature.VerifyStandard("evt_1", headers["webhook-timestamp"], signatures[i], l.Body, x.now, time.Second, s); err != nil {
					t.Errorf("signature %d: %v", i, err)
				}
			}
		})
	}
}

// An overlap that ends while a slow database is asked for the secrets has ended for the request, whose time is later, and another rotation
// may have deleted what ended.
func TestSecretsThatAreSlowToOpenAreThoseOfTheirTime(t *testing.T) {
	for name, deleted := range map[string]bool{"kept": false, "deleted": true} {
		t.Run(name, func(t *testing.T) {
			x, a, l := newExchange()
			l.Subscription.Secrets.Previous, l.Subscription.Secrets.OverlapEnd = "sec_old", x.now.Add(time.Second)
			x.opens = 2 * time.Second
			if deleted {
				delete(x.secrets, "acme/sub_1/sec_old")
			}
			if _, err := a.Attempt(t.Context(), l); err != nil || len(x.requests) != 1 {
				t.Fatalf("%d requests, %v", len(x.requests), err)
			}
			current, sent := x.secrets["acme/sub_1/sec_new"], x.requests[0].Headers
			if err := signature.VerifyBody(sent["X-Ordinavo-Signature"], l.Body, current); err != nil {
				t.Error(err)
			}
			if only := signature.Sign(l.Body, x.now, "evt_1", current, current).Standard; sent["webhook-signature"] != only {
				t.Errorf("signed by %s at %s, want %s", sent["webhook-signature"], sent["X-Ordinavo-Timestamp"], only)
			}
		})
	}
}

func TestWhatCannotBeSignedIsAnOutcomeAndStaysHere(t *testing.T) {
	for name, secrets := range map[string]subscription.Secrets{
		"current":                     {Current: "sec_lost"},
		"current beside the previous": {Current: "sec_lost", Previous: "sec_old", OverlapEnd: start.AddDate(1, 0, 0)},
		"previous":                    {Current: "sec_new", Previous: "sec_lost", OverlapEnd: start.AddDate(1, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			x, a, l := newExchange()
			l.Subscription.Secrets = secrets
			var trouble error
			a.Trouble = func(_ context.Context, _ dispatch.Leased, err error) { trouble = err }
			outcome, err := a.Attempt(t.Context(), l)
			if trouble == nil || err != nil {
				t.Error("the operator hears nothing of it")
			}
			// What the store says is not for tenants, who see the outcome.
			if outcome.Kind != delivery.KindConnectionLost || outcome.Error != "the request could not be signed" || !outcome.StartedAt.Equal(x.now) || outcome.TraceID == "" {
				t.Errorf("came to %+v", outcome)
			}
			if len(x.requests) != 0 || len(x.told) != 1 {
				t.Errorf("sent %d requests, told %d", len(x.requests), len(x.told))
			}
			if headers, err := a.Headers(t.Context(), l, x.now, ""); !errors.Is(err, errSealed) { // of a preview, or for a receiver that pulls
				t.Errorf("got %q, %v", headers, err)
			}
		})
	}
}

// TestWhatCannotBeSignedForNowIsNoAttempt: the database is away, and the receiver is not to blame.
func TestWhatCannotBeSignedForNowIsNoAttempt(t *testing.T) {
	x, a, l := newExchange()
	x.fails = problem.New(problem.Unavailable, "the database does not answer")
	if _, err := a.Attempt(t.Context(), l); !errors.Is(err, x.fails) || len(x.requests)+len(x.numbers)+len(x.told) != 0 {
		t.Errorf("%v with %d requests and the attempts %v", err, len(x.requests), x.numbers)
	}
}

// Nothing was sent, and nobody knows whether it could have been signed.
func TestWhoseProcessEndsBeforeItIsSignedIsNotAttempted(t *testing.T) {
	x, a, l := newExchange()
	ended, cut := context.WithCancel(t.Context())
	cut()
	x.fails = ended.Err()
	if outcome, err := a.Attempt(ended, l); !errors.Is(err, x.fails) || len(x.requests)+len(x.numbers)+len(x.told) != 0 {
		t.Errorf("%+v, %v with %d requests and the attempts %v", outcome, err, len(x.requests), x.numbers)
	}
}

// TestWhoHasNothingToConnectWithMakesNoAttempt: it is this process that has no file left, whatever the receiver may do.
func TestWhoHasNothingToConnectWithMakesNoAttempt(t *testing.T) {
	x, a, l := newExchange()
	x.exhausts = errors.New("too many open files")
	var trouble error
	a.Trouble = func(_ context.Context, _ dispatch.Leased, err error) { trouble = err }
	outcome, err := a.Attempt(t.Context(), l)
	if want := (dispatch.Exhausted{By: x.exhausts}); err != error(want) || trouble != error(want) || outcome.Kind != delivery.KindConnectionLost || len(x.told) != 0 || len(x.notMade) != 1 {
		t.Errorf("%v with %+v; the operator heard %v, %d spans ended with an attempt, and %d without", err, outcome, trouble, len(x.told), len(x.notMade))
	}
}

// The receiver is not to blame: with each process that was replaced, traces and metrics said that it had dropped connections.
func TestWhatTheEndOfTheProcessCutsOffIsNoConnectionLost(t *testing.T) {
	for test, want := range map[bool]delivery.Kind{false: delivery.KindLeaseExpired, true: delivery.KindConnectionLost} {
		x, a, l := newExchange()
		ctx, cut := context.WithCancel(t.Context())
		x.cuts, l.Test = cut, test
		outcome, err := a.Attempt(ctx, l)
		if err != nil || outcome.Kind != delivery.KindConnectionLost || len(x.told) != 1 || x.told[0].Kind != want || x.told[0].Duration != time.Second {
			t.Errorf("%+v, %v; the span says %+v", outcome, err, x.told)
		}
	}
}

// A defect of the service is an outcome like others, with which the span ends. What it was is for the operator, not for tenants.
func TestAPanicIsAnOutcome(t *testing.T) {
	x, a, l := newExchange()
	x.panics = "the password is hushhush"
	var heard *dispatch.Panic
	a.Trouble = func(_ context.Context, of dispatch.Leased, err error) {
		if panicked, ok := errors.AsType[*dispatch.Panic](err); ok && of.Delivery.ID == "dlv_1" {
			heard = panicked
		}
	}
	began := x.now
	outcome, err := a.Attempt(t.Context(), l)
	want := delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: began, Duration: time.Second, Error: "the attempt failed inside the service", TraceID: outcome.TraceID}
	if err != nil || !reflect.DeepEqual(outcome, want) || outcome.TraceID == "" {
		t.Errorf("came to %+v, %v", outcome, err)
	}
	if len(x.told) != 1 || !reflect.DeepEqual(x.told[0], want) {
		t.Errorf("the span was told %+v", x.told)
	}
	if heard == nil || heard.Value != x.panics || !strings.Contains(string(heard.Stack), "(*exchange).Send") || !strings.Contains(heard.Error(), "hushhush") {
		t.Errorf("the operator hears %+v", heard)
	}
}

// Who deletes a subscription while an attempt begins has its deliveries cancelled by a sweep: none of them has failed.
func TestADeletedSubscriptionIsNotAttempted(t *testing.T) {
	x, a, l := newExchange()
	x.fails = fmt.Errorf("read a signing secret: %w", dispatch.ErrDeleted)
	a.Trouble = func(context.Context, dispatch.Leased, error) { t.Error("told the operator") }
	if _, err := a.Attempt(t.Context(), l); !errors.Is(err, dispatch.ErrDeleted) || len(x.numbers) > 0 || len(x.requests) > 0 {
		t.Errorf("begun %v, sent %d, %v", x.numbers, len(x.requests), err)
	}
}

// What cannot be read is not sent: the attempt fails, says why, and its retries give time to mend it.
func TestWhatCannotBeReadIsNotSent(t *testing.T) {
	x, a, l := newExchange()
	l.Unreadable, l.Body = fmt.Errorf("%w: event evt_1 has no body 1", dispatch.ErrUnreadable), nil
	outcome, err := a.Attempt(t.Context(), l)
	if err != nil || len(x.requests) != 0 || outcome.Kind != delivery.KindConnectionLost || !strings.Contains(outcome.Error, "event evt_1 has no body 1") || outcome.TraceID == "" || len(x.told) != 1 {
		t.Errorf("%d requests, outcome %+v", len(x.requests), outcome)
	}
}
