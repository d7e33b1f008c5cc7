package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A process begins with fewConns connections, and makes another one when somebody has waited for moreAfter. All that a process does at its
// start needs them one after the other; a connection for each of its loops would keep the server busy for longer than their work takes.
const (
	fewConns  = 4
	moreAfter = 5 * time.Millisecond
	// slowToMake is how long the next one waits for one that is being made, by a server that may never answer.
	slowToMake = 500 * time.Millisecond
)

// places are those of the connections that may be in use. Who waits for one gets it in turn.
type places struct {
	taken  chan struct{} // its capacity is MaxConns
	making func() bool   // whether a connection is being made

	mu       sync.Mutex
	heldBack int // of those taken: nobody has needed them yet, or no connection could be made
	gaveAt   time.Time
	waiting  int
	timer    *time.Timer // nil unless somebody waits and there is more to give
}

func newPlaces(maxConns int, making func() bool) *places {
	p := &places{taken: make(chan struct{}, maxConns), making: making, heldBack: maxConns - fewConns}
	for range p.heldBack {
		p.taken <- struct{}{}
	}
	return p
}

// enter waits for a place; the error is ctx's.
func (p *places) enter(ctx context.Context) error {
	select {
	case p.taken <- struct{}{}:
		return nil
	default:
	}
	p.wait(1)
	defer p.wait(-1)
	select {
	case p.taken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *places) leave() { <-p.taken }

// holdBack is leave for whom no connection could be made: those that follow use the ones that are there, or try a few at a time.
func (p *places) holdBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heldBack == cap(p.taken)-fewConns {
		<-p.taken
		return
	}
	p.heldBack++
	p.arm()
}

func (p *places) wait(more int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting += more
	p.arm()
}

// queue is how many wait.
func (p *places) queue() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

func (p *places) arm() {
	if p.timer == nil && p.waiting > 0 && p.heldBack > 0 {
		p.timer = time.AfterFunc(moreAfter, p.giveMore)
	}
}

// giveMore gives one that was held back to those who wait.
func (p *places) giveMore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	if p.waiting > 0 && p.heldBack > 0 && (time.Since(p.gaveAt) >= slowToMake || !p.making()) {
		p.heldBack, p.gaveAt = p.heldBack-1, time.Now()
		<-p.taken
	}
	p.arm()
}

type pooled = pgxpool.Conn

// lent is a connection with its place.
type lent struct {
	*pooled
	places *places // nil once both were given back
}

// Release gives both back, once.
func (l *lent) Release() {
	if l.places == nil {
		return
	}
	l.pooled.Release()
	l.places.leave()
	l.places = nil
}
