package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	readEvery  = 50 * time.Millisecond // while somebody listens
	readAtOnce = 1000                  // records
	// checkEvery is for the listeners' keys: one that was revoked is to be refused everywhere within a second.
	checkEvery = 900 * time.Millisecond
	beatEvery  = 15 * time.Second
)

// MostPerKey is how many listeners one API key may have in a process.
const MostPerKey = 200

// nowhere is the position while the log is not read.
const nowhere int64 = -1

// Limits bound the listeners of this process, and what they can resume from; zero values mean the defaults.
type Limits struct {
	Listeners   int           // default 4096
	PerTenant   int           // default 1024, so that a tenant with many keys leaves room for others
	PerKey      int           // default MostPerKey
	Connections int           // that the process takes: listeners have a quarter of them at most, and those of a tenant a quarter of that
	Kept        time.Duration // how long the log keeps everything; default for ever
}

func (l Limits) withDefaults() Limits {
	if l.Listeners == 0 {
		l.Listeners = 4096
	}
	if l.PerTenant == 0 {
		l.PerTenant = 1024
	}
	if l.PerKey == 0 {
		l.PerKey = MostPerKey
	}
	if l.Connections > 0 {
		l.Listeners = min(l.Listeners, max(l.Connections/4, 1))
		l.PerTenant = min(l.PerTenant, max(l.Connections/16, 1))
	}
	return l
}

// Hub hands changes on to listeners.
type Hub struct {
	log    Log
	keys   KeyReader
	now    func() time.Time
	limits Limits
	wake   loop.Signal
	replay chan struct{} // a token for each replay under way

	mu        sync.Mutex
	listeners map[tenant.ID]map[*Listener]struct{}
	perKey    map[string]int
	total     int
	at        int64               // up to here the log is read and handed on; nowhere while nobody listens
	checked   time.Time           // when the keys of all were last checked
	came      map[string]struct{} // of perKey, those of who has come since the last check
	beaten    time.Time           // when the last beat was
	closed    bool
}

// New makes a Hub.
func New(log Log, keys KeyReader, now func() time.Time, limits Limits) *Hub {
	return &Hub{log: log, keys: keys, now: now, limits: limits.withDefaults(), at: nowhere, wake: loop.NewSignal(), replay: make(chan struct{}, replaysAtOnce),
		listeners: map[tenant.ID]map[*Listener]struct{}{}, perKey: map[string]int{}, came: map[string]struct{}{}}
}

// Loop is the hub's step.
func (h *Hub) Loop() loop.Loop { return loop.Loop{Name: "live", Step: h.Step, Wake: h.wake} }

// Step reads what was recorded and hands it on. While nobody listens it waits to be woken.
func (h *Hub) Step(ctx context.Context) (time.Time, error) {
	at := h.reading()
	if at == nowhere {
		return time.Time{}, nil
	}
	h.beat()
	if err := h.endRevoked(ctx); err != nil {
		return time.Time{}, err
	}
	records, err := h.log.DeliveryRecords(ctx, at, readAtOnce)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the changes of deliveries: %w", err)
	}
	audience, full := h.advance(records), len(records) >= readAtOnce
	records = slices.DeleteFunc(records, func(r Record) bool { return audience[r.Tenant] == nil })
	odd, err := show(ctx, h.log, records, func(c Change) {
		for _, l := range audience[c.Tenant] {
			l.hear(&c)
		}
	})
	if err != nil { // they are not read again, so those who should have heard of them must resume
		for _, listeners := range audience {
			for _, l := range listeners {
				l.end(ErrInterrupted)
			}
		}
	}
	if err = errors.Join(odd, err); err != nil {
		return time.Time{}, fmt.Errorf("show the changes of deliveries: %w", err)
	}
	if full {
		return h.now(), nil
	}
	return h.now().Add(readEvery), nil
}

// reading is how far the log is read; nowhere while nobody listens.
func (h *Hub) reading() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total == 0 {
		h.at = nowhere
	}
	return h.at
}

// advance notes what was read, and returns who is to hear of it: a listener that comes later begins after it.
func (h *Hub) advance(records []Record) map[tenant.ID][]*Listener {
	h.mu.Lock()
	defer h.mu.Unlock()
	audience := map[tenant.ID][]*Listener{}
	for _, r := range records {
		h.at = r.Position
		if _, known := audience[r.Tenant]; !known && len(h.listeners[r.Tenant]) > 0 {
			for l := range h.listeners[r.Tenant] {
				audience[r.Tenant] = append(audience[r.Tenant], l)
			}
		}
	}
	return audience
}

