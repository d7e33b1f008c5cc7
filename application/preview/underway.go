package preview

import (
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// How many previews for all subscriptions of a tenant may be under way at once in a process, from the first that is read to the
// last byte that is written: each takes about 15 KB for a subscription, of which a tenant may have MaxPerTenant.
const (
	MaxAtOnce          = 8
	MaxAtOnceForTenant = 4
)

// Begin counts a preview of an event as under way until end, which may be called more than once. It fails with
// problem.RateLimited when the tenant has too many under way, and with problem.Unavailable when all together have.
func (p *Previewer) Begin(owner tenant.ID) (end func(), err error) {
	return p.underway.Begin(owner, func(ofTenant, inAll int) *problem.Error {
		switch {
		case ofTenant >= MaxAtOnceForTenant:
			return problem.New(problem.RateLimited, "%d previews of the tenant are under way already.", MaxAtOnceForTenant)
		case inAll >= MaxAtOnce:
			return problem.New(problem.Unavailable, "%d previews are under way already; try again in a second.", MaxAtOnce)
		}
		return nil
	})
}
