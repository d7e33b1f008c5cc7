package access

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Hash is the SHA-256 of a key, the only form in which it is stored.
type Hash [sha256.Size]byte

// HashOf hashes a key as it was shown.
func HashOf(key string) Hash { return sha256.Sum256([]byte(key)) }

// KeyStore keeps the API keys.
type KeyStore interface {
	// InTx runs fn in one transaction, in the outer one if there is any.
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// CountKeys counts the tenant's keys that are neither revoked nor expired. Within a transaction nobody else makes any of
	// the tenant's until the end.
	CountKeys(ctx context.Context, owner tenant.ID, now time.Time) (int, error)
	// SaveKey refuses a hash or an ID that is taken (ErrKeyTaken), and a tenant that does not exist or has no such subscription
	// (problem.NotFound).
	SaveKey(ctx context.Context, k access.Key, hash Hash) error
	// KeyByHash answers problem.NotFound when no key has the hash.
	KeyByHash(ctx context.Context, hash Hash) (access.Key, error)
	// Keys lists keys of the tenant, or all of them when it is empty.
	Keys(ctx context.Context, owner tenant.ID, page Page) ([]access.Key, error)
	// RevokeKey answers problem.NotFound when the tenant (any, when empty) has no such key. One already revoked stays as it is.
	RevokeKey(ctx context.Context, owner tenant.ID, id string, now time.Time) error
	// TouchKeys notes when keys were used last.
	TouchKeys(ctx context.Context, used map[string]time.Time) error
}

// ErrKeyTaken refuses a key that is there already.
var ErrKeyTaken = problem.New(problem.Conflict, "There is such a key already.")

// MaxLivePerTenant is how many keys of a tenant may be neither revoked nor expired.
const MaxLivePerTenant = 1000

// The form of a key's text, also required of a platform key that an operator sets.
const (
	KeyPrefix    = "ord_live_"
	MinKeyLength = 20 // characters
	MaxKeyLength = 200
)

const (
	shownPrefix    = len(KeyPrefix) + 6
	cachedFor      = time.Second // so revocation takes effect within a second
	maxCachedKeys  = 10_000
	maxLookups     = 4 // at once: whoever tries keys takes no more connections from those who have one
	maxWait        = 5 * time.Second
	touchPrecision = time.Minute
)

// Keys manages API keys and finds the key behind a request.
type Keys struct {
	store  KeyStore
	now    func() time.Time
	newID  func(prefix string) string
	random io.Reader
	lookUp chan struct{} // holds one for each that is under way

	mu     sync.Mutex
	cached map[Hash]cachedKey
	ended  int                  // counts revocations: a key looked up before the last one may be the one it revoked
	used   map[string]time.Time // not stored yet
}

type cachedKey struct {
	key access.Key
	at  time.Time // when it was looked up
}

// NewKeys makes a Keys; random must be fit for secrets.
func NewKeys(store KeyStore, now func() time.Time, newID func(string) string, random io.Reader) *Keys {
	return &Keys{store: store, now: now, newID: newID, random: random, lookUp: make(chan struct{}, maxLookups), cached: map[Hash]cachedKey{}, used: map[string]time.Time{}}
}

// Create makes a key with 256 random bits, which may do no more than its maker and lives no longer; its text is shown only this once.
func (s *Keys) Create(ctx context.Context, by access.Key, wanted access.Key) (access.Key, string, error) {
	wanted.ExpiresAt = wanted.ExpiresAt.Truncate(time.Microsecond) // as it is stored, or a key made for the same time as its maker would outlive it
	if err := s.mayCreate(by, wanted); err != nil {
		return access.Key{}, "", err
	}
	var secret [32]byte
	if _, err := io.ReadFull(s.random, secret[:]); err != nil {
		return access.Key{}, "", fmt.Errorf("make a key: %w", err)
	}
	text := KeyPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	made, err := s.save(ctx, wanted, text)
	if err != nil {
		return access.Key{}, "", err
	}
	return made, text, nil
}

