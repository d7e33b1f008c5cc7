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
)

// places are those of the connections that may be in use.
type places struct {
	taken  chan struct{} // its capacity is MaxConns
	making func() bool   // whether a connection is being made

	mu       sync.Mutex
	heldBack int // of those taken: nobody has needed them yet
	gaveAt   time.Time
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
	more := time.NewTicker(moreAfter)
	defer more.Stop()
	for {
		select {
		case p.taken <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-more.C:
			p.giveMore()
		}
	}
}

// giveMore gives one that was held back, for all who wait.
func (p *places) giveMore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heldBack > 0 && time.Since(p.gaveAt) >= moreAfter && !p.making() {
		p.heldBack, p.gaveAt = p.heldBack-1, time.Now()
		<-p.taken
	}
}

func (p *places) leave() { <-p.taken }

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
