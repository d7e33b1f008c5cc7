package simulation

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// schedules are those that subscriptions come to have of their own; nil is the service's.
var schedules = [][]time.Duration{nil, {time.Second}, {time.Second, 8 * time.Second, 2 * time.Second}, {4 * time.Second, 15 * time.Second},
	{2 * time.Second, 2 * time.Second, 2 * time.Second, 2 * time.Second}}

func (w *world) ownSchedule() []time.Duration { return schedules[w.editing.IntN(len(schedules))] }

// edit is a change of a subscription's settings with an Idempotency-Key, for one version of it or for any. Its name is in what it leaves, and in
// who did it.
type edit struct {
	lane     dispatch.Lane
	name     string
	version  int64 // as in If-Match
	apply    func(to *subscription.Settings)
	answered string // first; empty for not yet
}

// The answers to an edit, but for that of one that was made, which is the version that it led to.
const (
	unmet    = "409"
	notFound = "404"
)

// edits is an admin who competes with others: what it has read may have changed by the time it sends, and it sends again what is not answered.
func (w *world) edits(admin string) func(a *activity) {
	return func(a *activity) {
		for i := range w.editing.IntN(5) {
			a.sleep(w.now.Add(time.Duration(w.editing.Int64N(int64(12*time.Second)))), nil)
			e := w.newEdit(admin + " " + number(i))
			w.edited = append(w.edited, e)
			for tries := 0; tries < 15 && (e.answered == "" || w.editing.IntN(4) == 0); tries++ {
				a.sleep(w.now.Add(time.Duration(w.editing.Int64N(int64(4*time.Second)))), nil)
				w.begin(nil, "edit", func(a *activity) { w.sendEdit(a, e) })
			}
		}
		w.busy--
	}
}

func (w *world) newEdit(name string) *edit {
	states := w.store.States()
	s := states[w.editing.IntN(len(states))]
	e := &edit{lane: laneOf(s), name: name, version: subscriptions.AnyVersion}
	if w.editing.IntN(2) == 0 {
		e.version = s.Version
	}
	schedule, most, timeout := w.ownSchedule(), 1+w.editing.IntN(8), time.Duration(1+w.editing.IntN(10))*time.Second
	part := w.editing.IntN(4)
	e.apply = func(to *subscription.Settings) {
		switch to.Name = name; part {
		case 0:
			to.MaxInFlight = most
		case 1:
			to.Timeout = timeout
		default:
			to.RetrySchedule = schedule
		}
	}
	return e
}

// sendEdit works on an edit as ports/rest does on a request with a key.
func (w *world) sendEdit(a *activity, e *edit) {
	p, ctx := w.anyProcess(w.editing), context.Background()
	if p == nil {
		return
	}
	r, answer, err := p.answers.Begin(ctx, idempotency.Request{Caller: "key_1", Tenant: string(e.lane.Tenant), Method: http.MethodPatch, Path: "/" + e.lane.SubscriptionID,
		Key: e.name, Condition: strconv.FormatInt(e.version, 10)})
	w.trace.line("%s by %s: reserved: %t, %v", e.name, p.name, r != nil, err)
	switch {
	case p.dead || err != nil:
		return
	case r == nil:
		w.editAnswered(e, string(answer.Body))
		return
	}
	if w.editing.IntN(4) == 0 { // as if it had much else to do
		a.sleep(w.now.Add(time.Duration(w.editing.Int64N(int64(20*time.Second)))), nil)
	}
	made, err := w.makeEdit(p, e, r)
	w.trace.line("%s by %s: %q: %v", e.name, p.name, made, err)
	if made == "" && err == nil && !p.dead {
		w.violate("edit", "%s was answered without a version", e.name)
	}
	answer = nil
	switch {
	case problem.Is(err, problem.Conflict):
		made, answer = unmet, &idempotency.Answer{Status: http.StatusConflict, Body: []byte(unmet)}
	case problem.Is(err, problem.NotFound):
		made, answer = notFound, &idempotency.Answer{Status: http.StatusNotFound, Body: []byte(notFound)}
	}
	if err != nil {
		err = p.answers.Finish(ctx, r, answer)
		w.trace.line("%s by %s: ends its reservation: %v", e.name, p.name, err)
	}
	if made != "" && !p.dead && !w.journal.takenOver[r.Token] { // else the same request is answered elsewhere
		w.editAnswered(e, made)
	}
}

// makeEdit keeps the answer in the transaction of the change.
func (w *world) makeEdit(p *process, e *edit, r *idempotency.Reservation) (made string, err error) {
	ctx := context.Background()
	update, err := p.subs.PrepareUpdate(ctx, e.lane, e.version, subscriptions.Actor{KeyID: e.name}, e.apply)
	if err != nil {
		return "", err
	}
	err = p.store.InTx(ctx, func(ctx context.Context) error {
		after, err := update(ctx)
		if err != nil {
			return err
		}
		made = strconv.FormatInt(after.Version, 10)
		return p.answers.Keep(ctx, r, &idempotency.Answer{Status: http.StatusOK, Body: []byte(made)})
	})
	if err != nil {
		return "", err
	}
	return made, nil
}

// editAnswered holds each answer to the first one.
func (w *world) editAnswered(e *edit, answer string) {
	if e.answered != "" && e.answered != answer {
		w.violate("edit", "%s was answered with %s, and then with %s", e.name, e.answered, answer)
	}
	e.answered = answer
}

// checkEdits is what must be true of edits in the end: each was made once if it was answered so, at the version that it was meant for, and has
// changed what it is about and nothing else; and one that was refused was not made at all.
func (w *world) checkEdits() {
	made := map[string]string{} // by name, the version that it led to
	of := map[string]*edit{}
	for _, e := range w.edited {
		of[e.name] = e
	}
	for _, s := range w.store.States() {
		history, err := w.store.SubscriptionHistory(context.Background(), laneOf(s))
		must(err)
		var now subscription.Subscription
		for _, h := range history {
			before := now
			must(now.Apply(h.Change))
			if e := of[h.By.KeyID]; e != nil {
				w.checkEdit(e, before, now, made[e.name] != "")
				made[e.name] = strconv.FormatInt(now.Version, 10)
			}
		}
	}
	for _, e := range w.edited {
		refused := e.answered == unmet || e.answered == notFound
		if refused {
			w.counts.Unmet++
		}
		if made[e.name] != "" {
			w.counts.Edited++
		}
		if e.answered != "" && !refused && made[e.name] != e.answered || refused && made[e.name] != "" {
			w.violate("edit", "%s was answered with %s, and led to version %q", e.name, e.answered, made[e.name])
		}
	}
}

func (w *world) checkEdit(e *edit, before, after subscription.Subscription, again bool) {
	wanted := before.Settings
	if e.apply(&wanted); wanted.RetrySchedule == nil {
		wanted.RetrySchedule = w.schedule
	}
	switch {
	case again:
		w.violate("edit", "%s was made twice", e.name)
	case e.version != subscriptions.AnyVersion && e.version != before.Version:
		w.violate("edit", "%s was meant for version %d of %s, and made at %d", e.name, e.version, after.ID, before.Version)
	case laneOf(after) != e.lane || !reflect.DeepEqual(after.Settings, wanted):
		w.violate("edit", "%s was to make of %+v\n%+v\nand made %+v", e.name, before.Settings, wanted, after.Settings)
	}
}