func (s *Keys) save(ctx context.Context, wanted access.Key, text string) (access.Key, error) {
	wanted.ID, wanted.Prefix, wanted.CreatedAt = cmp.Or(wanted.ID, s.newID("key_")), text[:min(shownPrefix, len(text)/2)], s.now()
	err := s.store.InTx(ctx, func(ctx context.Context) error {
		if err := s.mustHaveRoom(ctx, wanted); err != nil {
			return err
		}
		return s.store.SaveKey(ctx, wanted, HashOf(text))
	})
	if err != nil {
		return access.Key{}, fmt.Errorf("save a key: %w", err)
	}
	return wanted, nil
}

// mustHaveRoom lets operators have as many platform keys as they like.
func (s *Keys) mustHaveRoom(ctx context.Context, wanted access.Key) error {
	if wanted.IsPlatform() {
		return nil
	}
	count, err := s.store.CountKeys(ctx, wanted.Tenant, wanted.CreatedAt)
	if err == nil && count >= MaxLivePerTenant {
		err = problem.New(problem.Forbidden, "The tenant has %d live keys, and may have %d: revoke one that is not needed.", count, MaxLivePerTenant)
	}
	return err
}

// mayCreate refuses a key that is not valid, or that its maker may not hand out.
func (s *Keys) mayCreate(by, wanted access.Key) error {
	if err := s.check(by, wanted); err != nil {
		return err
	}
	if !by.IsPlatform() && wanted.Tenant != by.Tenant {
		return problem.New(problem.Forbidden, "A tenant's key makes keys for its own tenant only.")
	}
	for _, scope := range wanted.Scopes {
		if !by.Grantable(scope) {
			return problem.New(problem.Forbidden, "A key cannot hand on %s, which it does not have itself.", scope)
		}
	}
	return nil
}

// scopeNames is for whoever makes a key on the command line, where nothing else says what there is.
func scopeNames() string {
	var names []string
	for _, scope := range access.Scopes() {
		names = append(names, string(scope))
	}
	return strings.Join(names, ", ")
}

// check validates the fields of a key.
func (s *Keys) check(by, wanted access.Key) error {
	fields := problem.Collect("")
	checkName(fields, wanted.Name)
	if len(wanted.Scopes) == 0 {
		fields.Add("scopes", "needs at least one scope: %s", scopeNames())
	}
	for i, scope := range wanted.Scopes {
		if !slices.Contains(access.Scopes(), scope) {
			fields.Add("scopes"+problem.Index(i), "is not a scope: there are %s", scopeNames())
		}
	}
	if wanted.Tenant != "" && !wanted.Tenant.Valid() {
		fields.Add("tenantId", tenant.IDRule)
	}
	if wanted.Tenant != "" && slices.Contains(wanted.Scopes, access.PlatformAdmin) {
		fields.Add("scopes", "platform.admin is for platform keys alone")
	}
	if wanted.SubscriptionID != "" && wanted.Tenant == "" {
		fields.Add("subscriptionId", "needs a tenantId")
	}
	if !wanted.ExpiresAt.IsZero() && !wanted.ExpiresAt.After(s.now()) {
		fields.Add("expiresAt", "is in the past")
	}
	if wanted.ExpiresAt.UTC().Year() > 9999 { // which RFC 3339 cannot write, nor therefore any list that the key is on
		fields.Add("expiresAt", "must be in the years 1970 to 9999")
	}
	if last := by.ExpiresAt; !last.IsZero() && (wanted.ExpiresAt.IsZero() || wanted.ExpiresAt.After(last)) {
		fields.Add("expiresAt", "must not be later than %s, when the key ends that makes this one", last.UTC().Format(time.RFC3339))
	}
	return fields.Err()
}

// Authenticate finds the key; problem.Unauthorized when it is unknown, revoked or expired.
func (s *Keys) Authenticate(ctx context.Context, text string) (access.Key, error) {
	refused := problem.New(problem.Unauthorized, "The key is unknown, revoked or expired.")
	if len(text) < MinKeyLength || len(text) > MaxKeyLength {
		return access.Key{}, refused
	}
	now, hash := s.now(), HashOf(text)
	key, _, cached := s.lookInCache(hash, now)
	if !cached {
		var err error
		if key, now, cached, err = s.find(ctx, hash); problem.Is(err, problem.NotFound) {
			return access.Key{}, refused
		} else if err != nil {
			return access.Key{}, fmt.Errorf("look up a key: %w", err)
		}
	}
	if !key.Live(now) {
		return access.Key{}, refused
	}
	if !cached { // noted once for as long as the key is cached
		s.noteUse(key, now)
	}
	return key, nil
}

