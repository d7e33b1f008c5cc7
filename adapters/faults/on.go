//go:build faults

package faults

import (
	"cmp"
	"context"
	"errors"
	"net/http/httptrace"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// passages counts down those of each hop.
type passages map[string]*atomic.Int64

// deadly are the hops that kill.
var deadly = passagesIn("FAULTS_KILL")

// isToStop reports whether this process is the one that is to stand still at the hop: of those that pass it, who takes the order away.
func isToStop(hop string) bool {
	order := os.Getenv("FAULTS_STOP")
	if order == "" {
		return false
	}
	at, err := os.ReadFile(order)
	return err == nil && string(at) == hop && os.Remove(order) == nil
}

func passagesIn(variable string) passages {
	hops := passages{}
	for part := range strings.SplitSeq(os.Getenv(variable), ",") {
		if hop, n, ok := strings.Cut(part, ":"); ok {
			count, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				panic(variable + ": " + err.Error())
			}
			hops[hop] = &atomic.Int64{}
			hops[hop].Store(count)
		}
	}
	return hops
}

// due counts a passage of the hop, and says whether it is the fateful one.
func (p passages) due(hop string) bool {
	n := p[hop]
	return n != nil && n.Add(-1) == 0
}

func pass(hop string) {
	if deadly.due(hop) {
		die()
	}
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// Clock is a clock that is off, and that signals set.
func Clock(now func() time.Time) func() time.Time {
	off, err := time.ParseDuration(cmp.Or(os.Getenv("FAULTS_CLOCK"), "0"))
	if err != nil {
		panic("FAULTS_CLOCK: " + err.Error())
	}
	var ahead atomic.Int64
	ahead.Store(int64(off))
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range signals {
			if s == syscall.SIGUSR1 {
				ahead.Add(int64(time.Hour))
			} else {
				ahead.Add(-int64(time.Hour))
			}
		}
	}()
	return func() time.Time { return now().Add(time.Duration(ahead.Load())) }
}

// Store is the store with the hops.
func Store(s database.Store) database.Store { return &store{s} }

type store struct{ database.Store }

// written is what a transaction of InTx has done so far.
type written struct{ events, outcomes, leases bool }

type writtenKey struct{}

func writtenIn(ctx context.Context) *written {
	if w, ok := ctx.Value(writtenKey{}).(*written); ok {
		return w
	}
	return &written{}
}

func (s *store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if _, inside := ctx.Value(writtenKey{}).(*written); inside {
		return s.Store.InTx(ctx, fn)
	}
	w := &written{}
	err := s.Store.InTx(context.WithValue(ctx, writtenKey{}, w), func(ctx context.Context) error {
		*w = written{} // fn may be run again
		if err := fn(ctx); err != nil {
			return err
		}
		w.pass(AcceptBeforeCommit, RecordBeforeCommit, "")
		if w.outcomes && isToStop(RecordBeforeCommit) {
			return s.standStill(ctx)
		}
		return nil
	})
	if err == nil {
		w.pass(AcceptAfterCommit, RecordAfterCommit, LeaseAfterCommit)
	}
	return err
}

func (w *written) pass(events, outcomes, leases string) {
	if w.events {
		pass(events)
	}
	if w.outcomes {
		pass(outcomes)
	}
	if w.leases {
		pass(leases)
	}
}

func (s *store) AppendEvents(ctx context.Context, events []intake.Accepted) error {
	writtenIn(ctx).events = true
	return s.Store.AppendEvents(ctx, events)
}

func (s *store) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	writtenIn(ctx).outcomes = len(saved) > 0
	return s.Store.Save(ctx, saved)
}

func (s *store) LeaseReady(ctx context.Context, r dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	answer, err := s.Store.LeaseReady(ctx, r)
	writtenIn(ctx).leases = len(answer.Leased) > 0
	return answer, err
}

func (s *store) Schedule(ctx context.Context, plan fanout.Plan, ended func(committed bool)) error {
	if len(plan.Scheduled) > 1 {
		if dies, stops := deadly.due(FanOutHalf), isToStop(FanOutHalf); dies || stops {
			return s.scheduleHalf(ctx, plan, dies)
		}
	}
	err := s.Store.Schedule(ctx, plan, func(committed bool) {
		if committed && len(plan.Scheduled) > 0 {
			pass(FanOutAfterCommit)
		}
		if committed && len(plan.Deferred) > 0 && len(plan.Taken) == 0 {
			pass(DeferAfterCommit)
		}
		ended(committed)
	})
	if err == nil && (len(plan.Scheduled) > 0 && deadly.due(FanOutBeforeCommit) || len(plan.Taken) > 0 && deadly.due(TurnBeforeCommit)) {
		s.dieSent(ctx)
	}
	return err
}

func (s *store) scheduleHalf(ctx context.Context, plan fanout.Plan, dies bool) error {
	plan.Scheduled = plan.Scheduled[:len(plan.Scheduled)/2]
	_ = s.Store.Schedule(ctx, plan, func(bool) {})
	if dies {
		s.dieSent(ctx)
	}
	return s.standStill(ctx)
}

// dieSent first makes a query, since what was written goes to a server no sooner than that.
func (s *store) dieSent(ctx context.Context) {
	_, _ = s.Store.MayDefer(ctx, time.Time{})
	die()
}

var errStoodStill = errors.New("the process stood still in this transaction, which is there still")

// standStill does as dieSent, but the process can go on, by SIGCONT. It fails as the transaction does then, in any case.
func (s *store) standStill(ctx context.Context) error {
	if _, err := s.Store.MayDefer(ctx, time.Time{}); err != nil {
		return err
	}
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	defer signal.Stop(goOn)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-goOn // another thread may be the first to stop, and this one would go on for a while
	_, err := s.Store.MayDefer(ctx, time.Time{})
	return cmp.Or(err, errStoodStill)
}

// Sender is the sender with the hops.
func Sender(s dispatch.Sender) dispatch.Sender { return sender{s} }

type sender struct{ dispatch.Sender }

func (s sender) Send(ctx context.Context, r dispatch.Request) delivery.Outcome {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		if info.Err == nil {
			pass(SendAfterBytes)
		}
	}})
	outcome := s.Sender.Send(ctx, r)
	if outcome.Succeeded() {
		pass(SendAfterAnswer)
	}
	return outcome
}

// AtOnce is how many deliveries fan-out schedules at once; 0 for as many as it does by itself.
func AtOnce() int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("FAULTS_AT_ONCE"), "0"))
	if err != nil {
		panic("FAULTS_AT_ONCE: " + err.Error())
	}
	return n
}

// FanOut is an observer that panics at poisoned events.
func FanOut(o fanout.Observer) fanout.Observer { return observer{o} }

type observer struct{ fanout.Observer }

func (o observer) FanOut(ctx context.Context, e intake.Accepted) (string, func(int, error)) {
	if _, err := os.Stat(os.Getenv("FAULTS_POISON")); err == nil && strings.Contains(e.TraceParent, Poison) {
		panic("a poisoned event")
	}
	return o.Observer.FanOut(ctx, e)
}