// beat tells every listener, every beatEvery, up to where it has heard everything.
func (h *Hub) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if !passed(h.beaten, now, beatEvery) {
		return
	}
	h.beaten = now
	for _, of := range h.listeners {
		for l := range of {
			l.hear(&Change{Mark: Mark{h.at, now}})
		}
	}
}

// passed reports whether d has passed since then. It has when the clock was set back, since nobody knows by how much.
func passed(since, now time.Time, d time.Duration) bool {
	return now.Sub(since) >= d || now.Before(since)
}

// endRevoked dismisses listeners whose key has ended.
func (h *Hub) endRevoked(ctx context.Context) error {
	now := h.now()
	ids := h.unchecked(now)
	if len(ids) == 0 {
		return nil
	}
	ended, err := h.keys.EndedKeys(ctx, ids, now)
	if err != nil {
		h.mu.Lock()
		h.checked = time.Time{}
		h.mu.Unlock()
		return fmt.Errorf("look whether the listeners' keys have ended: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, of := range h.listeners {
		for l := range of {
			if slices.Contains(ended, l.keyID) {
				l.end(ErrRevoked)
			}
		}
	}
	return nil
}

// unchecked is the keys to look at now: those of who has come since the last look, or all when it is time. Who comes during the look is in
// the next one.
func (h *Hub) unchecked(now time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := slices.Collect(maps.Keys(h.came))
	if passed(h.checked, now, checkEvery) {
		ids, h.checked = slices.Collect(maps.Keys(h.perKey)), now
	}
	clear(h.came)
	return ids
}

// Close dismisses every listener; no others are admitted.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, of := range h.listeners {
		for l := range of {
			l.end(ErrClosing)
		}
	}
}

// Listen begins to hear of the tenant's changes that the filter picks, on behalf of an API key; Leave ends it. It fails with
// problem.RateLimited when the key or the tenant has too many listeners, and with problem.Unavailable when the process has.
func (h *Hub) Listen(ctx context.Context, owner tenant.ID, keyID string, filter Filter) (*Listener, error) {
	l := &Listener{hub: h, owner: owner, keyID: keyID, filter: filter, changes: make(chan *Change, buffered), ended: make(chan struct{})}
	added, err := h.add(l, nowhere)
	if added || err != nil {
		return l, err
	}
	head, err := h.log.DeliveryHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the end of the log: %w", err)
	}
	_, err = h.add(l, head)
	return l, err
}

// add admits a listener. When nobody reads yet, reading begins at head; if that is nowhere, the listener is not added.
func (h *Hub) add(l *Listener, head int64) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.admit(l.owner, l.keyID); err != nil {
		return false, err
	}
	if h.at == nowhere && head == nowhere {
		return false, nil
	}
	if h.at == nowhere {
		h.at, h.beaten = head, h.now()
	}
	h.came[l.keyID] = struct{}{} // it may have been revoked since it was looked up
	l.since = Mark{h.at, h.now()}
	if h.listeners[l.owner] == nil {
		h.listeners[l.owner] = map[*Listener]struct{}{}
	}
	h.listeners[l.owner][l] = struct{}{}
	h.perKey[l.keyID]++
	h.total++
	h.wake.Send()
	return true, nil
}

func (h *Hub) admit(owner tenant.ID, keyID string) error {
	switch {
	case h.closed:
		return problem.New(problem.Unavailable, "The service is about to stop; try again.")
	case h.perKey[keyID] >= h.limits.PerKey:
		return problem.New(problem.RateLimited, "This key may listen %d times at once.", h.limits.PerKey)
	case len(h.listeners[owner]) >= h.limits.PerTenant:
		return problem.New(problem.RateLimited, "All keys of the tenant together may listen %d times at once.", h.limits.PerTenant)
	case h.total >= h.limits.Listeners:
		return problem.New(problem.Unavailable, "The service has as many listeners as it can take; try again later.")
	}
	return nil
}

// forget removes a listener; a second call does nothing.
func (h *Hub) forget(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.listeners[l.owner][l]; !known {
		return
	}
	delete(h.listeners[l.owner], l)
	if len(h.listeners[l.owner]) == 0 {
		delete(h.listeners, l.owner)
	}
	if h.perKey[l.keyID]--; h.perKey[l.keyID] == 0 {
		delete(h.perKey, l.keyID)
		delete(h.came, l.keyID)
	}
	h.total--
}
