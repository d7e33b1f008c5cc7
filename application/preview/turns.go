package preview

import (
	"sync"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// How many previews for all subscriptions of a tenant may be under way at once in a process, from the first that is read to the
// last byte that is written: each takes about 15 KB for a subscription, of which a tenant may have MaxPerTenant.
const (
	MaxAtOnce          = 8
	MaxAtOnceForTenant = 4
)

// turns counts the previews that are under way.
type turns struct {
	mu    sync.Mutex
	all   int
	taken map[tenant.ID]int
}

// Begin counts a preview of an event as under way until end, which may be called more than once. It fails with
// problem.RateLimited when the tenant has too many under way, and with problem.Unavailable when all together have.
func (p *Previewer) Begin(owner tenant.ID) (end func(), err error) {
	t := &p.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	var refused *problem.Error
	switch {
	case t.taken[owner] >= MaxAtOnceForTenant:
		refused = problem.New(problem.RateLimited, "%d previews of the tenant are under way already.", MaxAtOnceForTenant)
	case t.all >= MaxAtOnce:
		refused = problem.New(problem.Unavailable, "%d previews are under way already; try again in a second.", MaxAtOnce)
	}
	if refused != nil {
		refused.RetryAfter = time.Second
		return nil, refused
	}
	if t.taken == nil {
		t.taken = map[tenant.ID]int{}
	}
	t.all++
	t.taken[owner]++
	return sync.OnceFunc(func() { t.end(owner) }), nil
}

func (t *turns) end(owner tenant.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all--
	if t.taken[owner]--; t.taken[owner] == 0 {
		delete(t.taken, owner)
	}
}
