package rest

import (
	"container/list"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/time/rate"

	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
)

// The headers of the rate limit: requests a second, how many are left of them now, and in how many
// seconds the whole allowance, burst included, is there again.
const (
	headerLimit     = "X-RateLimit-Limit"
	headerRemaining = "X-RateLimit-Remaining"
	headerReset     = "X-RateLimit-Reset"
)

// burstFactor is how many seconds' worth of requests may come at once (contract, section 6).
const burstFactor = 2

// unlimited is shown as the limit, and as what is left of it, where there is none: a client that paces itself by the headers treats it like
// any other limit and never waits, which 0 or a missing header would not achieve.
const unlimited = math.MaxInt32

// maxBuckets bounds the memory of a limiter. Only keys and tenants that exist get a bucket.
const maxBuckets = 10_000

// limits bounds the requests of each key, and those of each tenant over all its keys, so that making another key gains nothing. What a
// platform key sends for a tenant does not count as the tenant's.
type limits struct {
	keys, tenants *limiter
}

// take counts one request of the caller, writes what the tighter limit has left into the answer's headers, and refuses the request if that
// was nothing.
func (l limits) take(c *fiber.Ctx, caller access.Key) error {
	left, err := l.keys.take(caller.ID, "This key may send")
	if err == nil && caller.Tenant != "" {
		var ofTenant allowance
		if ofTenant, err = l.tenants.take(string(caller.Tenant), "All keys of the tenant together may send"); err != nil || ofTenant.tighter(left) {
			left = ofTenant
		}
	}
	left.write(c)
	return err
}

// untouched writes the headers for a request that no key is charged for.
func (l limits) untouched(c *fiber.Ctx) {
	allowance{l.keys.perSecond, float64(burstFactor * l.keys.perSecond)}.write(c)
}

// allowance is what is left of a limit's burst; the zero value is no limit.
type allowance struct {
	perSecond int
	left      float64
}

// tighter reports whether less is left of a than of b, as a share of the limit.
func (a allowance) tighter(b allowance) bool {
	return a.perSecond > 0 && (b.perSecond == 0 || a.left*float64(b.perSecond) < b.left*float64(a.perSecond))
}

func (a allowance) write(c *fiber.Ctx) {
	if a.perSecond == 0 {
		c.Set(headerLimit, strconv.Itoa(unlimited))
		c.Set(headerRemaining, strconv.Itoa(unlimited))
		c.Set(headerReset, "0")
		return
	}
	missing := float64(burstFactor*a.perSecond) - a.left
	c.Set(headerLimit, strconv.Itoa(a.perSecond))
	// The burst is shown as its share of the limit, so that it goes down with each request, and 0 means refused.
	c.Set(headerRemaining, strconv.Itoa(max(0, int(a.left/burstFactor))))
	c.Set(headerReset, strconv.Itoa(int(math.Ceil(missing/float64(a.perSecond)))))
}

// limiter has a token bucket for each ID; the least recently used one makes room for a new one.
type limiter struct {
	perSecond int // 0 is no limit
	now       func() time.Time

	mu      sync.Mutex
	last    time.Time     // the latest that was given to a bucket
	setBack time.Duration // by how much the clock was, in all; without it a bucket would not fill until the clock has caught up
	buckets map[string]*list.Element
	recent  *list.List // of *bucket, the last used first
}

type bucket struct {
	id     string
	tokens *rate.Limiter
}

func newLimiter(perSecond int, now func() time.Time) *limiter {
	return &limiter{perSecond: perSecond, now: now, buckets: map[string]*list.Element{}, recent: list.New()}
}

// take counts one request and says what is left; whose begins the sentence of a refusal.
func (l *limiter) take(id, whose string) (allowance, error) {
	if l.perSecond <= 0 {
		return allowance{}, nil
	}
	tokens, now := l.bucket(id)
	allowed := tokens.AllowN(now, 1)
	left := allowance{l.perSecond, tokens.TokensAt(now)}
	if allowed {
		return left, nil
	}
	refused := problem.New(problem.RateLimited, "%s %d requests a second.", whose, l.perSecond)
	refused.RetryAfter = time.Duration((1 - left.left) / float64(l.perSecond) * float64(time.Second))
	return left, refused
}

// bucket returns the ID's bucket, and the time by a clock that is never set back.
func (l *limiter) bucket(id string) (*rate.Limiter, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now().Add(l.setBack)
	if now.Before(l.last) {
		l.setBack += l.last.Sub(now)
		now = l.last
	}
	l.last = now
	if found, ok := l.buckets[id]; ok {
		l.recent.MoveToFront(found)
		return found.Value.(*bucket).tokens, now
	}
	if len(l.buckets) >= maxBuckets {
		oldest := l.recent.Back()
		delete(l.buckets, l.recent.Remove(oldest).(*bucket).id)
	}
	made := &bucket{id, rate.NewLimiter(rate.Limit(l.perSecond), burstFactor*l.perSecond)}
	l.buckets[id] = l.recent.PushFront(made)
	return made.tokens, now
}
