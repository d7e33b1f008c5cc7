package dispatcher

import (
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// keptIdle is how many attempters wait for their next attempt at most.
const keptIdle = 64

// attempters are goroutines that make one attempt after another: the first makes a stack grow as far as the next needs it.
type attempters struct {
	attempt func(dispatch.Leased)
	all     sync.WaitGroup
	next    chan dispatch.Leased // to one that is idle
	idle    chan struct{}        // as many as are
}

func newAttempters(attempt func(dispatch.Leased)) *attempters {
	return &attempters{attempt: attempt, next: make(chan dispatch.Leased), idle: make(chan struct{}, keptIdle)}
}

// start begins an attempt at once.
func (a *attempters) start(l dispatch.Leased) {
	select {
	case a.next <- l:
	default:
		a.all.Go(func() { a.work(l) })
	}
}

func (a *attempters) work(l dispatch.Leased) {
	for more := true; more; {
		a.attempt(l)
		select {
		case a.idle <- struct{}{}:
			l, more = <-a.next
			<-a.idle
		default:
			return
		}
	}
}

// end waits for what was started; nothing may be started any more.
func (a *attempters) end() {
	close(a.next)
	a.all.Wait()
}
