package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/seal"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// process is one incarnation of the service, assembled as main.go does it.
type process struct {
	world       *world
	slot        int
	name        string
	offset      time.Duration // of its clock
	pausedUntil time.Time
	dead        bool
	stopping    bool // in good order
	settling    bool // the loops have to end
	loops       []*activity
	incarnation string
	atOnce      int           // records of the log that it takes
	behind      time.Duration // how long it leaves what it takes next in the log

	store        Store
	intake       *intake.Intake
	dispatcher   *dispatch.Dispatcher
	takeover     *dispatch.Takeover // nil until it has begun
	attempter    *dispatch.Attempter
	fanOut       *fanout.FanOut
	sweeper      *sweep.Sweeper
	subs         *subscriptions.Service
	jobs         *jobs.Service
	worker       *jobs.Worker
	working      string // the job that a step is under way of
	retries      *queries.Retries
	eventRetries *queries.EventRetries
	hub          *live.Hub
	pull         *catchup.Service
	roles        roles
	backlog      *intake.Backlog
	answers      *idempotency.Answers
	log          loop.Signal // the topic of events has grown
	out          int         // attempts
	waiting      int         // deliveries whose receivers are silent
	noticed      time.Time   // when its notices looked at the clock last
}

// now is the process's own clock.
func (p *process) now() time.Time { return p.world.now.Add(p.offset).Truncate(time.Microsecond) }

// noticing is the clock of its notices.
func (p *process) noticing() time.Time {
	p.noticed = p.now()
	return p.noticed
}

// start puts an incarnation into the slot. Its clock is its machine's, and so stays what it was.
func (w *world) start(slot int, offset time.Duration) *process {
	w.journal.incarnations++
	p := &process{world: w, slot: slot, name: fmt.Sprintf("p%d.%d", slot, w.journal.incarnations), offset: offset, log: loop.NewSignal(), roles: w.rolesOf(slot)}
	var random [32]byte
	for i := range random {
		random[i] = byte(w.material.Uint32())
	}
	source := ids.New(p.now, rand.NewChaCha8(random))
	p.incarnation = source.New("inc_")
	if p.atOnce = 16; random[1]%2 == 0 { // as if it read each record as soon as it is written
		p.atOnce = 1
	}
	if random[2]%4 == 0 { // as if it had much else to fan out
		p.behind = time.Duration(random[3]%8) * time.Second
	}
	p.store = &session{w.store, p}
	if w.planted != nil {
		p.store = w.planted(p.store)
	}
	observer := observer{p}
	gate := gate{p}
	p.subs = &subscriptions.Service{Store: p.store, Gate: gate, URLs: anyURL{}, Now: p.now, NewID: source.New, NewSecret: w.newSecret, DefaultSchedule: w.schedule}
	p.attempter = &dispatch.Attempter{Sender: sender{p}, Secrets: seal.NewCache(p.store, 100), Observer: observer, Now: p.now, UserAgent: "simulation", Trouble: panicOn}
	p.dispatcher = dispatch.New(dispatch.Config{Store: p.store, Disabler: p.subs, Observer: observer, Now: p.now, Jitter: w.material.Float64,
		Incarnation: p.incarnation, MaxInFlight: w.maxInFlight, Alone: p.alone})
	p.backlog = intake.NewBacklog(p.store, w.bounds, p.now)
	p.intake = intake.New(intake.Config{Store: p.store, Quotas: p.store, Limits: w.bounds, Backlog: p.backlog, Observer: observer, Now: p.now, NewID: source.New})
	p.answers = idempotency.New(p.store, unsealed{}, p.now, func() string { return source.New("") })
	p.retries = &queries.Retries{Store: p.store, Gate: gate, Now: p.now}
	p.eventRetries = &queries.EventRetries{Store: p.store, Now: p.now}
	p.sweeper = sweep.New(p.store, p.now)
	p.jobs = &jobs.Service{Store: p.store, Picker: jobs.Picker{Deliveries: p.store, Events: p.store, Gate: gate, Kept: w.ages.Shortest(), AtOnce: w.atOnce}, Now: p.now, NewID: source.New}
	p.worker = jobs.NewWorker(p.jobs, p.store)
	p.worker.Limits = jobs.Limits{TenantOpen: w.bounds.TenantOpen, Open: w.bounds.Open}
	events := fanout.TurnStore(p.store)
	if random[0]%2 == 0 { // as if it had accepted nothing lately
		events = fanout.Remember(p.store, p.intake.Recent)
	}
	p.fanOut = fanout.New(fanout.Config{Store: events, Gate: gate, Handover: p.roles.handover(p), Observer: observer, Now: p.now, NewID: source.New, AtOnce: w.atOnce})
	p.hub = live.New(p.store, p.store, p.now, live.Limits{Kept: w.ages.Shortest()})
	p.pull = &catchup.Service{Reader: p.store, Subscriptions: p.subs, Signer: p.attempter, Hub: p.hub, Now: p.now, Kept: w.ages.Shortest()}
	w.processes[slot] = p
	w.trace.line("%s starts", p.name)
	w.begin(p, p.name+"/start", p.boot)
	return p
}

