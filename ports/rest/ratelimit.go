package rest

import (
	"container/list"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/time/rate"

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

// maxBuckets bounds the memory of the limiter. Only keys that exist get a bucket.
const maxBuckets = 10_000

// limiter has a token bucket for each API key; the one unused for longest makes room for a new one.
type limiter struct {
	perSecond int
	now       func() time.Time

	mu      sync.Mutex
	buckets map[string]*list.Element
	recent  *list.List // of *bucket, the last used first
}

type bucket struct {
	keyID  string
	tokens *rate.Limiter
}

func newLimiter(perSecond int, now func() time.Time) *limiter {
	return &limiter{perSecond: perSecond, now: now, buckets: map[string]*list.Element{}, recent: list.New()}
}

// take counts one request of the key, writes what is left into the answer's headers, and refuses the
// request when nothing was.
func (l *limiter) take(c *fiber.Ctx, keyID string) error {
	if l.perSecond <= 0 {
		return nil
	}
	tokens, now := l.bucket(keyID), l.now()
	allowed := tokens.AllowN(now, 1)
	left := tokens.TokensAt(now)
	l.write(c, left)
	if allowed {
		return nil
	}
	wait := (1 - left) / float64(l.perSecond)
	c.Set(fiber.HeaderRetryAfter, strconv.Itoa(max(1, int(math.Ceil(wait)))))
	return problem.New(problem.RateLimited, "This key may send %d requests a second.", l.perSecond)
}

// untouched writes the headers for a request that no key is charged for.
func (l *limiter) untouched(c *fiber.Ctx) {
	if l.perSecond > 0 {
		l.write(c, float64(burstFactor*l.perSecond))
	}
}

func (l *limiter) write(c *fiber.Ctx, left float64) {
	missing := float64(burstFactor*l.perSecond) - left
	c.Set(headerLimit, strconv.Itoa(l.perSecond))
	// The burst is shown as its share of the limit, so that it goes down with each request, and 0 means refused.
	c.Set(headerRemaining, strconv.Itoa(max(0, int(left/burstFactor))))
	c.Set(headerReset, strconv.Itoa(int(math.Ceil(missing/float64(l.perSecond)))))
}

func (l *limiter) bucket(keyID string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.buckets[keyID]; ok {
		l.recent.MoveToFront(found)
		return found.Value.(*bucket).tokens
	}
	if len(l.buckets) >= maxBuckets {
		oldest := l.recent.Back()
		delete(l.buckets, l.recent.Remove(oldest).(*bucket).keyID)
	}
	made := &bucket{keyID, rate.NewLimiter(rate.Limit(l.perSecond), burstFactor*l.perSecond)}
	l.buckets[keyID] = l.recent.PushFront(made)
	return made.tokens
}
