package preview

import (
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// How many previews for all subscriptions of a tenant may be under way at once in a process, from the first that is read to the
// last byte that is written: each takes about 15 KB for a subscription, of which a tenant may have MaxPerTenant. As many
// signatures may be examined at once: each hashes its body for every change that it undoes.
const (
	MaxAtOnce          = 8
	MaxAtOnceForTenant = 4
)

// Begin counts a preview of an event as under way until end, which may be called more than once. It fails with
// problem.RateLimited when the tenant has too many under way, and with problem.Unavailable when all together have.
func (p *Previewer) Begin(owner tenant.ID) (end func(), err error) {
	return p.underway.Begin(owner, bounded("previews"))
}

// Begin counts an examination as under way until end, and fails as Previewer.Begin does.
func (d *Doctor) Begin(owner tenant.ID) (end func(), err error) {
	return d.underway.Begin(owner, bounded("examinations of signatures"))
}

func bounded(what string) func(ofTenant, inAll int) *problem.Error {
	return func(ofTenant, inAll int) *problem.Error {
		switch {
		case ofTenant >= MaxAtOnceForTenant:
			return problem.New(problem.RateLimited, "%d %s of the tenant are under way already.", MaxAtOnceForTenant, what)
		case inAll >= MaxAtOnce:
			return problem.New(problem.Unavailable, "%d %s are under way already; try again in a second.", MaxAtOnce, what)
		}
		return nil
	}
}