// handover counts how often fan-out met no room.
type handover struct{ *process }

func (h handover) Reserve(lane dispatch.Lane, maxInFlight int) (string, bool) {
	return h.dispatcher.Reserve(lane, maxInFlight)
}
func (h handover) Waiting(lanes []dispatch.Lane) { h.dispatcher.Waiting(lanes) }
func (h handover) Take(deliveries []dispatch.Leased, committed bool) {
	h.dispatcher.Take(deliveries, committed)
}

func (h handover) Room(owner tenant.ID) int {
	room := h.dispatcher.Room(owner)
	if room == 0 {
		h.world.counts.NoRoom++
	}
	return room
}

// alone is false until the process has begun.
func (p *process) alone() bool { return p.takeover != nil && p.takeover.Alone() }

// boot begins the loops once the incarnation is registered.
func (p *process) boot(a *activity) {
	waited := false
	for p.store.BeginIncarnation(context.Background(), p.incarnation, p.now()) != nil {
		waited = true
		if p.dead {
			return
		}
		a.sleep(p.world.now.Add(time.Second), nil)
	}
	takeover := dispatch.NewTakeover(p.store, p.store, p.now, p.incarnation, waited)
	p.takeover = takeover
	for _, l := range p.roles.loops(p, takeover) {
		p.loops = append(p.loops, p.world.begin(p, p.name+"/"+l.Name, func(a *activity) { p.repeat(a, l) }))
	}
	if p.roles.router {
		p.world.begin(p, p.name+"/router", p.consume)
	}
	p.world.begin(p, p.name+"/recheck", p.recheck)
}

// Pauses between tries, and how often a process looks without having been woken; as in ports and adapters.
const (
	firstPause   = 50 * time.Millisecond
	lastPause    = time.Second
	longestSleep = 30 * time.Second
	recheckEvery = time.Second
)