// find looks a key up in its turn, unless somebody else has done so by then.
func (s *Keys) find(ctx context.Context, hash Hash) (key access.Key, now time.Time, cached bool, err error) {
	// Whether too many are being looked up or the database hangs, nobody can tell here.
	ctx, cancel := context.WithTimeoutCause(ctx, maxWait, problem.New(problem.Unavailable, "The key could not be looked up in time; try again in a second."))
	defer cancel()
	select {
	case s.lookUp <- struct{}{}:
		defer func() { <-s.lookUp }()
	case <-ctx.Done(): // who asked may be gone, which nobody can tell
		return key, now, false, context.Cause(ctx)
	}
	now = s.now()
	key, ended, cached := s.lookInCache(hash, now)
	if cached {
		return key, now, true, nil
	}
	if key, err = s.store.KeyByHash(ctx, hash); err == nil {
		s.remember(hash, key, ended, now)
	}
	return key, now, false, err
}

func (s *Keys) lookInCache(hash Hash, now time.Time) (key access.Key, ended int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.cached[hash]
	age := now.Sub(c.at)
	return c.key, s.ended, ok && age >= 0 && age < cachedFor // the clock may have been set back
}

func (s *Keys) remember(hash Hash, key access.Key, ended int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cached) >= maxCachedKeys {
		clear(s.cached)
	}
	if s.ended == ended {
		s.cached[hash] = cachedKey{key, now}
	}
}

// noteUse remembers a use until it is stored; a refused key is not used.
func (s *Keys) noteUse(key access.Key, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(key.LastUsedAt) >= touchPrecision {
		s.used[key.ID] = now
	}
}

// TouchStep stores when keys were used last.
func (s *Keys) TouchStep(ctx context.Context) (time.Time, error) {
	s.mu.Lock()
	used := s.used
	s.used = map[string]time.Time{}
	s.mu.Unlock()
	if len(used) > 0 {
		if err := s.store.TouchKeys(ctx, used); err != nil {
			return time.Time{}, fmt.Errorf("note the last use of keys: %w", err)
		}
	}
	return s.now().Add(10 * time.Second), nil
}

// List lists the keys that the caller may see.
func (s *Keys) List(ctx context.Context, by access.Key, owner tenant.ID, page Page) ([]access.Key, error) {
	if !by.IsPlatform() {
		owner = by.Tenant
	}
	return s.store.Keys(ctx, owner, page)
}

// Revoke ends a key at once in this process, and within a second in every other. One already revoked stays as it is.
func (s *Keys) Revoke(ctx context.Context, by access.Key, id string) error {
	if err := s.store.RevokeKey(ctx, by.Tenant, id, s.now()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended++
	clear(s.cached)
	return nil
}

// FirstKey makes sure that there is a platform key: the given one, or if none is given and none exists a new one, whose text it
// returns to be shown once. A given key that was revoked stays revoked, and is refused.
func (s *Keys) FirstKey(ctx context.Context, given string) (shown string, refused bool, err error) {
	first := access.Key{Name: "first platform key", Scopes: access.Scopes()}
	if given != "" {
		if len(given) < MinKeyLength || len(given) > MaxKeyLength || strings.ContainsAny(given, " \t\r\n") {
			return "", false, fmt.Errorf("ORDINAVO_PLATFORM_KEY must have %d to %d characters without white space", MinKeyLength, MaxKeyLength)
		}
		if _, err = s.save(ctx, first, given); !problem.Is(err, problem.Conflict) {
			return "", false, err
		}
		_, err = s.Authenticate(ctx, given)
		if refused = problem.Is(err, problem.Unauthorized); refused {
			err = nil
		}
		return "", refused, err
	}
	existing, err := s.store.Keys(ctx, "", Page{Limit: 1})
	if err != nil || len(existing) > 0 {
		return "", false, err
	}
	first.ID = firstKeyID
	_, shown, err = s.Create(ctx, first, first)
	if problem.Is(err, problem.Conflict) { // another process was faster, and shows its own
		return "", false, nil
	}
	return shown, false, err
}

// firstKeyID is the ID of the key made when there is none, so that only one of several processes that find none makes it.
const firstKeyID = "key_00000000000000000000000000"
