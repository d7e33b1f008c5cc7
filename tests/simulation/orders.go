package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var errNoAnswer = errors.New("simulated: no answer in time")

// order is a write with an Idempotency-Key: an event without an ID of its own, or a subscription. Its name is in what it makes.
type order struct {
	tenant   tenant.ID
	name     string
	settings subscription.Settings // of a subscription
	event    *event.Event
	answered string // the ID of what was made, as its first answer told
}

// shop sends each of its orders again until it is answered, and some once more, by one process or another. It does not wait for long: what it
// sent before may be under way still.
func (w *world) shop(a *activity) {
	for i := range w.reading.IntN(4) {
		a.sleep(w.now.Add(time.Duration(w.reading.Int64N(int64(8*time.Second)))), nil)
		o := w.newOrder(i)
		w.orders = append(w.orders, o)
		for tries := 0; tries < 20 && (o.answered == "" || w.reading.IntN(3) == 0); tries++ {
			w.begin(nil, "request", func(a *activity) { w.sendOrder(a, o) })
			a.sleep(w.now.Add(time.Duration(w.reading.Int64N(int64(6*time.Second)))), nil)
		}
	}
	w.busy--
}

func (w *world) newOrder(number int) *order {
	o := &order{tenant: tenants[w.reading.IntN(w.tenants)], name: fmt.Sprintf("order %d", number)}
	if w.reading.IntN(3) == 0 {
		o.settings = w.wanted(o.tenant)
		o.settings.Name = o.name
		return o
	}
	types := event.Types()
	e := event.Sample(types[w.reading.IntN(len(types))], o.tenant)
	e.ID, e.Target = "", &event.Target{ID: 9, Title: &o.name}
	o.event = &e
	return o
}

// sendOrder works on an order as ports/rest does on a request with a key.
func (w *world) sendOrder(a *activity, o *order) {
	p, ctx := w.anyProcess(w.reading), context.Background()
	if p == nil {
		return
	}
	r, answer, err := p.answers.Begin(ctx, idempotency.Request{Caller: "key_1", Tenant: string(o.tenant), Method: "POST", Path: "/", Key: o.name})
	w.trace.line("shop: %s by %s: reserved: %t, %v", o.name, p.name, r != nil, err)
	if p.dead || err != nil {
		return
	}
	if r == nil {
		w.counts.Repeated++
		w.orderAnswered(o, string(answer.Body))
		return
	}
	if w.reading.IntN(3) == 0 { // as if it had much else to do
		a.sleep(w.now.Add(time.Duration(w.reading.Int64N(int64(20*time.Second)))), nil)
	}
	made, err := w.makeOrder(a, p, o, r)
	w.trace.line("shop: %s by %s: %s: %v", o.name, p.name, made, err)
	switch {
	case p.dead:
	case err == nil:
		w.orderAnswered(o, made)
	default:
		err = p.answers.Finish(ctx, r, nil)
		w.trace.line("shop: %s by %s: frees its key: %v", o.name, p.name, err)
	}
}

// makeOrder makes what is ordered, and keeps the answer in the same transaction.
func (w *world) makeOrder(a *activity, p *process, o *order, r *idempotency.Reservation) (made string, err error) {
	keep := func(ctx context.Context, made string) error {
		return p.answers.Keep(ctx, r, &idempotency.Answer{Status: 202, Body: []byte(made)})
	}
	if o.event == nil {
		err = p.store.InTx(context.Background(), func(ctx context.Context) error {
			checked, err := p.subs.Check(o.settings)
			if err != nil {
				return err
			}
			s, _, err := p.subs.Create(ctx, o.tenant, checked, subscriptions.Actor{})
			if err != nil {
				return err
			}
			made = s.ID
			return keep(ctx, made)
		})
		return made, err
	}
	s, err := p.intake.Submit(context.Background(), []event.Event{*o.event}, "", func(ctx context.Context, results []intake.Result) error {
		return keep(ctx, results[0].EventID)
	})
	if err != nil {
		return "", err
	}
	for !p.dead {
		select {
		case <-s.Done():
			results, err := s.Answer()
			if err != nil {
				return "", err
			}
			if len(results) != 1 {
				w.violate("once", "%s was answered without what was made", o.name)
				return "", errNoAnswer
			}
			return results[0].EventID, nil
		default:
			a.sleep(w.now.Add(50*time.Millisecond), s.Done())
		}
	}
	return "", errNoAnswer
}

// orderAnswered holds each answer to the first one.
func (w *world) orderAnswered(o *order, made string) {
	if o.answered != "" && o.answered != made {
		w.violate("once", "%s was answered with %s, and then with %s", o.name, o.answered, made)
	}
	o.answered = made
}

// checkOrders is what must be true of orders in the end: each was carried out once at the most, and once if that was answered.
func (w *world) checkOrders() {
	made := map[string][]string{}
	for _, e := range w.everAccepted() {
		if e.Target != nil && e.Target.Title != nil {
			made[string(e.TenantID)+*e.Target.Title] = append(made[string(e.TenantID)+*e.Target.Title], e.ID)
		}
	}
	for _, s := range w.store.States() {
		ordered := w.subscriptionAt(laneOf(s), 1).Name // edits give it others
		made[string(s.Tenant)+ordered] = append(made[string(s.Tenant)+ordered], s.ID)
	}
	for _, o := range w.orders {
		switch of := made[string(o.tenant)+o.name]; {
		case len(of) > 1:
			w.violate("once", "%s of %s was carried out as %v", o.name, o.tenant, of)
		case o.answered != "" && (len(of) == 0 || of[0] != o.answered):
			w.violate("once", "%s of %s was answered with %s, and was carried out as %v", o.name, o.tenant, o.answered, of)
		case o.answered != "":
			w.counts.Ordered++
		}
	}
}

// unsealed keeps answers as they are.
type unsealed struct{}

func (unsealed) Seal(plain []byte, _ ...string) ([]byte, error)  { return plain, nil }
func (unsealed) Open(sealed []byte, _ ...string) ([]byte, error) { return sealed, nil }

// Of what is kept of requests.

func (s *session) Reserve(ctx context.Context, r idempotency.Reservation, takeOver time.Time) (*idempotency.Found, error) {
	return write(ctx, s, "Reserve", func(ctx context.Context) (*idempotency.Found, error) { return s.Store.Reserve(ctx, r, takeOver) })
}

func (s *session) Answer(ctx context.Context, key idempotency.Key, token string, sealed []byte) (bool, error) {
	return write(ctx, s, "Answer", func(ctx context.Context) (bool, error) {
		held, err := s.Store.Answer(ctx, key, token, sealed)
		if err == nil && !held {
			s.p.world.journal.takenOver[token] = true
		}
		return held, err
	})
}

func (s *session) Release(ctx context.Context, key idempotency.Key, token string) error {
	return do(ctx, s, "Release", func(ctx context.Context) error { return s.Store.Release(ctx, key, token) })
}

func (s *session) DeleteExpired(ctx context.Context, now time.Time, limit int) (int, error) {
	return write(ctx, s, "DeleteExpired", func(ctx context.Context) (int, error) { return s.Store.DeleteExpired(ctx, now, limit) })
}
