package subscriptions

import (
	"sync"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Underway counts what this process does of one kind at the same time. Its zero value counts nothing yet.
type Underway struct {
	mu  sync.Mutex
	all int
	of  map[tenant.ID]int
}

// Begin counts one more of the tenant's as under way until end, which may be called more than once. refuse is told how many are under way
// and says why no more may be; nil lets it begin. Who was refused may come again after a second.
func (u *Underway) Begin(owner tenant.ID, refuse func(ofTenant, inAll int) *problem.Error) (end func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if refused := refuse(u.of[owner], u.all); refused != nil {
		refused.RetryAfter = time.Second
		return nil, refused
	}
	if u.of == nil {
		u.of = map[tenant.ID]int{}
	}
	u.all++
	u.of[owner]++
	return sync.OnceFunc(func() { u.end(owner) }), nil
}

func (u *Underway) end(owner tenant.ID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all--
	if u.of[owner]--; u.of[owner] == 0 {
		delete(u.of, owner)
	}
}
