package simulation

import (
	"context"
	"net/url"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// receiver is somebody's endpoint.
type receiver struct {
	host     string
	tenant   tenant.ID
	mood     int
	stubborn bool // never well again
}

// answer is what a receiver does with a request; took says that it has got the bytes.
type answer struct {
	kind       delivery.Kind
	status     int
	retryAfter time.Duration
	took       bool
}

// moods are the answers that a receiver draws from.
var moods = [][]answer{
	{{delivery.KindSucceeded, 200, 0, true}},
	{{delivery.KindSucceeded, 200, 0, true}, {delivery.KindSucceeded, 204, 0, true}, {delivery.KindHTTPStatus, 500, 0, true}},
	{{delivery.KindTimeout, 0, 0, true}, {delivery.KindTimeout, 0, 0, false}, {delivery.KindSucceeded, 202, 0, true}},
	{{delivery.KindHTTPStatus, 429, 3 * time.Second, true}, {delivery.KindHTTPStatus, 429, 40 * time.Second, true}, {delivery.KindSucceeded, 200, 0, true}},
	{{delivery.KindHTTPStatus, 503, 0, true}, {delivery.KindConnectionLost, 0, 0, true}},
	{{delivery.KindConnectionRefused, 0, 0, false}, {delivery.KindSucceeded, 200, 0, true}},
	{{delivery.KindHTTPStatus, 404, 0, true}, {delivery.KindHTTPStatus, 410, 0, true}, {delivery.KindSucceeded, 200, 0, true}, {delivery.KindSucceeded, 200, 0, true}},
}

// refusals are the answers of who is never well: sick, and in the end well enough to say no.
var refusals = map[bool][]answer{
	false: {{delivery.KindHTTPStatus, 500, 0, true}, {delivery.KindHTTPStatus, 404, 0, true}},
	true:  {{delivery.KindHTTPStatus, 404, 0, true}},
}

// receiverAt makes a receiver for the tenant and returns its URL.
func (w *world) receiverAt(owner tenant.ID) string {
	r := &receiver{host: string(owner) + "-" + string(rune('a'+len(w.receivers)%26)) + number(len(w.receivers)) + ".example", tenant: owner,
		mood: w.weather.IntN(len(moods)), stubborn: w.weather.IntN(8) == 0}
	w.receivers[r.host] = r
	return "https://" + r.host + "/hook"
}

// receiverOf finds who is at a URL; there is somebody at each that a user has set.
func (w *world) receiverOf(address string) *receiver {
	parsed, err := url.Parse(address)
	must(err)
	return w.receivers[parsed.Host]
}

func (r *receiver) answers(w *world) answer {
	if w.weather.IntN(10) == 0 {
		r.mood = w.weather.IntN(len(moods))
	}
	from := moods[r.mood]
	drawn := w.weather.IntN(12)
	switch {
	case r.stubborn:
		from = refusals[w.quiet]
	case w.quiet:
		from = moods[0]
	}
	return from[drawn%len(from)]
}

// sender is the network as one process sees it.
type sender struct{ p *process }

// Send lets others work until the answer is there.
func (s sender) Send(_ context.Context, request dispatch.Request) delivery.Outcome {
	p, w, a := s.p, s.p.world, s.p.world.current
	began := w.now
	sent := w.sends(p, a, request)
	r := w.receiverOf(request.URL)
	if r.tenant != request.Tenant {
		w.violate("I9", "a request of %s went to %s, which is %s's", request.Tenant, r.host, r.tenant)
	}
	got := r.answers(w)
	latency := time.Duration(1+w.weather.IntN(400)) * time.Millisecond
	if got.kind == delivery.KindTimeout {
		latency = request.Timeout
	}
	w.trace.line("%s sends %s (%s, attempt %s) to %s: %s %d", p.name, sent.delivery, sent.event, sent.span, r.host, got.kind, got.status)
	outcome := delivery.Outcome{Kind: got.kind, StartedAt: p.now(), RequestHeaders: request.Headers, Status: got.status, RetryAfter: got.retryAfter}
	a.sleep(w.now.Add(latency), nil)
	if a.cutOff && w.now.Before(began.Add(latency)) {
		outcome.Kind, outcome.Status, outcome.RetryAfter = delivery.KindConnectionLost, 0, 0
	}
	outcome.Duration = w.now.Sub(began)
	sent.ended, sent.outcome = w.now, outcome
	return outcome
}
