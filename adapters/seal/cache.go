package seal

import (
	"container/list"
	"context"
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// CachedSecrets is how many opened secrets a Cache holds for a process, a few hundred bytes each.
const CachedSecrets = 10_000

// Cache keeps the most recently used signing secrets, opened, so that an attempt need not read them from
// the database: opening takes less than a microsecond, reading much longer. A secret's ID stands for the
// same secret for ever, since a rotation makes a new ID, so nothing in it can be out of date. It is safe for
// concurrent use.
type Cache struct {
	next dispatch.Secrets
	size int

	mu      sync.Mutex
	recent  *list.List // of *opened, most recently used first
	entries map[secretName]*list.Element
}

type secretName struct {
	owner                    tenant.ID
	subscriptionID, secretID string
}

type opened struct {
	name  secretName
	value secret.Secret
}

// NewCache makes a cache of at most size secrets, which next opens.
func NewCache(next dispatch.Secrets, size int) *Cache {
	return &Cache{next: next, size: size, recent: list.New(), entries: make(map[secretName]*list.Element)}
}

// OpenSecret opens a secret of the tenant's subscription, or fails as the wrapped one does; failures are not kept.
func (c *Cache) OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	name := secretName{owner, subscriptionID, secretID}
	if value, found := c.find(name); found {
		return value, nil
	}
	value, err := c.next.OpenSecret(ctx, owner, subscriptionID, secretID)
	if err == nil {
		c.keep(name, value)
	}
	return value, err
}

func (c *Cache) find(name secretName) (secret.Secret, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry, found := c.entries[name]
	if !found {
		return secret.Secret{}, false
	}
	c.recent.MoveToFront(entry)
	return entry.Value.(*opened).value, true
}

func (c *Cache) keep(name secretName, value secret.Secret) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, found := c.entries[name]; found { // another attempt opened it meanwhile
		return
	}
	c.entries[name] = c.recent.PushFront(&opened{name, value})
	if c.recent.Len() > c.size {
		oldest := c.recent.Remove(c.recent.Back()).(*opened)
		delete(c.entries, oldest.name)
	}
}
