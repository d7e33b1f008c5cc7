package dispatch_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// process is what a dispatcher's surroundings know of it.
type process struct {
	*world
	limit     int
	lanes     []dispatch.Lane
	reserved  []dispatch.Leased // by a fan-out whose transaction is open
	out       []dispatch.Leased // being attempted
	abandoned int
}

// TestSlots does anything in any order: what is out never exceeds the slots, and in the end none is taken.
func TestSlots(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &process{limit: rapid.IntRange(1, 8).Draw(rt, "limit")}
		p.world = newWorld(t, p.limit)
		p.KnowAtMost(rapid.IntRange(1, 4).Draw(rt, "known"))
		for i := range rapid.IntRange(1, 3).Draw(rt, "lanes") {
			p.lanes = append(p.lanes, p.subscribe(fmt.Sprintf("sub_%d", i), rapid.IntRange(1, 4).Draw(rt, "lane limit")))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"schedule": func(rt *rapid.T) { p.schedule(p.drawLane(rt), ""); p.Wake() },
			"reserve":  p.reserve,
			"end":      p.endFanOut,
			"step":     func(rt *rapid.T) { p.turn(rt, nil) },
			"slow": func(rt *rapid.T) {
				took := rapid.SampledFrom([]time.Duration{700 * time.Millisecond, 2400 * time.Millisecond, 3 * time.Second}).Draw(rt, "took")
				p.duringLease = func() {
					p.begin(rt) // what the turn has begun does not wait for its end
					p.now = p.now.Add(took)
				}
				p.turn(rt, nil)
				p.duringLease = nil
			},
			"fail": func(rt *rapid.T) {
				p.turn(rt, map[string]error{rapid.SampledFrom([]string{"Save", "Look", "LeaseReady", "commit"}).Draw(rt, "call"): errors.New("away")})
			},
			"attempt": p.attempt,
			"change":  func(rt *rapid.T) { p.Changed(p.drawLane(rt)) },
			"wait":    func(*rapid.T) { p.now = p.now.Add(200 * time.Millisecond) },
			"later":   func(*rapid.T) { p.now = p.now.Add(time.Minute) },
			"":        p.check,
		})
		p.drain(rt)
	})
}

func (p *process) drawLane(rt *rapid.T) dispatch.Lane {
	return rapid.SampledFrom(p.lanes).Draw(rt, "lane")
}

func (p *process) reserve(rt *rapid.T) {
	lane := p.drawLane(rt)
	if lease, ok := p.Reserve(lane, p.lane[lane].MaxInFlight); ok {
		p.reserved = append(p.reserved, dispatch.Leased{Delivery: delivery.Delivery{Tenant: lane.Tenant, SubscriptionID: lane.SubscriptionID}, Lease: lease})
	}
}

// endFanOut commits what was reserved, or not.
func (p *process) endFanOut(rt *rapid.T) {
	committed := rapid.Bool().Draw(rt, "committed")
	for i, l := range p.reserved {
		if committed {
			p.reserved[i] = p.schedule(l.Lane(), l.Lease)
		}
	}
	p.Take(p.reserved, committed)
	p.reserved = nil
}

func (p *process) turn(rt *rapid.T, fail map[string]error) {
	p.fail = fail
	_, err := p.Step(p.Context())
	if err != nil && fail == nil {
		rt.Fatal(err)
	}
	p.fail = map[string]error{}
}

// attempt ends one attempt somehow.
func (p *process) attempt(rt *rapid.T) {
	p.begin(rt)
	if len(p.out) == 0 {
		return
	}
	i := rapid.IntRange(0, len(p.out)-1).Draw(rt, "which")
	l := p.out[i]
	p.out = append(p.out[:i:i], p.out[i+1:]...)
	switch rapid.IntRange(0, 3).Draw(rt, "how") {
	case 0:
		p.Abandon(l)
		p.abandoned++
		return
	case 1:
		p.FinishTogether([]dispatch.Result{{Leased: l, Outcome: answered(500)}})
	default:
		p.Finish(l, succeeded())
	}
}

// check holds what began to what the process and its lane allow, and to being leased, lately, by this process.
func (p *process) check(rt *rapid.T) {
	p.begin(rt)
	lanes := map[dispatch.Lane]int{}
	for _, l := range p.out {
		lanes[l.Lane()]++
	}
	if n := p.InFlight(); n < len(p.out) || n > len(p.out)+len(p.reserved) || n > p.limit {
		rt.Fatalf("%d slots are taken, %d are out of at most %d, and %d reserved", n, len(p.out), p.limit, len(p.reserved))
	}
	for lane, n := range lanes {
		if n > p.lane[lane].MaxInFlight {
			rt.Fatalf("%d are out of lane %s, which allows %d", n, lane.SubscriptionID, p.lane[lane].MaxInFlight)
		}
	}
}

// begin takes what began.
func (p *process) begin(rt *rapid.T) {
	for _, l := range p.take() {
		q := p.rows[l.Delivery.ID]
		late := p.now.Sub(q.came) > dispatch.HeartbeatTimeout/10 || p.now.Sub(q.leasedAt) > dispatch.HeartbeatTimeout/2
		if q.lease != incarnation || q.Version != l.Delivery.Version || late {
			rt.Fatalf("%s began at %s: %+v", l.Delivery.ID, p.now, q)
		}
		p.out = append(p.out, l)
	}
}

// drain lets everything end well.
func (p *process) drain(rt *rapid.T) {
	p.Take(p.reserved, false)
	p.reserved = nil
	for range 10_000 {
		p.now = p.now.Add(time.Hour)
		p.turn(rt, nil)
		p.begin(rt)
		ending := p.out
		p.out = nil
		for _, l := range ending {
			p.Finish(l, succeeded())
		}
		p.begin(rt)
		if p.settled() {
			break
		}
	}
	if !p.settled() || p.InFlight() != 0 || len(p.stale) > 0 {
		rt.Fatalf("at the end %d slots are taken, stale %v: %+v", p.InFlight(), p.stale, p.rows)
	}
}

// settled reports whether all has ended but what was abandoned, which waits for somebody to take it over.
func (p *process) settled() bool {
	held := 0
	for _, q := range p.rows {
		if q.lease != "" {
			held++
		} else if !q.Status.IsTerminal() {
			return false
		}
	}
	return held == p.abandoned
}
