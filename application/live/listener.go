package live

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Why a listener is dismissed.
var (
	// ErrSlow says that it did not take what it was sent in time. It can resume.
	ErrSlow = errors.New("the listener did not keep up")
	// ErrRevoked says that its API key is revoked or has expired.
	ErrRevoked = errors.New("the API key is revoked or has expired")
	// ErrClosing says that the process is about to stop. It can resume with another.
	ErrClosing = errors.New("the service is about to stop")
	// ErrInterrupted says that the log could not be read for a moment. It can resume.
	ErrInterrupted = errors.New("the log could not be read")
)

// buffered is how many changes may wait for a listener.
const buffered = 256

// Listener hears of changes of one tenant's deliveries. It is for one goroutine.
type Listener struct {
	hub     *Hub
	owner   tenant.ID
	keyID   string
	filter  Filter
	since   Mark
	changes chan *Change

	once   sync.Once
	ended  chan struct{}
	reason error // set when ended is closed
}

// Since is the mark after which the listener hears of everything.
func (l *Listener) Since() Mark { return l.since }

// Changes are those that the filter picks, oldest first, and a beat now and then: a change without a delivery, whose position tells up to
// where the listener has heard everything.
func (l *Listener) Changes() <-chan *Change { return l.changes }

// Ended is closed when the listener is dismissed; Reason says why.
func (l *Listener) Ended() <-chan struct{} { return l.ended }

// Reason is why the listener was dismissed; only valid after Ended.
func (l *Listener) Reason() error { return l.reason }

// Leave ends the listening. It may be called more than once.
func (l *Listener) Leave() { l.hub.forget(l) }

// IsBeat reports whether the change is only a sign of life.
func (c *Change) IsBeat() bool { return c.ID == "" }

// hear never waits.
func (l *Listener) hear(c *Change) {
	if !c.IsBeat() && !l.filter.Matches(c.Delivery) {
		return
	}
	select {
	case <-l.ended: // nothing is sent after a gap
	default:
		select {
		case l.changes <- c:
		default:
			l.end(ErrSlow)
		}
	}
}

func (l *Listener) end(reason error) {
	l.once.Do(func() {
		l.reason = reason
		close(l.ended)
	})
}

// Bounds of a replay, which reads what was recorded since for all tenants.
const (
	replaysAtOnce = 4 // that are reading; none waits for its client while it does
	// MaxReplay is how many records a replay reads at most.
	MaxReplay  = 200_000
	replayPart = 1_000 // records at once, held in memory until the client has them
)

// ErrTooOld says that too much was recorded since the mark, that some of it may be deleted, or that the log has no such mark.
var ErrTooOld = errors.New("what was recorded since cannot be replayed")

// Replay passes to emit the changes between a mark and Since, of which the listener was not told; Changes then goes on from there. It
// fails with ErrTooOld before the first, and with the error of emit.
func (l *Listener) Replay(ctx context.Context, seen Mark, emit func(Change) error) error {
	if err := l.mustReach(ctx, seen); err != nil {
		return err
	}
	for after := seen.Position; after < l.since.Position; {
		if err := l.mustStop(); err != nil {
			return err
		}
		upTo := min(l.since.Position, after+replayPart)
		changes, err := l.part(ctx, after, upTo)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := emit(c); err != nil {
				return err
			}
		}
		after = upTo
	}
	return nil
}

// part reads what the filter picks from a stretch of the log, once one of the replaysAtOnce slots is free.
func (l *Listener) part(ctx context.Context, after, upTo int64) (changes []Change, err error) {
	select {
	case l.hub.replay <- struct{}{}:
		defer func() { <-l.hub.replay }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	records, err := l.hub.log.TenantDeliveryRecords(ctx, l.owner, after, upTo)
	if err != nil {
		return nil, fmt.Errorf("read the changes of deliveries: %w", err)
	}
	_, err = show(ctx, l.hub.log, records, func(c Change) { // what is odd is reported by Step
		if l.filter.Matches(c.Delivery) {
			changes = append(changes, c)
		}
	})
	return changes, err
}

// mustStop is why the replay must end. A listener that is merely slow goes on, so that it makes progress.
func (l *Listener) mustStop() error {
	select {
	case <-l.ended:
		if !errors.Is(l.reason, ErrSlow) {
			return l.reason
		}
	default:
	}
	return nil
}

// mustReach refuses a mark that cannot be replayed from.
func (l *Listener) mustReach(ctx context.Context, seen Mark) error {
	head, err := l.hub.log.DeliveryHead(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	since, kept := l.since.Position, l.hub.limits.Kept
	deleted := kept > 0 && l.since.At.Sub(seen.At) > kept
	if deleted || seen.Position < 0 || seen.Position > max(since, head) || since-seen.Position > MaxReplay {
		return ErrTooOld
	}
	return nil
}
