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
	limit    int
	lanes    []dispatch.Lane
	reserved []dispatch.Leased // by a fan-out whose transaction is open
	out      []dispatch.Leased // being attempted
	finished []dispatch.Leased // and not recorded for sure

	abandoned int
}

// TestSlots does anything in any order: the slots always equal what is out, and end at none.
func TestSlots(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &process{limit: rapid.IntRange(1, 8).Draw(rt, "limit")}
		p.world = newWorld(t, p.limit)
		for i := range rapid.IntRange(1, 3).Draw(rt, "lanes") {
			p.lanes = append(p.lanes, p.subscribe(fmt.Sprintf("sub_%d", i), rapid.IntRange(1, 4).Draw(rt, "lane limit")))
		}
		rt.Repeat(map[string]func(*rapid.T){
			"schedule": func(rt *rapid.T) { p.schedule(p.drawLane(rt), ""); p.Wake() },
			"reserve":  p.reserve,
			"end":      p.endFanOut,
			"step":     func(rt *rapid.T) { p.turn(rt, nil) },
			"fail": func(rt *rapid.T) {
				p.turn(rt, map[string]error{rapid.SampledFrom([]string{"Save", "Look", "LeaseReady", "commit"}).Draw(rt, "call"): errors.New("away")})
			},
			"attempt": p.attempt,
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
	if err == nil {
		p.finished = nil
	}
	p.fail = map[string]error{}
}

// attempt ends one attempt somehow.
func (p *process) attempt(rt *rapid.T) {
	p.out = append(p.out, p.take()...)
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
		p.Finish(l, answered(500))
	default:
		p.Finish(l, succeeded())
	}
	p.finished = append(p.finished, l)
}

func (p *process) check(rt *rapid.T) {
	p.out = append(p.out, p.take()...)
	lanes := map[dispatch.Lane]int{}
	total := 0
	for _, list := range [][]dispatch.Leased{p.reserved, p.out, p.finished} {
		for _, l := range list {
			lanes[l.Lane()]++
			total++
		}
	}
	if p.InFlight() != total || total > p.limit {
		rt.Fatalf("%d slots are taken, %d are out of at most %d", p.InFlight(), total, p.limit)
	}
	for lane, n := range lanes {
		if n > p.lane[lane].MaxInFlight {
			rt.Fatalf("%d are out of lane %s, which allows %d", n, lane.SubscriptionID, p.lane[lane].MaxInFlight)
		}
	}
}

// drain lets everything end well.
func (p *process) drain(rt *rapid.T) {
	p.Take(p.reserved, false)
	p.reserved = nil
	for range 10_000 {
		p.out = append(p.out, p.take()...)
		for _, l := range p.out {
			p.Finish(l, succeeded())
		}
		p.out, p.finished = nil, nil
		p.now = p.now.Add(time.Hour)
		if p.turn(rt, nil); p.settled() {
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