// repeat calls the step as ports/loops does.
func (p *process) repeat(a *activity, l loop.Loop) {
	w, pause := p.world, firstPause
	for !p.ends(l) {
		began, wall := w.now, p.now()
		next, err := l.Step(context.Background())
		if err != nil {
			w.trace.line("%s: %s: %v", p.name, l.Name, err)
			a.sleep(w.now.Add(pause), nil)
			pause = min(2*pause, lastPause)
			continue
		}
		pause = firstPause
		if next.IsZero() {
			a.sleep(never, l.Wake)
			continue
		}
		// The sleep ends by whichever of two clocks comes first: the process's own, which may be set, also during the step, is
		// looked at now and then.
		wanted := earlier(began.Add(next.Sub(wall)), w.now.Add(next.Sub(p.now())))
		a.sleep(earlier(wanted, w.now.Add(longestSleep)), l.Wake)
		for !a.woken && !p.ends(l) && wanted.After(w.now) && next.After(p.now()) {
			a.sleep(earlier(wanted, w.now.Add(longestSleep)), l.Wake)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// ends tells intake's loop and the router's, which end before the others.
func (p *process) ends(l loop.Loop) bool {
	return p.dead || p.settling || p.stopping && l.Name == "intake"
}

// consume hands the log to fan-out as the readers of adapters/eventlog do.
func (p *process) consume(a *activity) {
	w, failures := p.world, 0
	for !p.dead && !p.stopping {
		limit := p.atOnce
		if failures > 0 {
			limit = 1
		}
		batch, err := p.store.Next(context.Background(), fanout.Group, limit)
		if err == nil && len(batch.Records) == 0 {
			a.sleep(w.now.Add(recheckEvery), p.log)
			continue
		}
		if err == nil {
			err = p.handle(batch)
		}
		switch {
		case errors.Is(err, memory.ErrSuperseded):
			a.sleep(w.now.Add(recheckEvery), nil)
		case err != nil:
			w.trace.line("%s: router: %v", p.name, err)
			a.sleep(w.now.Add(min(2*firstPause<<min(failures, 16), lastPause)), nil)
			failures++
		default:
			failures = 0
			a.sleep(w.now.Add(p.behind), nil)
		}
	}
}

// handle fans out a batch in the transaction that moves the offset.
func (p *process) handle(batch memory.Batch) error {
	return p.store.InTx(context.Background(), func(ctx context.Context) error {
		if err := p.store.Advance(ctx, batch); err != nil {
			return err
		}
		records := make([]fanout.Record, len(batch.Records))
		for i, r := range batch.Records {
			records[i] = fanout.Record{Position: r.Position, Keys: r.Keys}
		}
		return p.fanOut.Handle(ctx, records)
	})
}

// recheck looks from time to time, since signals may be lost.
func (p *process) recheck(a *activity) {
	for !p.dead {
		p.wakeUp()
		a.sleep(p.world.now.Add(recheckEvery), nil)
	}
}

func (p *process) wakeUp() {
	p.log.Send()
	p.dispatcher.Wake()
	p.sweeper.Wake()
	p.worker.Wake()
}

// committed tells of a commit whoever listens: the process at once, the others after a while or not at all.
func (w *world) committed(topics []string, queue bool) {
	var by *process
	if w.current != nil {
		by = w.current.process
	}
	for _, p := range w.processes {
		switch {
		case p == nil || p.dead:
		case p == by:
			p.hear(topics, queue)
		case !w.faults.strikes(signalLost, p):
			w.begin(p, p.name+"/signal", func(a *activity) {
				a.sleep(w.now.Add(time.Duration(w.weather.IntN(20))*time.Millisecond), nil)
				p.hear(topics, queue)
			})
		}
	}
}

func (p *process) hear(topics []string, queue bool) {
	for _, topic := range topics {
		if topic == fanout.TopicEvents {
			p.log.Send()
		}
		switch c, changed := wakeup.Subscription(topic); {
		case !changed:
		case c.Anew:
			p.dispatcher.Forget(c.Lane)
		default:
			p.dispatcher.Changed(c.Lane)
		}
	}
	if queue {
		p.dispatcher.Wake()
		p.sweeper.Wake()
		p.worker.Wake()
	}
}

// attemptStarted begins some of the attempts that wait, as ports/dispatcher does.
func (p *process) attemptStarted() {
	for len(p.dispatcher.Started()) > 0 && p.world.order.IntN(3) > 0 {
		if p.stopping {
			return
		}
		p.attemptNext()
	}
}

func (p *process) attemptNext() {
	if l := <-p.dispatcher.Started(); l.Unanswered {
		p.wait(l)
	} else {
		p.attempt(l)
	}
}

// wait is for the turn of a delivery whose receiver is silent, which may come too late.
func (p *process) wait(l dispatch.Leased) {
	w := p.world
	until := w.now.Add(time.Duration(w.order.IntN(800)) * time.Millisecond)
	p.waiting++
	w.begin(p, p.name+"/wait", func(a *activity) {
		a.sleep(until, nil)
		if p.waiting--; p.stopping || p.dispatcher.Outdated(l) {
			w.counts.PutBack++
			p.dispatcher.PutBack(l)
			return
		}
		p.attempt(l)
	})
}

func (p *process) attempt(l dispatch.Leased) {
	p.out++
	a := p.world.begin(p, p.name+"/attempt", func(a *activity) {
		outcome, err := p.attempter.Attempt(context.Background(), l)
		p.out--
		if err != nil {
			p.dispatcher.PutBack(l)
			return
		}
		if a.cutOff && !outcome.Succeeded() {
			p.dispatcher.Abandon(l)
			return
		}
		if next, more := p.dispatcher.Finish(l, outcome); more {
			p.attempt(next)
		}
	})
	a.leased = &l
}

// die ends the process where it stands; another takes its slot after a while.
func (p *process) die() {
	w := p.world
	p.dead = true
	w.counts.Kills++
	w.trace.line("%s dies", p.name)
	p.replace(w.faults.span(50*time.Millisecond, 12*time.Second))
}

func (p *process) replace(after time.Duration) {
	w := p.world
	w.begin(nil, "restart", func(a *activity) {
		a.sleep(w.now.Add(after), nil)
		w.start(p.slot, p.offset)
	})
}

// shutDown drains the process in the order of ports/process.
func (p *process) shutDown() {
	if p.stopping {
		return
	}
	p.stopping = true
	w := p.world
	w.begin(p, p.name+"/stop", func(a *activity) {
		p.hub.Close()
		p.dispatcher.StopLeasing()
		a.sleep(w.now.Add(w.faults.span(time.Millisecond, 2*time.Second)), nil)
		if err := p.dispatcher.Close(context.Background()); err != nil {
			w.trace.line("%s: stop: %v", p.name, err)
		}
		for deadline := w.now.Add(5 * time.Second); p.out > 0 && w.now.Before(deadline); {
			a.sleep(w.now.Add(100*time.Millisecond), nil)
		}
		w.cutAttempts(p)
		p.settling = true
		for _, l := range p.loops {
			l.due = w.now
		}
		for p.out+p.waiting > 0 || slices.ContainsFunc(p.loops, func(l *activity) bool { return !l.over }) {
			a.sleep(w.now.Add(time.Millisecond), nil)
		}
		_, err := p.dispatcher.Step(context.Background())
		if err := errors.Join(err, p.dispatcher.Close(context.Background())); err != nil {
			w.trace.line("%s: stop: %v", p.name, err)
		}
		if !p.dead {
			w.trace.line("%s has stopped", p.name)
			p.dead = true
			p.replace(w.faults.span(50*time.Millisecond, 3*time.Second))
		}
	})
}

// cutAttempts ends those that are out, as the end of their context does.
func (w *world) cutAttempts(p *process) {
	for _, a := range w.activities {
		if a.process == p && a.leased != nil {
			a.cutOff, a.due = true, w.now
		}
	}
}

func (w *world) newSecret() secret.Secret {
	var random [32]byte
	for i := range random {
		random[i] = byte(w.material.Uint32())
	}
	return secret.FromBytes(random)
}

// panicOn goes on with a panic that an attempt recovered from: what unwinds the activity of a dead process, or a defect of the simulation.
func panicOn(_ context.Context, _ dispatch.Leased, err error) {
	if panicked, ok := errors.AsType[*dispatch.Panic](err); ok {
		panic(panicked.Value)
	}
}

// observer counts what the simulation wants to know.
type observer struct{ p *process }

func (observer) EventsAccepted(context.Context, []event.Type, int) {}
func (o observer) EventsRefused(_ context.Context, why intake.Reason, _ int) {
	if why != intake.ReasonEventsPerDay {
		o.p.world.counts.NoSpace++
	}
}
func (o observer) FanOut(_ context.Context, e intake.Accepted) (string, func(int, error)) {
	if o.p.world.panicsAt(e) {
		panic("simulated: a defect")
	}
	return "", func(int, error) {}
}

func (observer) SubscriptionUnreadable(context.Context, fanout.SubscriptionChange) {}

func (observer) SubscriptionLost(context.Context, dispatch.Lane) {}

func (observer) RecordUnreadable(context.Context, fanout.Record) {}

func (observer) EventSetAside(context.Context, fanout.SetAside) {}

// AttemptStarted gives each attempt a trace ID, by which the recorded outcome is known again.
func (o observer) AttemptStarted(ctx context.Context, _ dispatch.Leased, _ int) (context.Context, dispatch.AttemptSpan) {
	w := o.p.world
	w.counts.Attempts++
	w.current.span = fmt.Sprintf("a%d", w.counts.Attempts)
	return ctx, dispatch.AttemptSpan{TraceID: w.current.span, End: func(delivery.Outcome) {}}
}

func (o observer) StaleLease(context.Context, string)                  { o.p.world.counts.Stale++ }
func (observer) DeliveriesEnded(context.Context, delivery.Status, int) {}

// gate asks the store, in the transaction that there is.
type gate struct{ p *process }

func (g gate) Enabled(ctx context.Context, id tenant.ID, f tenant.Feature) (bool, error) {
	return g.p.store.TenantHasFeature(ctx, id, f)
}

// anyURL lets every URL pass.
type anyURL struct{}

func (anyURL) CheckURL(raw string) (string, error) { return raw, nil }
