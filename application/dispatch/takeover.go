package dispatch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
)

// How often a process says that it lives, and the silence after which its leases are taken over.
const (
	HeartbeatInterval = time.Second
	HeartbeatTimeout  = 5 * time.Second
)

// longestBeat is the longest time between two beats of a process that nothing kept from beating.
const longestBeat = HeartbeatTimeout / 2

// farAhead is how far in the future a beat is that counts as one by a clock that was set back since. It is longer than a look may take, in which
// the living beat.
const farAhead = 6 * HeartbeatTimeout

var errLookTooLong = errors.New("the look for orphans took too long to tell who lives, or the clock was set meanwhile")

const maxTakenOverAtOnce = 500

// Takeover keeps this process's heartbeat and takes over what dead ones held.
//
// Whatever kept this process from beating, such as a database that was away, may have kept the others as well. So it takes over
// only once it has itself beaten for as long as the others have to be silent: by then they beat again, if they live.
type Takeover struct {
	// Abandoned hears of attempts that died with their process, once they are recorded; nil for nobody.
	Abandoned func(ctx context.Context, attempts int)

	store        Store
	incarnations Incarnations
	now          func() time.Time
	incarnation  string

	alone atomic.Bool // at the last beat

	mu    sync.Mutex
	began time.Time
	since time.Time // the first beat with no gap after it; zero while there was none since the process began
	last  time.Time // zero after a beat that failed
}

// NewTakeover makes a Takeover for an incarnation that has just begun; waited says that it had to wait for the database.
func NewTakeover(store Store, incarnations Incarnations, now func() time.Time, incarnation string, waited bool) *Takeover {
	t := &Takeover{store: store, incarnations: incarnations, now: now, incarnation: incarnation, began: now()}
	if !waited {
		t.last = t.began
	}
	return t
}

// Heartbeat is the loop of every process.
func (t *Takeover) Heartbeat() loop.Loop {
	return loop.Loop{Name: "heartbeat", Step: t.HeartbeatStep}
}

// Loop takes over, in processes that send deliveries.
func (t *Takeover) Loop() loop.Loop { return loop.Loop{Name: "takeover", Step: t.TakeOverStep} }

// HeartbeatStep says that this process lives.
func (t *Takeover) HeartbeatStep(ctx context.Context) (time.Time, error) {
	now := t.now()
	if err := t.incarnations.Heartbeat(ctx, t.incarnation, now); err != nil {
		t.missed()
		return time.Time{}, fmt.Errorf("heartbeat: %w", err)
	}
	t.beat(now)
	living, err := t.incarnations.CountProcesses(ctx, now.Add(-HeartbeatTimeout))
	if err != nil {
		return time.Time{}, fmt.Errorf("count the processes: %w", err)
	}
	t.alone.Store(living == 1)
	return now.Add(HeartbeatInterval), nil
}

// Alone reports whether no other process lived at this one's last beat; false before the first.
func (t *Takeover) Alone() bool { return t.alone.Load() }

func (t *Takeover) missed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = time.Time{}
}

func (t *Takeover) beat(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.follows(now) {
		t.since = now
	}
	t.last = now
}

// follows is also false when the clock was set.
func (t *Takeover) follows(now time.Time) bool {
	return !t.last.IsZero() && !now.Before(t.last) && now.Sub(t.last) <= longestBeat
}

// steady reports whether this process has beaten without a gap for long enough.
func (t *Takeover) steady(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.follows(now) && now.Sub(t.since) >= HeartbeatTimeout
}

// alive are the times from and up to which a heartbeat tells of a process that lives; a zero one is no bound. A later beat is of a clock
// that was set back since, and of a dead process once the living must have beaten anew: when this one has itself seen their silence.
func (t *Takeover) alive(now time.Time) (from, to time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from, beats := now.Add(-HeartbeatTimeout), t.since
	if beats.IsZero() {
		beats = t.began
	}
	if !beats.After(from) {
		to = now.Add(farAhead)
	}
	return from, to
}

// TakeOverStep abandons attempts whose holder is dead and makes their deliveries due.
func (t *Takeover) TakeOverStep(ctx context.Context) (time.Time, error) {
	now := t.now()
	if !t.steady(now) {
		return now.Add(HeartbeatInterval), nil
	}
	from, to := t.alive(now)
	seen, err := t.incarnations.Orphans(ctx, from, to, 1)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for orphans: %w", err)
	}
	if len(seen) == 0 {
		return now.Add(HeartbeatInterval), nil
	}
	// Whatever kept this process from beating, it never takes over what it holds itself. The beat is not part of the transaction, which may
	// wait for rows that a process has locked that stands still: this one's heart goes on beating meanwhile.
	if now = t.now(); !t.steady(now) { // the clock was set meanwhile
		return now.Add(HeartbeatInterval), nil
	}
	if err := t.incarnations.Heartbeat(ctx, t.incarnation, now); err != nil {
		return time.Time{}, fmt.Errorf("heartbeat: %w", err)
	}
	abandoned := 0
	err = t.store.InTx(ctx, func(ctx context.Context) (err error) {
		abandoned, err = t.takeOver(ctx, now)
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("take over what dead processes held: %w", err)
	}
	if t.Abandoned != nil {
		t.Abandoned(ctx, abandoned)
	}
	return now, nil
}

// takeOver abandons the attempts of holders that were silent for too long before a beat of this process's own heart, and says how many.
func (t *Takeover) takeOver(ctx context.Context, now time.Time) (abandoned int, err error) {
	from, to := t.alive(now)
	orphans, err := t.incarnations.Orphans(ctx, from, to, maxTakenOverAtOnce)
	if err != nil {
		return 0, fmt.Errorf("look for orphans: %w", err)
	}
	if took := t.now().Sub(now); took < 0 || took > farAhead-HeartbeatTimeout || !t.steady(t.now()) { // the living may have beaten beyond the times that were asked for
		return 0, errLookTooLong
	}
	saved, unknown := make([]Saved, 0, len(orphans)), map[string][]Leased{}
	for _, o := range orphans {
		s, err := o.abandon(now)
		if err != nil { // it is damaged, and keeps none of the others: who leases it next has it
			unknown[o.Lease] = append(unknown[o.Lease], Leased{Delivery: o.Delivery})
			continue
		}
		saved = append(saved, s)
	}
	for _, lease := range slices.Sorted(maps.Keys(unknown)) {
		if err := t.store.GiveBack(ctx, lease, unknown[lease]); err != nil {
			return 0, err
		}
	}
	// Somebody else may have been faster: those are skipped as stale, and nothing is lost.
	stale, err := t.store.Save(ctx, saved)
	if err != nil {
		return 0, fmt.Errorf("save %d deliveries: %w", len(saved), err)
	}
	return len(saved) - len(stale), nil
}

// abandon fails for one whose status nobody knows, or that nobody could have held.
func (o Orphan) abandon(now time.Time) (Saved, error) {
	if err := CheckStatus(o.Delivery); err != nil {
		return Saved{}, err
	}
	changes, err := o.Delivery.Abandon(o.Schedule, o.LeasedAt, now)
	if err != nil {
		return Saved{}, err
	}
	s, err := Move(o.Delivery, changes)
	s.Lease = o.Lease
	return s, err
}
